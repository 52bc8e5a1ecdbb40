//! How answers are spelt: fields separated by single spaces, so that other programs can read them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_hal::{CoreId, FaultKind, Isa, IslandId};
use skerry_urpc::formats::device::{DriverLine, Random};
use skerry_urpc::formats::monitor::CoreState;
use skerry_urpc::formats::proc::{Done, MemoryState, Process, ProcessState};
use skerry_urpc::formats::shell::{CoreLine, IslandLine, IslandState, MemoryLine, StreamReport};

/// First line of the table of cores.
pub const CORES: &str = "core isa island node state channels";
/// First line of the table of islands.
pub const ISLANDS: &str = "island isa state epoch cores up links";
/// First line of the table of memory; sizes are in KiB. `total_kib` and `free_kib` are the monitor's own, the others the
/// process server's: its RAM, its free slots, and the capabilities that it and its processes were made of.
pub const MEMORY: &str = "core node total_kib free_kib programs_kib programs_free_kib slots caps running";
/// First line of the table of processes.
pub const PROCESSES: &str = "process core name state ram_kib";

/// First line of the table of drivers.
pub const DRIVERS: &str = "driver island pci state starts line lines interrupts";

fn isa(raw: u8) -> &'static str {
    Isa::from_wire(raw).map_or("-", Isa::name)
}

/// A core.
pub fn core(line: &CoreLine) -> String {
    let state = CoreState::from_raw(line.state).map_or("unknown", CoreState::name);
    format!("{} {} {} {} {state} {}", line.core, isa(line.isa), line.core.island(), line.node, line.channels)
}

/// An island.
pub fn island(line: &IslandLine) -> String {
    let state = IslandState::from_raw(line.state).map_or("unknown", IslandState::name);
    let links: Vec<String> = (0..64).filter(|n| line.links >> n & 1 != 0).map(|n| format!("{n}")).collect();
    let links = if links.is_empty() { String::from("-") } else { links.join(",") };
    format!("{} {} {state} {} {} {} {links}", line.island, isa(line.isa), line.epoch, line.cores, line.up)
}

/// A core's memory: what its monitor has, if it is of this island, and what its process server has, if it answered.
pub fn memory(core: &CoreLine, monitor: Option<&MemoryLine>, server: Option<&MemoryState>) -> String {
    let mut text = format!("{} {}", core.core, core.node);
    match monitor {
        Some(line) => text += &format!(" {} {}", line.total >> 10, line.free >> 10),
        None => text += " - -",
    }
    match server {
        Some(MemoryState { total, free, slots, caps, running, .. }) => {
            text += &format!(" {} {} {slots} {caps} {running}", total >> 10, free >> 10);
        }
        None => text += " - - - - -",
    }
    text
}

/// A driver.
pub fn driver(island: IslandId, line: &DriverLine) -> String {
    let len = line.name.iter().position(|byte| *byte == 0).unwrap_or(line.name.len());
    let (bus, device, function) = (line.address >> 8, line.address >> 3 & 31, line.address & 7);
    format!(
        "{} {island} {bus:02x}:{device:02x}.{function} {} {} {} {} {}",
        clean(&line.name[..len]),
        state(line.state, line.code).replace(' ', "-"),
        line.starts,
        line.line,
        line.lines,
        line.interrupts
    )
}

/// Random bytes, two digits each.
pub fn random(random: &Random) -> String {
    let bytes = random.bytes.iter().take(random.len.into());
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// A process.
pub fn process(core: CoreId, line: &Process) -> String {
    let len = line.name.iter().position(|byte| *byte == 0).unwrap_or(line.name.len());
    let name = clean(&line.name[..len]);
    format!(
        "{core}:{} {core} {name} {} {}",
        line.pid,
        state(line.state, line.code).replace(' ', "-"),
        line.ram
    )
}

/// What a process does, or how it ended.
pub fn state(state: u8, code: u8) -> String {
    match ProcessState::from_raw(state) {
        Some(ProcessState::Exited) => format!("exited {code}"),
        Some(ProcessState::Faulted) => {
            format!("fault {}", FaultKind::from_raw(code.into()).map_or("unknown", FaultKind::name))
        }
        Some(other) => String::from(other.name()),
        None => String::from("unknown"),
    }
}

/// How a process ended that did not do so itself; of a fault, where as well.
pub fn end(done: &Done) -> String {
    let state = state(done.state, done.code);
    if ProcessState::from_raw(done.state) == Some(ProcessState::Faulted) {
        format!("{state} at {:#x}, pc {:#x}", done.addr, done.pc)
    } else {
        state
    }
}

/// A program's line as it may be shown: it must not move the cursor, nor look like an answer to a machine's request.
pub fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Figures of a ping.
pub struct Figures {
    /// Round trips asked for.
    pub count: u32,
    /// Without answer.
    pub lost: u32,
    /// Shortest, median, 99th percentile.
    pub times: [u64; 3],
}

/// A ping in one unit.
pub fn ping(from: CoreId, to: CoreId, figures: &Figures, unit: &str) -> String {
    let Figures { count, lost, times: [min, median, p99] } = figures;
    format!("ping {from} {to} count {count} lost {lost} min {min} median {median} p99 {p99} {unit}")
}

/// A stream.
pub fn stream(from: CoreId, to: CoreId, report: &StreamReport) -> String {
    let StreamReport { received, wrong, nanos, .. } = report;
    let each = nanos / (*received).max(1);
    format!("stream {from} {to} received {received} wrong {wrong} {each} ns")
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_hal::Epoch;

    #[test]
    fn lines_have_the_fields_of_their_header() {
        let id = CoreId::new(IslandId(1), 3);
        let line = CoreLine {
            core: id,
            isa: 2,
            state: CoreState::Up as u8,
            node: 1,
            channels: 4,
            ..CoreLine::default()
        };
        assert_eq!(core(&line), "1.3 aarch64 1 1 up 4");
        let odd = CoreLine { isa: 99, state: 99, ..line };
        assert_eq!(core(&odd).split(' ').count(), CORES.split(' ').count());
        let line = IslandLine {
            island: IslandId(1),
            isa: 1,
            state: IslandState::Lost as u8,
            epoch: Epoch(2),
            cores: 4,
            up: 3,
            links: 0b101,
            ..IslandLine::default()
        };
        assert_eq!(island(&line), "1 x86_64 lost 2 4 3 0,2");
        assert_eq!(ISLANDS.split(' ').count(), 7);
        let line = CoreLine { core: id, node: 1, ..CoreLine::default() };
        let own = MemoryLine { core: id, node: 1, total: 2048, free: 1024, ..MemoryLine::default() };
        let server =
            MemoryState { total: 8192, free: 4096, slots: 5, caps: 6, running: 1, ..MemoryState::default() };
        assert_eq!(memory(&line, Some(&own), Some(&server)), "1.3 1 2 1 8 4 5 6 1");
        assert_eq!(memory(&line, None, None).split(' ').count(), MEMORY.split(' ').count());
    }

    #[test]
    fn processes_have_a_field_for_each_header() {
        let core = CoreId::new(IslandId(1), 2);
        let mut line = Process { pid: 7, ram: 512, state: 1, code: 3, ..Process::default() };
        line.name[..2].copy_from_slice(b"a\n");
        assert_eq!(process(core, &line), "1.2:7 1.2 a\u{fffd} exited-3 512");
        assert_eq!(PROCESSES.split(' ').count(), process(core, &line).split(' ').count());
        assert_eq!((state(2, 0).as_str(), state(9, 0).as_str()), ("killed", "unknown"));
        let done =
            Done { state: 3, code: FaultKind::Write as u8, addr: 0x1234, pc: 0x40_0010, ..Done::default() };
        assert_eq!(end(&done), "fault Write at 0x1234, pc 0x400010");
        assert_eq!(end(&Done { state: 4, ..done }), "vanished");
    }

    #[test]
    fn a_ping_is_spelt_as_the_commands_say() {
        let figures = Figures { count: 10, lost: 0, times: [1, 2, 3] };
        let (a, b) = (CoreId::new(IslandId(0), 1), CoreId::new(IslandId(1), 0));
        assert_eq!(ping(a, b, &figures, "ns"), "ping 0.1 1.0 count 10 lost 0 min 1 median 2 p99 3 ns");
    }
}
