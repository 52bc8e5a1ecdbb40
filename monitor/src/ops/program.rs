//! A program at the other end of a link: the first monitor of one island asks that of its neighbour to run the other
//! half of a benchmark, over domain channels of the window between them.

use crate::chans::Role;
use crate::event::{Action, Chan, Sink};
use crate::monitor::Monitor;
use skerry_hal::{CoreId, IslandId};
use skerry_urpc::formats::monitor::ProgramStart;
use skerry_urpc::wire::{self, Header};

impl Monitor {
    /// The request for the first monitor of `peer`, to be sent on the link that leads there.
    pub fn program_request(&self, peer: IslandId, channels: [u16; 2]) -> skerry_urpc::Message {
        let start = ProgramStart { channels, ..ProgramStart::default() };
        wire::encode(&self.header(CoreId::new(peer, 0), 0), &start)
    }

    /// Only the island at the other end of the very link may ask: the channels are in its window.
    pub(crate) fn on_program_start(
        &mut self,
        start: &ProgramStart,
        chan: Chan,
        header: &Header,
        sink: &mut dyn Sink,
    ) {
        let neighbour = |n: u16| self.config.links.get(usize::from(n)) == Some(&header.src.island());
        match self.chans.role(chan) {
            Role::Link(link) if neighbour(link) => {
                sink.act(Action::RunProgram { link, channels: start.channels });
            }
            _ => self.counters.bad += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{core, joined, message};

    #[test]
    fn only_the_neighbour_itself_may_ask() {
        let (mut m, mut log) = joined();
        let start = ProgramStart { channels: [1, 3], ..ProgramStart::default() };
        m.message(3, Chan(0), &message(core(1, 0), core(0, 0), 0, &start), &mut log);
        let runs = |a: &Action| *a == Action::RunProgram { link: 0, channels: [1, 3] };
        assert!(log.take_action(runs).is_some());
        m.deliver(
            Chan(u16::MAX),
            &message(core(0, 0), core(0, 0), 0, &start),
            &m.header(core(0, 0), 0),
            &mut log,
        );
        assert!(log.take_action(runs).is_none());
        assert_eq!(m.counters().bad, 1);
    }
}
