//! Channels between cores of the island.

use super::Pump;
use super::io::Port;
use skerry_abi::domain::slot;
use skerry_abi::{CPtr, CapType, CoreId, Error, PAGE_SIZE, PhysAddr, PhysRange, Rights};
use skerry_monitor::{Chan, Frames};
use skerry_urpc::Layout;
use skerry_user::Domain;
use skerry_user::cap::{Core, KERNEL};
use skerry_user::chan::{Chan as UserChan, PAGE_LAYOUT, Wake};
use skerry_user::vspace::RW;

/// A channel over two frames, inbox and outbox, of one page or more each.
pub fn over(
    domain: &mut Domain,
    inbox: (CPtr, u64),
    outbox: (CPtr, u64),
    wake: Wake,
) -> Result<UserChan, Error> {
    let inbox = domain.map(inbox.0, inbox.1, RW)?.block(0, PAGE_SIZE).map_err(|_| Error::BadArgument)?;
    let outbox = domain.map(outbox.0, outbox.1, RW)?.block(0, PAGE_SIZE).map_err(|_| Error::BadArgument)?;
    UserChan::new(inbox, outbox, PAGE_LAYOUT, wake).map_err(|_| Error::BadArgument)
}

impl Pump {
    /// How a core of this island is woken.
    pub(super) fn wake_of(&self, core: CoreId) -> Wake {
        let name = self.names.get(&core.local());
        name.map_or(Wake::Never, |hw| Wake::Core(Core(slot::CORES), *hw))
    }

    /// Makes the two blocks of a channel, the first on the first node.
    pub(super) fn make_channel(&mut self, node_a: u16, node_b: u16) -> Option<Frames> {
        let mut block = |node: u16| {
            let (frame, view) = self
                .domain
                .zeroed(PAGE_SIZE, Some(node.into()))
                .or_else(|_| self.domain.zeroed(PAGE_SIZE, None))
                .ok()?;
            self.domain.unmap(view);
            self.frames.insert(frame.base, frame.cap);
            Some(frame.base)
        };
        let Layout { slots, stride } = PAGE_LAYOUT;
        let (inbox, outbox) = (block(node_a)?, block(node_b)?);
        Some(Frames { inbox, outbox, bytes: PAGE_SIZE as u32, slots: slots as u16, stride: stride as u16 })
    }

    /// Maps a channel that the first monitor made.
    pub(super) fn adopt(&mut self, chan: Chan, peer: CoreId, frames: &Frames) -> Result<(), Error> {
        let shape = (u32::from(frames.slots), u32::from(frames.stride), u64::from(frames.bytes));
        if shape != (PAGE_LAYOUT.slots, PAGE_LAYOUT.stride, PAGE_SIZE) {
            return Err(Error::BadArgument);
        }
        let inbox = self.block_at(frames.inbox)?;
        let outbox = self.block_at(frames.outbox)?;
        let wake = self.wake_of(peer);
        let made = over(&mut self.domain, (inbox, PAGE_SIZE), (outbox, PAGE_SIZE), wake)?;
        self.io.put(chan, Port::Chan(made));
        Ok(())
    }

    fn block_at(&mut self, base: u64) -> Result<CPtr, Error> {
        if let Some(cap) = self.frames.get(&base) {
            return Ok(*cap);
        }
        let owner = CoreId::new(self.io.core().island(), 0);
        let at = self.domain.mem.slot()?;
        let rights = Rights::READ | Rights::WRITE | Rights::GRANT;
        let range = PhysRange::new(PhysAddr(base), PAGE_SIZE);
        KERNEL.adopt(CapType::Frame, rights, owner, range, at)?;
        Ok(at)
    }
}
