//! Starting a core: memory from its own node, a copy of the CPU driver and of the monitor, a channel; then the
//! memory is given away and the core started (paper §4.2, "booting").

use super::Pump;
use super::io::Port;
use super::place::Place;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::string::String;
use skerry_abi::boot::{self, CoreBoot, RegionKind};
use skerry_abi::domain::{Purpose, slot};
use skerry_abi::{CoreId, HwId, PAGE_SIZE, PhysAddr, PhysRange};
use skerry_app_monitor::driver::{Plan, plan};
use skerry_bundle::{Bundle, Kind};
use skerry_hal::addr::SLICE;
use skerry_monitor::{Chan, Config, Event};
use skerry_user::Domain;
use skerry_user::cap::Core;
use skerry_user::chan::{Chan as UserChan, PAGE_LAYOUT, Wake};
use skerry_user::logging::{error, info};
use skerry_user::mem::Object;
use skerry_user::vspace::R;
use zerocopy::{FromZeros, IntoBytes};

/// RAM of a core, at least.
const RAM: u64 = 4 << 20;

/// What every start needs.
pub struct Starter {
    /// NUMA node of this core.
    pub node: u32,
    driver: Option<(&'static [u8], Plan)>,
    monitor: Option<&'static [u8]>,
    /// The benchmarks.
    pub bench: Option<&'static [u8]>,
    /// RAM for a core, by node.
    shares: BTreeMap<u32, u64>,
    facts: Option<(skerry_abi::CPtr, u64)>,
    /// Where cores live that were started once.
    places: BTreeMap<u16, Place>,
    /// The bundle, which every core reads.
    bundle: Option<PhysRange>,
}

impl Starter {
    /// Looks into the bundle, if there is one; divides the RAM.
    pub fn new(domain: &mut Domain, config: &Config) -> Self {
        let mut this = Self {
            node: config.node.into(),
            driver: None,
            monitor: None,
            bench: None,
            shares: BTreeMap::new(),
            bundle: None,
            places: BTreeMap::new(),
            facts: domain.info.caps_for(Purpose::Facts).next().map(|cap| (cap.cptr, cap.len)),
        };
        if config.core.local() != 0 {
            return this;
        }
        let Some(cap) = domain.info.caps_for(Purpose::Bundle).next() else { return this };
        this.bundle = Some(PhysRange::new(PhysAddr(cap.base), cap.len));
        let Ok(view) = domain.map(cap.cptr, cap.len, R) else { return this };
        #[expect(unsafe_code, reason = "the bundle is memory that the boot loader wrote")]
        // SAFETY: whoever has the bundle's frame has it read-only, ourselves included.
        let bytes = unsafe { view.bytes() };
        let isa = skerry_user::ISA.name();
        this.monitor = skerry_bundle::find_member(bytes, isa, "first");
        this.bench = skerry_bundle::find_member(bytes, isa, "bench");
        // `init` has checked all of it.
        let driver = Bundle::open_checked(bytes)
            .ok()
            .and_then(|b| b.members().find(|m| m.kind == Kind::CpuDriver && m.isa == isa));
        this.driver = driver.and_then(|member| Some((member.data, plan(member.data)?)));
        if this.driver.is_none() {
            error!("no CPU driver for {isa} in the bundle that can be copied");
        }
        for node in domain.mem.nodes() {
            let cores = config.cores.iter().filter(|core| u32::from(core.node) == node).count() as u64;
            let free = domain.mem.free_on(node);
            let share = (free / (cores + 1)).saturating_sub(SLICE).max(RAM);
            this.shares.insert(node, share & !(PAGE_SIZE - 1));
        }
        this
    }
}

impl Pump {
    /// Starts `core`, with a channel to it behind `chan`.
    pub(super) fn start_core(&mut self, core: CoreId, node: u16, chan: Chan) -> Result<(), String> {
        let hw = *self.names.get(&core.local()).ok_or("its name on the bus is not known")?;
        let (file, plan) = self.starter.driver.as_ref().ok_or("no CPU driver")?;
        let (file, entry) = (*file, plan.entry);
        let parts = plan.parts.clone();
        let monitor = self.starter.monitor.ok_or("no monitor in the bundle")?;
        let node = u32::from(node);
        let share = self.starter.shares.get(&node).copied().unwrap_or(RAM);
        let domain = &mut self.domain;

        let place = match self.starter.places.entry(core.local()) {
            Entry::Occupied(known) => {
                let place = known.into_mut();
                place.vacate()?;
                place
            }
            Entry::Vacant(new) => {
                let lens = (monitor.len() as u64, share);
                let nodes = (node, self.starter.node);
                new.insert(Place::take(domain, core, nodes, lens, self.starter.facts)?)
            }
        };
        place.image.fill(domain, core, |view| view.write(0, monitor))?;
        let first = PhysRange::new(PhysAddr(place.image.0.base), monitor.len() as u64);
        let mut record = CoreBoot::new_zeroed();
        fill(&mut record, domain, core, hw, &place.slice.0, first);
        let channel = place.channel().map(|range| (RegionKind::Channel, range));
        let facts = place.facts.map(|frame| (RegionKind::Channel, frame.range()));
        let bundle = self.starter.bundle.map(|range| (RegionKind::Bundle, range));
        let ram = (RegionKind::Ram, place.ram.0.range());
        for (kind, range) in [ram].into_iter().chain(channel).chain(facts).chain(bundle) {
            if !record.add(kind, range, node) {
                return Err(String::from("its record is full"));
            }
        }
        place.slice.fill(domain, core, |view| {
            for part in &parts {
                view.write(part.to, &file[part.from..part.from + part.len]);
            }
            view.write(SLICE - PAGE_SIZE, record.as_bytes());
        })?;

        let say = |e| format!("its channel: {e}");
        let [(_, outbox), (_, inbox)] = &place.blocks;
        let inbox = inbox.block(0, PAGE_SIZE).map_err(say)?;
        let outbox = outbox.block(0, PAGE_SIZE).map_err(say)?;
        let wake = Wake::Core(Core(slot::CORES), hw);
        let channel = UserChan::new(inbox, outbox, PAGE_LAYOUT, wake).map_err(say)?;
        self.io.put(chan, Port::Chan(channel));
        let base = place.slice.0.base;
        let started = Core(slot::CORES).start(hw, PhysAddr(base + entry), PhysAddr(base + SLICE - PAGE_SIZE));
        started.map_err(|e| format!("{e}"))?;
        info!("core {core} on node {node}: started, {} KiB", share >> 10);
        self.handle(Event::Memory { core, node, total: share, free: share });
        self.report_memory();
        Ok(())
    }
}

fn fill(
    record: &mut CoreBoot,
    domain: &Domain,
    core: CoreId,
    hw: HwId,
    slice: &Object,
    first_domain: PhysRange,
) {
    record.magic = boot::MAGIC;
    record.version = boot::VERSION;
    record.core = core;
    record.hw_id = hw;
    record.slice = PhysAddr(slice.base);
    record.first_domain = first_domain;
    record.frequency = domain.info.frequency;
    record.arch_word = domain.info.arch_word;
    // It came from a record of the same size.
    let _fits = record.set_cmdline(domain.info.args().as_bytes());
}
