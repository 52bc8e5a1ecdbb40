//! How answers are spelt: fields separated by single spaces, so that other programs can read them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use skerry_hal::{CoreId, Isa};
use skerry_urpc::formats::monitor::CoreState;
use skerry_urpc::formats::shell::{CoreLine, IslandLine, IslandState, MemoryLine, StreamReport};

/// First line of the table of cores.
pub const CORES: &str = "core isa island node state channels";
/// First line of the table of islands.
pub const ISLANDS: &str = "island isa state epoch cores up links";
/// First line of the table of memory; sizes are in KiB.
pub const MEMORY: &str = "core node total_kib free_kib";

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

/// A core's memory.
pub fn memory(line: &MemoryLine) -> String {
    format!("{} {} {} {}", line.core, line.node, line.total >> 10, line.free >> 10)
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
    use skerry_hal::{Epoch, IslandId};

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
        let line = MemoryLine { core: id, node: 1, total: 2048, free: 1024, ..MemoryLine::default() };
        assert_eq!(memory(&line), "1.3 1 2 1");
    }

    #[test]
    fn a_ping_is_spelt_as_the_commands_say() {
        let figures = Figures { count: 10, lost: 0, times: [1, 2, 3] };
        let (a, b) = (CoreId::new(IslandId(0), 1), CoreId::new(IslandId(1), 0));
        assert_eq!(ping(a, b, &figures, "ns"), "ping 0.1 1.0 count 10 lost 0 min 1 median 2 p99 3 ns");
    }
}
