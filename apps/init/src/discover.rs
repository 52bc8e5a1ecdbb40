//! All of it: firmware to facts.

use crate::{DiscoverError, PhysMem, acpi, cores, fdt};
use alloc::vec;
use alloc::vec::Vec;
use skerry_abi::boot::firmware;
use skerry_hal::{HwId, PhysAddr};
use skerry_skb::{CommandLine, Core, Fact, Name, Origin, Setting, Source, Store};

/// What the boot glue knows of the firmware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Firmware {
    /// A kind of [`firmware`].
    pub kind: u32,
    /// Its address, see [`firmware`].
    pub addr: PhysAddr,
    /// The core that this code runs on, which the firmware started.
    pub boot_core: HwId,
}

/// What a parser found: facts that the firmware states, cores yet without numbers, and facts that only convention
/// states.
#[derive(Default, Debug)]
pub struct Found {
    /// Facts, cores left out.
    pub facts: Vec<Fact>,
    /// Cores.
    pub cores: Vec<cores::Listed>,
    /// Facts that the parser supplies because such machines have always been so.
    pub asserted: Vec<Fact>,
}

/// Reads the firmware's tables and the command line, and answers with all facts about this island.
pub fn discover(
    from: Firmware,
    memory: &mut dyn PhysMem,
    cmdline: &CommandLine<'_>,
) -> Result<Store, DiscoverError> {
    let found = match from.kind {
        // A machine that nobody describes has at least the core we run on.
        firmware::NONE => Found {
            asserted: vec![Core { local: 0, hw: from.boot_core, enabled: true, node: 0 }.into()],
            ..Found::default()
        },
        firmware::ACPI => acpi::parse(memory, from.addr)?,
        firmware::FDT => fdt::parse(memory, from.addr)?,
        other => return Err(DiscoverError::UnknownFirmware(other)),
    };
    let mut store = Store::default();
    let origin = |source| Origin { island: cmdline.island, epoch: cmdline.epoch, source };
    if from.kind != firmware::NONE {
        for core in cores::number(from.boot_core, &found.cores)? {
            store.add(origin(Source::Discovered), core)?;
        }
    }
    for fact in found.facts {
        store.add(origin(Source::Discovered), fact)?;
    }
    for fact in found.asserted {
        store.add(origin(Source::Asserted), fact)?;
    }
    let poll = cmdline.get("poll_ns").and_then(|ns| ns.parse().ok());
    for (name, value) in [("bound_ms", Some(cmdline.bound_ms.into())), ("poll_ns", poll)] {
        if let Some((name, value)) = Name::new(name).zip(value) {
            store.add(origin(Source::Asserted), Setting { name, value })?;
        }
    }
    Ok(store)
}
