//! `skb`: the knowledge base of an island. It has the facts that `init` hands it and the rules that ship, and answers whoever
//! asks its monitor.
#![no_std]
#![no_main]

extern crate alloc;

use core::time::Duration;
use skerry_abi::domain::Purpose;
use skerry_app_skb::Service;
use skerry_app_skb::replica::Pace;
use skerry_skb::rules::{Knowledge, Limits};
use skerry_skb::{CommandLine, Here, Origin, Source, Store, policy};
use skerry_urpc::{Message, Transport};
use skerry_user::cap::SELF;
use skerry_user::chan::{Chan, Peer};
use skerry_user::logging::{error, info, warn};
use skerry_user::spawn::CHANNEL_EVENT;
use skerry_user::vspace::R;
use skerry_user::{Domain, clock};

skerry_user::main!(main, heap = 2 << 20);

/// Facts that are kept: what 64 cores have, measurements of all pairs included, twice over.
const FACTS: usize = 20_000;
/// How long another island's knowledge base may take to answer, and how often it is asked for news that were lost.
const RETRY: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_secs(10);
/// What a question may take: memory is a few dozen bytes for each tuple, and of it there is as `init` gives.
const LIMITS: Limits =
    Limits { derived: 100_000, values: 50_000, depth: 1_000, steps: 10_000_000, rules: 500 };

fn main(mut domain: Domain) {
    let Some(chan) = Chan::listed(&mut domain, Peer::Monitor) else { return };
    let (home, epoch) = match CommandLine::parse(domain.info.args().as_bytes()) {
        Ok(line) => (line.island, line.epoch),
        Err(error) => return error!("{error}"),
    };
    let mut knowledge = Knowledge::new(facts(&mut domain), LIMITS);
    if let Err(error) = policy::load(&mut knowledge) {
        error!("{error}");
    }
    info!("{} facts, {} texts of rules", knowledge.store().len(), knowledge.texts().count());
    let pace = Pace { retry: clock::span(RETRY), look: clock::span(LOOK) };
    serve(Service::new(knowledge, home, epoch, pace), chan);
}

fn facts(domain: &mut Domain) -> Store {
    let mut store = Store::new(FACTS);
    let Ok(line) = CommandLine::parse(domain.info.args().as_bytes()) else { return store };
    let origin = Origin { island: line.island, epoch: line.epoch, source: Source::Asserted };
    let here = store.add(origin, Here { home: line.island }).map(drop);
    let read = here.and_then(|()| {
        let Some(cap) = domain.info.caps_for(Purpose::Facts).next() else { return Ok(()) };
        let Ok(view) = domain.map(cap.cptr, cap.len, R) else { return Ok(()) };
        let mut bytes = alloc::vec![0; cap.detail.min(cap.len) as usize];
        view.read(0, &mut bytes);
        domain.unmap(view);
        store.read_from(&bytes)
    });
    if let Err(error) = read {
        warn!("facts: {error}");
    }
    store
}

/// For ever.
fn serve(mut service: Service, mut monitor: Chan) {
    let mut unsent = None;
    loop {
        if round(&mut service, &mut monitor, &mut unsent) {
            continue;
        }
        monitor.arm_wake();
        // Looked at once more, now that the monitor would ring.
        if !round(&mut service, &mut monitor, &mut unsent) {
            let _came = SELF.wait(CHANNEL_EVENT, service.deadline().map_or(0, |due| due.max(1)));
        }
        monitor.disarm_wake();
    }
}

/// Looks at everything once. Answers whether there was news.
fn round(service: &mut Service, monitor: &mut Chan, unsent: &mut Option<Message>) -> bool {
    let (mut news, now) = (false, clock::ticks());
    while let Ok(Some(message)) = monitor.try_recv() {
        service.take(&message, now);
        news = true;
    }
    service.tick(now);
    while let Some(error) = service.next_fault() {
        warn!("{error}");
    }
    while let Some(message) = unsent.take().or_else(|| service.outgoing()) {
        if monitor.try_send(&message).is_err() {
            *unsent = Some(message);
            break;
        }
        news = true;
    }
    monitor.kick();
    news
}
