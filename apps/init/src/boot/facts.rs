//! Step 2: firmware tables and command line become facts.

use alloc::vec::Vec;
use skerry_abi::boot::firmware;
use skerry_abi::domain::{ListedCap, Purpose};
use skerry_abi::{HwId, PAGE_SIZE, PhysAddr};
use skerry_app_init::{Firmware, PhysMem, discover as read_firmware};
use skerry_skb::{CommandLine, MemoryNode, Store, WireRecord};
use skerry_user::Domain;
use skerry_user::cap::identify;
use skerry_user::logging::{error, info, warn};
use skerry_user::mem::Object;
use skerry_user::vspace::{DEVICE, Mapping, R};
use zerocopy::IntoBytes;

/// What is known.
pub struct Facts {
    /// The facts.
    pub store: Store,
    /// The command line.
    pub cmdline: CommandLine<'static>,
}

/// Reads the command line, then the firmware's tables. What is wrong is reported; what was found so far stays.
pub fn discover(domain: &mut Domain) -> Facts {
    let args = domain.info.args().as_bytes();
    let cmdline = CommandLine::parse(args).unwrap_or_else(|error| {
        error!("{error}; going on without a command line");
        empty_command_line()
    });
    let listed = domain.info.caps_for(Purpose::Firmware).next();
    let from = Firmware {
        kind: listed.map_or(firmware::NONE, |cap| cap.detail as u32),
        addr: PhysAddr(listed.map_or(0, |cap| cap.base)),
        boot_core: HwId(domain.info.hw_id),
    };
    let mut memory = Physical { domain, listed, copy: Vec::new() };
    let store = read_firmware(from, &mut memory, &cmdline).or_else(|error| {
        error!("{error}; going on with the first core alone");
        read_firmware(Firmware { kind: firmware::NONE, ..from }, &mut memory, &cmdline)
    });
    let store = store.unwrap_or_default();
    let view = store.island(cmdline.island);
    info!(
        "facts: {} of island {}: {} cores, {} nodes",
        store.len(),
        cmdline.island,
        view.cores().len(),
        view.nodes().len()
    );
    for memory in view.all::<MemoryNode>() {
        domain.mem.set_node(memory.range, memory.node);
    }
    Facts { store, cmdline }
}

fn empty_command_line() -> CommandLine<'static> {
    match CommandLine::parse(b"") {
        Ok(line) => line,
        Err(error) => panic!("the empty command line: {error}"),
    }
}

/// Physical memory, read through the firmware's frame and the device capabilities.
struct Physical<'a> {
    domain: &'a mut Domain,
    listed: Option<&'static ListedCap>,
    copy: Vec<u8>,
}

impl Physical<'_> {
    /// Maps the pages around `base..base + len`, and answers what to delete after.
    fn map(&mut self, base: u64, len: u64) -> Option<(Mapping, u64)> {
        let first = base & !(PAGE_SIZE - 1);
        let bytes = base.checked_add(len)?.checked_next_multiple_of(PAGE_SIZE)? - first;
        let domain = &mut *self.domain;
        if let Some(cap) = self.listed
            && let Ok(id) = identify(cap.cptr)
            && id.base <= first
            && first + bytes <= id.base + id.len
        {
            let view = domain.space.map(&mut domain.mem, cap.cptr, first - id.base, bytes, R).ok()?;
            return Some((view, base - first));
        }
        let device = domain.info.caps_for(Purpose::Device);
        let cap = device.into_iter().find(|cap| cap.base <= first && first + bytes <= cap.base + cap.len)?;
        let offset = first - cap.base;
        Some((domain.space.map(&mut domain.mem, cap.cptr, offset, bytes, DEVICE).ok()?, base - first))
    }
}

impl PhysMem for Physical<'_> {
    fn read(&mut self, base: PhysAddr, len: usize) -> Option<&[u8]> {
        let (view, skip) = self.map(base.0, len as u64)?;
        self.copy.clear();
        self.copy.resize(len, 0);
        view.read(skip, &mut self.copy);
        self.domain.unmap(view);
        Some(&self.copy)
    }
}

impl Facts {
    /// All facts in a frame of their own, with room for `spare` more records; the frame, its mapping, and bytes used.
    pub fn frame(&self, domain: &mut Domain, spare: usize) -> Option<(Object, Mapping, u64)> {
        let room = (self.store.len() + spare) * size_of::<WireRecord>();
        let (frame, view) = domain
            .zeroed((room as u64).max(PAGE_SIZE), None)
            .inspect_err(|error| error!("facts: no frame for them: {error}"))
            .ok()?;
        for (n, record) in self.store.iter().enumerate() {
            let at = n * size_of::<WireRecord>();
            view.write(at as u64, WireRecord::encode(record).as_bytes());
        }
        Some((frame, view, (self.store.len() * size_of::<WireRecord>()) as u64))
    }

    /// Takes in records that another domain wrote.
    pub fn take(&mut self, bytes: &[u8]) {
        if let Err(error) = self.store.read_from(bytes) {
            warn!("facts: {error}");
        }
    }
}
