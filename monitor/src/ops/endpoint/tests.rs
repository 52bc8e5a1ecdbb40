//! Connections of proxies, from both ends.

use super::*;
use crate::event::{Chan, Event};
use crate::testkit::{Log, core, joined, message};
use skerry_urpc::Message;
use skerry_urpc::formats::monitor::*;
use skerry_urpc::wire::Body;

const NAME: [u64; 2] = [1, 2];

fn answer<B: Body>(request: u16, body: &B) -> Message {
    message(core(1, 0), core(0, 0), request, body)
}

/// A monitor with a proxy for an endpoint of 1.0 whose window is 2; the connection's number.
fn with_proxy() -> (Monitor, Log, u16) {
    let (mut m, mut log) = joined();
    m.want_endpoint(3, 77, core(1, 0), NAME, &mut log);
    let (chan, (header, find)) = log.take_sent::<EndpointFind>().expect("asked");
    assert_eq!((chan, header.dst, find.name), (Chan(0), core(1, 0), NAME));
    let found = EndpointFound { window: 2, ..EndpointFound::default() };
    m.message(4, Chan(0), &answer(header.request, &found), &mut log);
    assert_eq!(log.actions.pop(), Some(Action::Proxy { token: 77, proxy: Ok(0) }));
    (m, log, header.request)
}

/// The same from the other end: a monitor that offers endpoint 9, with a proxy of 1.0 under number 5.
fn with_remote() -> (Monitor, Log) {
    let (mut m, mut log) = joined();
    m.offer_endpoint(NAME, 9).unwrap();
    assert_eq!(m.offer_endpoint(NAME, 10), Err(Refusal::Busy), "the name is taken");
    m.message(3, Chan(0), &answer(5, &EndpointFind { name: NAME, ..EndpointFind::default() }), &mut log);
    let (_, (_, found)) = log.take_sent::<EndpointFound>().expect("found");
    assert_eq!((found.refusal, found.window), (0, ENDPOINT_WINDOW));
    (m, log)
}

fn data(number: u16, word: u64) -> Message {
    let mut m = answer(5, &EndpointData { words: [word; 4], ..EndpointData::default() });
    m.flags = number;
    m
}

fn closed(log: &mut Log) -> Option<Refusal> {
    log.take_sent::<EndpointClosed>().map(|(_, (_, c))| Refusal::from_raw(c.refusal))
}

#[test]
fn a_proxy_sends_no_more_than_the_window() {
    let (mut m, mut log, request) = with_proxy();
    for n in 0..2 {
        assert!(m.proxy_has_room(0));
        m.proxy_message(5, 0, [n; 4], &mut log);
    }
    assert!(!m.proxy_has_room(0));
    m.proxy_message(5, 0, [2; 4], &mut log);
    let sent: Vec<(u16, u16)> = log
        .sent
        .iter()
        .filter(|(_, m)| m.kind == EndpointData::KIND)
        .map(|(_, m)| (m.header().request, m.flags))
        .collect();
    assert_eq!(sent, [(request, 0), (request, 1)], "numbered, and one dropped that had no room");
    let taken = EndpointTaken { taken: 1, ..EndpointTaken::default() };
    m.message(6, Chan(0), &answer(request, &taken), &mut log);
    assert!(m.proxy_has_room(0));
    let taken = EndpointTaken { taken: 9, ..EndpointTaken::default() };
    m.message(7, Chan(0), &answer(request, &taken), &mut log);
    assert_eq!(log.actions.pop(), Some(Action::ProxyClosed { proxy: 0, why: Refusal::Damaged }));
    assert!(log.take_sent::<EndpointLeave>().is_some());
}

#[test]
fn a_proxy_is_closed_when_its_owner_is_lost_refuses_or_does_not_answer() {
    let (mut m, mut log, _) = with_proxy();
    m.want_endpoint(5, 78, core(1, 0), NAME, &mut log);
    m.handle(6, Event::LinkLost { link: 0, why: "silent".into() }, &mut log);
    let lost = |proxy| Action::ProxyClosed { proxy, why: Refusal::Lost };
    assert!(log.actions.contains(&lost(0)) && !m.proxy_has_room(0));
    assert!(log.actions.contains(&Action::Proxy { token: 78, proxy: Err(Refusal::Lost) }));
    m.want_endpoint(7, 79, core(1, 0), NAME, &mut log);
    assert_eq!(log.actions.pop(), Some(Action::Proxy { token: 79, proxy: Err(Refusal::Lost) }));
    assert_eq!(m.endpoints_open(), (0, 0));

    let (mut m, mut log, request) = with_proxy();
    let gone = EndpointClosed { refusal: Refusal::NotFound as u16, ..EndpointClosed::default() };
    m.message(5, Chan(0), &message(core(1, 1), core(0, 0), request, &gone), &mut log);
    assert_eq!(m.endpoints_open(), (1, 0), "of a core that it does not lead to");
    m.message(5, Chan(0), &answer(request, &gone), &mut log);
    assert_eq!(log.actions.pop(), Some(Action::ProxyClosed { proxy: 0, why: Refusal::NotFound }));
    m.want_endpoint(7, 79, core(1, 0), NAME, &mut log);
    m.handle(m.endpoint_deadline().unwrap(), Event::Tick, &mut log);
    assert!(log.actions.contains(&Action::Proxy { token: 79, proxy: Err(Refusal::TimedOut) }));
}

#[test]
fn what_comes_is_delivered_in_order_and_once() {
    let (mut m, mut log) = with_remote();
    for n in 0..3 {
        m.message(4, Chan(0), &data(n, n.into()), &mut log);
    }
    for n in 0..3 {
        let all: Vec<_> = m.deliveries().collect();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].1, all[0].2), (9, [n; 4]));
        m.delivered(5, all[0].0, &mut log);
    }
    assert_eq!(log.take_sent::<EndpointTaken>().map(|(_, (_, t))| t.taken), Some(3));
    m.message(6, Chan(0), &data(2, 2), &mut log);
    assert_eq!(closed(&mut log), Some(Refusal::Aborted), "a doubled one");
    m.message(6, Chan(0), &data(3, 3), &mut log);
    assert_eq!(closed(&mut log), Some(Refusal::Aborted), "closed is closed");
    assert!(m.deliveries().next().is_none());
}

#[test]
fn a_sender_that_ignores_the_window_or_loses_the_last_message_is_closed() {
    let (mut m, mut log) = with_remote();
    for n in 0..=ENDPOINT_WINDOW {
        m.message(4, Chan(0), &data(n, 0), &mut log);
    }
    assert_eq!(closed(&mut log), Some(Refusal::Aborted));
    let (mut m, mut log) = with_remote();
    m.message(4, Chan(0), &data(0, 0), &mut log);
    for (sent, right) in [(1, true), (2, false)] {
        m.message(5, Chan(0), &answer(5, &EndpointProbe { sent, ..EndpointProbe::default() }), &mut log);
        assert_eq!(log.take_sent::<EndpointTaken>().is_some(), right);
    }
    assert_eq!((closed(&mut log), m.endpoints_open()), (Some(Refusal::Aborted), (0, 0)));
}

#[test]
fn an_end_that_goes_takes_the_other_along() {
    let (mut m, mut log) = with_remote();
    m.message(4, Chan(0), &data(0, 0), &mut log);
    m.endpoint_gone(5, 9, &mut log);
    assert_eq!((closed(&mut log), m.endpoints_open()), (Some(Refusal::Lost), (0, 0)));
    m.offer_endpoint(NAME, 11).unwrap();
    let (mut m, mut log) = with_remote();
    m.message(5, Chan(0), &answer(5, &EndpointLeave::default()), &mut log);
    assert_eq!(m.endpoints_open(), (0, 0));
    let (mut m, mut log2) = with_remote();
    m.handle(6, Event::LinkLost { link: 0, why: "silent".into() }, &mut log2);
    assert_eq!(m.endpoints_open(), (0, 0));
    let (mut m, mut log, _) = with_proxy();
    m.proxy_gone(5, 0, &mut log);
    assert!(log.take_sent::<EndpointLeave>().is_some() && m.endpoints_open() == (0, 0));
    let (mut m, mut log) = with_remote();
    m.handle(m.endpoint_deadline().unwrap(), Event::Tick, &mut log);
    assert_eq!(closed(&mut log), Some(Refusal::TimedOut), "no probe came");
}
