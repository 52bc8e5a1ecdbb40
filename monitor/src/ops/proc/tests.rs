//! Requests, askers, and what is lost between them.

use super::*;
use crate::event::{Action, Event};
use crate::testkit::{Log, core, joined, message};
use skerry_urpc::formats::device::{Random, RandomQuery};
use skerry_urpc::formats::proc::{List, Output, Wait};

fn ask<B: Body>(request: u16, to: CoreId, body: &B) -> Message {
    wire::encode(&Header { request, dst: to, ..Header::default() }, body)
}

fn done(log: &mut Log) -> Option<(u16, Refusal)> {
    let (_, (header, done)) = log.take_sent::<Done>()?;
    Some((header.request, Refusal::from_raw(done.refusal)))
}

#[test]
fn a_request_goes_to_its_core_and_the_answers_come_back() {
    let (mut m, mut log) = joined();
    let client = m.open_client().unwrap();
    let far = core(1, 0);
    m.message(3, client, &ask(7, far, &List::default()), &mut log);
    let (chan, (header, _)) = log.take_sent::<List>().expect("on its way");
    assert_eq!((chan, header.dst), (Chan(0), far));
    m.message(4, Chan(0), &message(core(1, 1), core(0, 0), header.request, &Output::default()), &mut log);
    assert!(log.take_sent::<Output>().is_none(), "of a core that was not asked");
    m.message(4, Chan(0), &message(far, core(0, 0), header.request, &Output::default()), &mut log);
    let (chan, (answer, _)) = log.take_sent::<Output>().expect("an answer");
    assert_eq!((chan, answer.request, answer.src), (client, 7, far));
    m.message(5, client, &ask(7, far, &Credit { pieces: 1, ..Credit::default() }), &mut log);
    assert_eq!(log.take_sent::<Credit>().map(|(_, (h, _))| h.request), Some(header.request));
    for _ in 0..2 {
        m.message(6, Chan(0), &message(far, core(0, 0), header.request, &Done::default()), &mut log);
    }
    assert!(log.take_sent::<Done>().is_some());
    assert!(log.take_sent::<Done>().is_none(), "the last answer is the last");
    m.message(7, client, &ask(7, far, &Credit::default()), &mut log);
    assert!(log.take_sent::<Credit>().is_none(), "its session has ended");
}

#[test]
fn a_server_asks_for_the_service_of_a_device_as_a_client_does() {
    let (mut m, mut log) = joined();
    let (server, far) = (m.open_server().unwrap(), core(1, 0));
    m.message(3, server, &ask(7, far, &RandomQuery::default()), &mut log);
    let (_, (header, _)) = log.take_sent::<RandomQuery>().expect("on its way");
    m.message(4, Chan(0), &message(far, core(0, 0), header.request, &Random::default()), &mut log);
    let (chan, (answer, _)) = log.take_sent::<Random>().expect("an answer");
    assert_eq!((chan, answer.request), (server, 7));
    m.handle(5, Event::ChannelClosed { chan: server, why: "it ended".into() }, &mut log);
    assert!(m.proc.sessions.iter().all(Option::is_none));
    m.message(6, Chan(0), &message(far, core(0, 0), header.request, &Random::default()), &mut log);
    assert!(log.take_sent::<Random>().is_none(), "nobody is there any more");
}

#[test]
fn a_servers_lines_are_the_monitors() {
    let (mut m, mut log) = joined();
    let server = m.open_server().unwrap();
    let line = "of some length, so that it takes several pieces to say it";
    for piece in skerry_urpc::formats::log::pieces(2, line.as_bytes()) {
        m.message(3, server, &wire::encode(&Header::default(), &piece), &mut log);
    }
    let said = |a: &Action| matches!(a, Action::Log { level: 2, text, .. } if text == line);
    assert!(log.actions.iter().any(said), "{:?}", log.actions);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let (mut m, mut log) = joined();
    let client = m.open_client().unwrap();
    for (to, refusal) in [(core(9, 0), Refusal::Unknown), (core(1, 1), Refusal::NotUp)] {
        m.message(3, client, &ask(1, to, &List::default()), &mut log);
        assert_eq!(done(&mut log), Some((1, refusal)));
    }
    m.message(3, client, &ask(2, core(0, 0), &List::default()), &mut log);
    m.flush(4, &mut log);
    assert_eq!(done(&mut log), Some((2, Refusal::NoServer)));
    for n in 0..=MAX_SESSIONS as u16 {
        m.message(5, client, &ask(10 + n, core(1, 0), &Wait::default()), &mut log);
    }
    assert_eq!(done(&mut log), Some((10 + MAX_SESSIONS as u16, Refusal::Busy)));
    m.handle(6, Event::LinkLost { link: 0, why: "silent".into() }, &mut log);
    let lost = core::iter::from_fn(|| done(&mut log)).filter(|d| d.1 == Refusal::Lost).count();
    assert_eq!(lost, MAX_SESSIONS, "everybody hears of the loss");
    assert!(m.proc.sessions.iter().all(Option::is_none));
}

#[test]
fn a_server_hears_who_does_not_listen_any_more() {
    let (mut m, mut log) = joined();
    let server = m.open_server().unwrap();
    let far = core(1, 0);
    m.message(3, Chan(0), &message(far, core(0, 0), 5, &Wait { pid: 3, ..Wait::default() }), &mut log);
    let (chan, (header, wait)) = log.take_sent::<Wait>().expect("served");
    assert_eq!((chan, header.src, wait.pid), (server, far, 3));
    let handle = header.request;
    m.message(4, server, &ask(handle + 1, far, &Output::default()), &mut log);
    assert!(log.take_sent::<Output>().is_none(), "nobody asked under that number");
    m.message(4, server, &ask(handle, far, &Output::default()), &mut log);
    assert_eq!(log.take_sent::<Output>().map(|(chan, _)| chan), Some(Chan(0)));
    m.handle(5, Event::LinkLost { link: 0, why: "silent".into() }, &mut log);
    let (chan, (header, _)) = log.take_sent::<Leave>().expect("told");
    assert_eq!((chan, header.src, header.request), (server, far, handle));
    assert!(m.proc.askers.is_empty());
}

fn served(m: &mut Monitor, at: u64, request: u16) -> u16 {
    let mut log = Log::default();
    m.message(at, Chan(0), &message(core(1, 0), core(0, 0), request, &Wait::default()), &mut log);
    log.take_sent::<Wait>().expect("served").1.0.request
}

#[test]
fn an_answer_to_a_lost_asker_is_not_its_successor_s() {
    let (mut m, mut log) = joined();
    let server = m.open_server().unwrap();
    let old = served(&mut m, 3, 5);
    m.handle(5, Event::LinkLost { link: 0, why: "silent".into() }, &mut log);
    m.handle(6, Event::LinkUp { link: 0, epoch: Epoch(2), own: Epoch(1) }, &mut log);
    for mut says in crate::testkit::island_says(1, 1, 2, 1, core(0, 0)) {
        says.set_header(&Header { epoch: Epoch(2), ..says.header() });
        if let Some(ad) = says.body::<skerry_urpc::formats::monitor::IslandAd>() {
            says = wire::encode(
                &says.header(),
                &skerry_urpc::formats::monitor::IslandAd { epoch: Epoch(2), ..ad },
            );
        }
        m.message(7, Chan(0), &says, &mut log);
    }
    let mut again = message(core(1, 0), core(0, 0), 5, &Wait::default());
    again.set_header(&Header { epoch: Epoch(2), ..again.header() });
    m.message(8, Chan(0), &again, &mut log);
    log.sent.clear();
    m.message(9, server, &ask(old, core(1, 0), &Done::default()), &mut log);
    assert!(log.take_sent::<Done>().is_none(), "the same core and number, but another life");
    assert_eq!(m.open_requests(), (0, 1));
}

#[test]
fn a_gap_ends_the_session_at_both_ends() {
    let (mut m, mut log) = joined();
    let (client, server) = (m.open_client().unwrap(), m.open_server().unwrap());
    let far = core(1, 0);
    m.message(3, client, &ask(7, far, &Wait::default()), &mut log);
    let (_, (header, _)) = log.take_sent::<Wait>().expect("on its way");
    let mut late = message(far, core(0, 0), header.request, &Output::default());
    late.flags = 1;
    m.message(4, Chan(0), &late, &mut log);
    assert_eq!(done(&mut log), Some((7, Refusal::Aborted)), "a piece is missing");
    assert!(log.take_sent::<Leave>().is_some(), "and the server is told");
    // The other way round.
    served(&mut m, 5, 9);
    let mut credit = message(far, core(0, 0), 9, &Credit { pieces: 1, ..Credit::default() });
    credit.flags = 2;
    m.message(6, Chan(0), &credit, &mut log);
    assert_eq!(log.take_sent::<Leave>().map(|(chan, _)| chan), Some(server));
    let (_, (header, fault)) = log.take_sent::<Fault>().expect("a fault");
    assert_eq!((header.request, fault.refusal), (9, Refusal::Aborted as u16));
    assert_eq!(m.open_requests(), (0, 0));
}

#[test]
fn a_session_probes_and_an_asker_that_does_not_is_gone() {
    let (mut m, mut log) = joined();
    let (client, _server) = (m.open_client().unwrap(), m.open_server().unwrap());
    m.message(3, client, &ask(7, core(1, 0), &Wait::default()), &mut log);
    served(&mut m, 3, 9);
    m.handle(1003, Event::Tick, &mut log);
    let (_, (_, probe)) = log.take_sent::<Credit>().expect("a probe");
    assert_eq!(probe.pieces, 0);
    let mut unknown = message(core(1, 0), core(0, 0), 8, &Credit::default());
    unknown.flags = 3;
    m.message(1004, Chan(0), &unknown, &mut log);
    let (_, (header, fault)) = log.take_sent::<Fault>().expect("a fault");
    assert_eq!((header.request, fault.refusal), (8, Refusal::Aborted as u16));
    m.handle(4003, Event::Tick, &mut log);
    assert_eq!(m.open_requests(), (1, 0));
}

#[test]
fn the_rest_of_a_text_begins_no_request() {
    let (mut m, mut log) = joined();
    let client = m.open_client().unwrap();
    let rest = Spawn { piece: 1, ..Spawn::default() };
    m.message(3, client, &ask(7, core(1, 0), &rest), &mut log);
    assert!(log.sent.is_empty() && m.open_requests() == (0, 0));
    let mut rest = message(core(1, 0), core(0, 0), 9, &rest);
    rest.flags = 1;
    m.message(3, Chan(0), &rest, &mut log);
    assert!(log.take_sent::<Fault>().is_some());
}

#[test]
fn the_end_of_a_server_ends_what_it_was_asked() {
    let (mut m, mut log) = joined();
    let server = m.open_server().unwrap();
    m.message(3, Chan(0), &message(core(1, 0), core(0, 0), 5, &Wait::default()), &mut log);
    m.handle(4, Event::ChannelClosed { chan: server, why: "dead".into() }, &mut log);
    assert_eq!(done(&mut log), Some((5, Refusal::NoServer)));
    m.message(3, Chan(0), &message(core(1, 0), core(0, 0), 6, &Wait::default()), &mut log);
    let (_, (header, fault)) = log.take_sent::<Fault>().expect("a fault");
    assert_eq!((header.request, fault.refusal), (6, Refusal::NoServer as u16));
}

#[test]
fn askers_are_bounded() {
    let (mut m, mut log) = joined();
    let _server = m.open_server().unwrap();
    for n in 0..=MAX_ASKERS as u16 {
        m.message(3, Chan(0), &message(core(1, 0), core(0, 0), n, &Wait::default()), &mut log);
    }
    let (_, (header, fault)) = log.take_sent::<Fault>().expect("a fault");
    assert_eq!((header.request, fault.refusal), (MAX_ASKERS as u16, Refusal::Busy as u16));
}
