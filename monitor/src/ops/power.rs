//! Turning everything off: every other island first, then, when what was said has left and had time to be relayed, this
//! one.

use crate::event::{Action, Sink};
use crate::monitor::Monitor;
use alloc::vec::Vec;
use skerry_hal::CoreId;
use skerry_urpc::formats::monitor::PowerOff;
use skerry_urpc::formats::shell::IslandState;

/// Which part of the bound is time enough for a relay.
const RELAY_PART: u64 = 16;

#[derive(Default)]
pub(crate) struct State {
    /// When this island goes off, room or no room.
    at: Option<u64>,
    done: bool,
}

impl State {
    pub(crate) fn is_pending(&self) -> bool {
        self.at.is_some()
    }
}

impl Monitor {
    pub(crate) fn power_off_everywhere(&mut self, sink: &mut dyn Sink) {
        let up = self.islands.iter().filter(|(id, i)| i.state == IslandState::Up && *id != self.island);
        let others: Vec<CoreId> = up.map(|(id, _)| CoreId::new(id, 0)).collect();
        for &core in &others {
            self.send_body(core, 0, &PowerOff::default(), sink);
        }
        if self.is_first() {
            self.power_soon(!others.is_empty());
        } else {
            self.send_body(CoreId::new(self.island, 0), 0, &PowerOff::default(), sink);
        }
    }

    pub(crate) fn on_power_off(&mut self, _: &PowerOff, _: &mut dyn Sink) {
        if self.is_first() {
            self.power_soon(true);
        }
    }

    fn power_soon(&mut self, wait: bool) {
        let wait = if wait { self.config.bound / RELAY_PART } else { 0 };
        self.power.at.get_or_insert(self.now.saturating_add(wait));
    }

    pub(crate) fn power_deadline(&self) -> Option<u64> {
        self.power.at.filter(|_| !self.power.done)
    }

    pub(crate) fn power_flush(&mut self, sink: &mut dyn Sink) {
        if self.is_past(self.power.at) && !self.power.done {
            self.power.done = true;
            sink.act(Action::PowerOff);
        }
    }
}
