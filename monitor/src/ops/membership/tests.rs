//! Advertisements, losses, and who may speak of whom.

use crate::event::{Action, Chan, Event};
use crate::monitor::Monitor;
use crate::testkit::{Log, app, core, first, header_of, island_says, joined, message};
use skerry_hal::Epoch;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::{Beat, CoreAd, Fault, IslandQuery};
use skerry_urpc::wire::Header;

#[test]
fn a_silent_peer_is_given_up_and_its_epoch_never_counts_again() {
    let (mut m, mut log) = joined();
    assert_eq!(m.status_of(core(1, 0)), Ok(()));
    m.handle(10, Event::LinkLost { link: 0, why: "silent".into() }, &mut log);
    assert_eq!(m.status_of(core(1, 0)), Err(Refusal::Lost));
    m.handle(11, Event::LinkUp { link: 0, epoch: Epoch(1), own: Epoch(1) }, &mut log);
    assert_eq!(m.status_of(core(1, 0)), Err(Refusal::Lost), "the same epoch is refused");
    let told = |a: &Action| matches!(a, Action::RefuseEpoch { link: 0, epoch: Epoch(1) });
    assert!(log.actions.iter().any(told), "and the peer is told so");
    let stale = m.counters().stale;
    m.handle(12, Event::LinkUp { link: 0, epoch: Epoch(2), own: Epoch(1) }, &mut log);
    for old in island_says(1, 9, 2, 1, core(0, 0)) {
        m.message(13, Chan(0), &old, &mut log);
    }
    assert_eq!((m.counters().stale, m.status_of(core(1, 0))), (stale + 2, Err(Refusal::Lost)));
}

#[test]
fn an_island_that_could_not_be_reached_counts_from_its_next_advertisement_on() {
    let mut log = Log::default();
    let mut m = first(0, 1, &[1]);
    let behind = core(2, 0);
    m.handle(0, Event::Start, &mut log);
    m.handle(1, Event::LinkUp { link: 0, epoch: Epoch(1), own: Epoch(1) }, &mut log);
    let says = |m: &mut Monitor, log: &mut Log, island, seq, links| {
        let [ad, cores] = island_says(island, seq, 1, links, core(0, 0));
        for mut message in [ad, cores] {
            message.set_header(&header_of(core(1, 0), core(0, 0)));
            m.message(2, Chan(0), &message, log);
        }
    };
    says(&mut m, &mut log, 1, 1, 0b101);
    says(&mut m, &mut log, 2, 1, 0b010);
    assert_eq!(m.status_of(behind), Ok(()));
    says(&mut m, &mut log, 1, 2, 0b001);
    assert_eq!(m.status_of(behind), Err(Refusal::Unreachable));
    // It may be another by now: that there is a way is not enough.
    says(&mut m, &mut log, 1, 3, 0b101);
    assert_eq!(m.status_of(behind), Err(Refusal::Unreachable));
    let (chan, (header, query)) = log.take_sent::<IslandQuery>().expect("its neighbour is asked for it");
    assert_eq!((chan, header.dst, query.island), (Chan(0), core(1, 0), behind.island()));
    says(&mut m, &mut log, 1, 4, 0b101);
    assert!(log.take_sent::<IslandQuery>().is_none(), "once");
    // It was the same all the time.
    says(&mut m, &mut log, 2, 1, 0b010);
    assert_eq!(m.status_of(behind), Ok(()));
}

#[test]
fn an_island_that_was_given_up_takes_the_next_epoch() {
    let (mut m, mut log) = joined();
    m.handle(10, Event::EpochRefused { epoch: Epoch(1) }, &mut log);
    m.handle(11, Event::EpochRefused { epoch: Epoch(1) }, &mut log);
    assert_eq!(m.epoch(), Epoch(2), "two peers may refuse the same epoch");
    let new = |a: &&Action| matches!(a, Action::NewEpoch { .. });
    assert_eq!(log.actions.iter().filter(new).count(), 1);
    m.handle(12, Event::LinkUp { link: 0, epoch: Epoch(1), own: Epoch(1) }, &mut log);
    assert_eq!(m.status_of(core(1, 0)), Err(Refusal::Unreachable), "it was agreed on before the new epoch");
    m.handle(13, Event::LinkUp { link: 0, epoch: Epoch(1), own: Epoch(2) }, &mut log);
    for again in island_says(1, 2, 2, 1, core(0, 0)) {
        m.message(14, Chan(0), &again, &mut log);
    }
    assert_eq!(m.status_of(core(1, 0)), Ok(()));
}

#[test]
fn nobody_speaks_for_another_s_neighbour_or_for_us() {
    let (mut m, mut log) = joined();
    let bad = m.counters().bad;
    let [own, _] = island_says(0, 99, 5, 1, core(0, 0));
    let mut forged = own;
    forged.set_header(&header_of(core(1, 0), core(0, 0)));
    m.message(5, Chan(0), &forged, &mut log);
    let [other, _] = island_says(1, 99, 2, 0, core(0, 0));
    let mut relayed = other;
    relayed.set_header(&header_of(core(1, 1), core(0, 0)));
    m.message(5, Chan(0), &relayed, &mut log);
    assert_eq!(m.counters().bad, bad + 2);
    assert_eq!(m.status_of(core(1, 0)), Ok(()));
}

#[test]
fn an_app_core_takes_its_picture_from_the_first_and_reports_itself() {
    let mut log = Log::default();
    let mut m = app(1, 1);
    m.handle(0, Event::Start, &mut log);
    let (chan, (header, ad)) = log.take_sent::<CoreAd>().expect("a report");
    assert_eq!((chan, header.dst, ad.core), (Chan(0), core(1, 0), core(1, 1)));
    for says in island_says(1, 1, 2, 0, core(1, 1)) {
        m.message(1, Chan(0), &says, &mut log);
    }
    assert_eq!((m.epoch(), m.status_of(core(1, 0))), (Epoch(1), Ok(())));
}

#[test]
fn what_cannot_be_passed_on_is_sent_back_with_a_reason() {
    let (mut m, mut log) = joined();
    let from = core(1, 0);
    let beat = Beat::default();
    let mut tired = message(from, core(0, 5), 7, &beat);
    tired.set_header(&Header { hops: 0, request: 7, ..header_of(from, core(0, 5)) });
    for (sent, why) in [(message(from, core(0, 5), 7, &beat), Refusal::Unknown), (tired, Refusal::Unknown)] {
        m.message(5, Chan(0), &sent, &mut log);
        let (_, (header, fault)) = log.take_sent::<Fault>().expect("a fault");
        assert_eq!((header.dst, header.request), (from, 7));
        assert_eq!(Refusal::from_raw(fault.refusal), why);
    }
}
