//! Where a core lives: its slice, its first domain's file, its RAM, its channel. The memory is the core's for good; when it
//! has gone off line, it is started again in the same place.

use alloc::format;
use alloc::string::String;
use core::time::Duration;
use skerry_abi::{CPtr, CapType, CoreId, PAGE_SIZE, PhysRange, Rights};
use skerry_hal::addr::SLICE;
use skerry_user::cap::KERNEL;
use skerry_user::mem::Object;
use skerry_user::vspace::{Mapping, R, RW};
use skerry_user::{Domain, clock};

/// How long a core that said it stops may take to.
const STOPS: Duration = Duration::from_millis(20);

/// Memory of another core's.
pub struct Given(pub Object);

impl Given {
    fn take(domain: &mut Domain, len: u64, align: u64, node: u32) -> Result<Self, String> {
        let ram = domain.mem.ram(len, align, Some(node)).or_else(|_| domain.mem.ram(len, align, None));
        Ok(Self(ram.map_err(|e| format!("no RAM for it: {e}"))?))
    }

    /// Lets `fill` write to the memory, zeroed, for a core that does not run, and will find it so with its caches off.
    pub fn fill(&self, domain: &mut Domain, core: CoreId, fill: impl FnOnce(&Mapping)) -> Result<(), String> {
        let say = |e: skerry_user::Error| format!("its memory: {e}");
        let frame = self.frame(domain, core).map_err(say)?;
        let view = domain.map(frame, self.0.len, RW).map_err(say)?;
        view.zero();
        fill(&view);
        view.publish();
        domain.unmap(view);
        domain.mem.delete(frame).map_err(|e| say(e.into()))
    }

    fn frame(&self, domain: &mut Domain, core: CoreId) -> Result<CPtr, skerry_user::Error> {
        let at = domain.mem.slot()?;
        let rights = Rights::READ | Rights::WRITE | Rights::GRANT;
        let adopted = KERNEL.adopt(CapType::Frame, rights, core, self.0.range(), at);
        adopted.inspect_err(|_| domain.mem.give_slot(at))?;
        Ok(at)
    }
}

/// All that a core was given.
pub struct Place {
    /// For its CPU driver.
    pub slice: Given,
    /// For its first domain's file.
    pub image: Given,
    /// For everything else.
    pub ram: Given,
    /// What we write of the channel, and what it writes.
    pub blocks: [(Object, Mapping); 2],
    /// Its copy of the facts.
    pub facts: Option<Object>,
}

impl Place {
    /// Takes memory of the core's own node where there is some, and gives it away. `image` and `ram` are lengths; `facts` are
    /// the first monitor's.
    pub fn take(
        domain: &mut Domain,
        core: CoreId,
        (node, own_node): (u32, u32),
        (image, ram): (u64, u64),
        facts: Option<(CPtr, u64)>,
    ) -> Result<Self, String> {
        let slice = Given::take(domain, SLICE, SLICE, node)?;
        let image = Given::take(domain, image, PAGE_SIZE, node)?;
        let ram = Given::take(domain, ram, PAGE_SIZE, node)?;
        let block = |domain: &mut Domain, node| {
            let made = domain.zeroed(PAGE_SIZE, Some(node)).or_else(|_| domain.zeroed(PAGE_SIZE, None));
            made.map_err(|e| format!("its channel: {e}"))
        };
        let blocks = [block(domain, node)?, block(domain, own_node)?];
        let facts = facts.map(|source| copy(domain, source, node)).transpose()?;
        for given in [&slice, &image, &ram] {
            KERNEL.disown(given.0.cap, core).map_err(|e| format!("giving memory away: {e}"))?;
            domain.mem.gave_away(given.0.len);
        }
        Ok(Self { slice, image, ram, blocks, facts })
    }

    /// Makes the place ready for the core's next life. Refused while the core still uses it.
    pub fn vacate(&self) -> Result<(), String> {
        let until = clock::ticks() + clock::span(STOPS);
        let [_, (_, said)] = &self.blocks;
        // The first word of what the core writes: no channel's, and where its CPU driver says that it has stopped.
        while said.read32(0) == 0 {
            if clock::ticks() > until {
                return Err(String::from("it has not stopped yet"));
            }
            skerry_user::relax();
        }
        for (_, view) in &self.blocks {
            view.zero();
        }
        Ok(())
    }

    /// The regions of the channel.
    pub fn channel(&self) -> [PhysRange; 2] {
        [self.blocks[0].0.range(), self.blocks[1].0.range()]
    }
}

fn copy(domain: &mut Domain, (cap, len): (CPtr, u64), node: u32) -> Result<Object, String> {
    let source = domain.map(cap, len, R).map_err(|e| format!("{e}"))?;
    let mut bytes = alloc::vec![0; len as usize];
    source.read(0, &mut bytes);
    domain.unmap(source);
    let (frame, view) = domain.zeroed(len, Some(node)).map_err(|e| format!("its facts: {e}"))?;
    view.write(0, &bytes);
    domain.unmap(view);
    Ok(frame)
}
