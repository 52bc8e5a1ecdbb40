use super::*;
use crate::event::{Chan, Event};
use crate::ops::agree::asker::What;
use crate::ops::agree::model::{Cap, PAGE, Store};
use crate::ops::agree::{MAX_OPS, Region};
use crate::testkit::{Log, core, first};
use skerry_abi::CapType;

/// The first monitors of two islands of a core each, joined, and what they hold.
struct Pair {
    monitors: [Monitor; 2],
    stores: [Store; 2],
    logs: [Log; 2],
    now: u64,
}

const WINDOW: Region = Region { ty: CapType::WindowFrame, base: 0, len: 4 * PAGE };

impl Pair {
    fn new() -> Self {
        let monitors = [first(0, 1, &[1]), first(1, 1, &[0])];
        let stores = [0, 1].map(|n| Store { core: core(n, 0), pace: 1, ..Store::default() });
        let mut pair = Self { monitors, stores, logs: [Log::default(), Log::default()], now: 0 };
        for n in 0..2 {
            pair.monitors[n].open_agreement();
            pair.handle(n, Event::Start);
        }
        pair.link_up(Epoch(1));
        pair.stores[0].caps.push(Cap {
            region: WINDOW,
            owner: core(0, 0),
            locked: false,
            remote: false,
            anchor: false,
        });
        pair
    }

    fn handle(&mut self, n: usize, event: Event) {
        self.monitors[n].handle(self.now, event, &mut self.logs[n]);
    }

    /// The link comes up; island 1 is in this epoch.
    fn link_up(&mut self, epoch: Epoch) {
        self.handle(0, Event::LinkUp { link: 0, epoch, own: Epoch(1) });
        self.handle(1, Event::LinkUp { link: 0, epoch: Epoch(1), own: Epoch(1) });
        self.run();
    }

    /// Until nobody has anything to say.
    fn run(&mut self) {
        loop {
            self.now += 1;
            let mut quiet = true;
            for n in 0..2 {
                for (_, message) in core::mem::take(&mut self.logs[1 - n].sent) {
                    quiet = false;
                    self.monitors[n].message(self.now, Chan(0), &message, &mut self.logs[n]);
                }
                while self.monitors[n].wants_to_agree() {
                    quiet = false;
                    self.monitors[n].agree(self.now, &mut self.stores[n], &mut self.logs[n]);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn ask(&mut self, n: usize, token: u32, what: What) {
        self.stores[n].wants.insert(token, (WINDOW, WINDOW));
        let request = Request { owner: core(0, 0), region: WINDOW, what };
        self.monitors[n].ask_owners(self.now, &[(token, request)], &mut self.stores[n], &mut self.logs[n]);
    }

    fn give(&mut self) {
        self.ask(0, 1, What::Transfer { to: core(1, 0), whom: 7, rights: 0xff });
        self.run();
        assert_eq!(self.monitors[0].next_settled(), Some((1, Ok(()))));
        assert_eq!(self.stores.each_ref().map(|s| s.caps.len()), [2, 1], "with the monitor's own");
    }
}

#[test]
fn a_window_frame_goes_to_another_island_and_is_taken_back() {
    let mut pair = Pair::new();
    pair.give();
    pair.ask(0, 2, What::Revoke { copies: true });
    pair.run();
    assert_eq!(pair.monitors[0].next_settled(), Some((2, Ok(()))));
    assert_eq!(pair.stores.each_ref().map(|s| s.caps.len()), [1, 0]);
    assert_eq!(pair.monitors[0].next_settled(), None);
}

#[test]
fn a_lost_island_ends_what_it_was_asked_and_what_it_owned() {
    let mut pair = Pair::new();
    pair.give();
    pair.ask(0, 2, What::Revoke { copies: true });
    pair.ask(1, 3, What::Revoke { copies: true });
    for log in &mut pair.logs {
        log.sent.clear();
    }
    for n in 0..2 {
        pair.handle(n, Event::LinkLost { link: 0, why: "silent".into() });
    }
    pair.run();
    assert_eq!(pair.monitors[0].next_settled(), Some((2, Ok(()))));
    assert_eq!(pair.monitors[1].next_settled(), Some((3, Err(Refusal::Lost))));
    assert_eq!(pair.stores.each_ref().map(|s| s.caps.len()), [1, 0]);
}

#[test]
fn what_was_sent_to_an_island_s_earlier_life_makes_nothing_in_the_next() {
    let mut pair = Pair::new();
    pair.ask(0, 1, What::Transfer { to: core(1, 0), whom: 7, rights: 0xff });
    let late = core::mem::take(&mut pair.logs[0].sent);
    pair.handle(1, Event::EpochRefused { epoch: Epoch(1) });
    pair.handle(1, Event::LinkUp { link: 0, epoch: Epoch(1), own: Epoch(1) });
    let stale = pair.monitors[1].counters().stale;
    for (_, message) in &late {
        pair.monitors[1].message(pair.now, Chan(0), message, &mut pair.logs[1]);
    }
    pair.monitors[1].agree(pair.now, &mut pair.stores[1], &mut pair.logs[1]);
    assert_eq!((pair.stores[1].caps.len(), pair.monitors[1].counters().stale), (0, stale + 1));
}

#[test]
fn who_does_not_take_part_says_so() {
    let mut pair = Pair::new();
    pair.monitors[1].agree.on = false;
    pair.ask(0, 1, What::Transfer { to: core(1, 0), whom: 7, rights: 0xff });
    pair.run();
    assert_eq!(pair.monitors[0].next_settled(), Some((1, Err(Refusal::BadKind))));
    assert_eq!(pair.stores[0].caps.len(), 1);
}

#[test]
fn many_at_once_all_end() {
    let mut pair = Pair::new();
    pair.give();
    for token in 10..10 + 2 * MAX_OPS as u32 {
        pair.ask((token % 2) as usize, token, What::Revoke { copies: false });
    }
    pair.run();
    let answers = pair.monitors.iter_mut().flat_map(|m| core::iter::from_fn(|| m.next_settled()));
    assert_eq!(answers.count(), 2 * MAX_OPS);
}
