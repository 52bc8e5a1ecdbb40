//! Calls that do not stop the domain: client and server are threads of one, where a call that does could never end.

use crate::basic::{made, small};
use crate::report::{Outcome, Report, same};
use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use skerry_user::abi::Error;
use skerry_user::abi::dispatcher::event;
use skerry_user::clock;
use skerry_user::lrpc::{Ring, Rings};
use skerry_user::pair::{Caller, Clients};
use skerry_user::thread;

/// Events of the server's ring and of the client's, which nothing else here raises.
const CALLS: u64 = 1 << (event::FIRST_USER + 8);
const ANSWERS: u64 = 1 << (event::FIRST_USER + 9);
/// Calls that are answered.
const ROUNDS: u64 = 20;
/// What the last call says, which is not answered.
const LAST: u64 = u64::MAX;
/// Who the server takes the client for.
const BADGE: u64 = 7;

pub fn run(report: &mut Report) {
    report.case("a call that other threads run beside", beside);
}

/// The rings, with the client introduced.
fn rings() -> Result<(Ring, Caller), Error> {
    let mut domain = thread::domain();
    let mut rings = Rings::new(&mut domain)?;
    let calls = rings.make(&mut domain.mem, 4, CALLS)?;
    calls.receive_into(domain.mem.slot()?);
    let answers = rings.make(&mut domain.mem, 4, ANSWERS)?;
    let to = calls.mint(&mut domain.mem, BADGE)?;
    let caller = Caller::new(&mut domain.mem, to, answers)?;
    Ok((calls, caller))
}

/// Answers each call when the third thread has got on since the last: how far it is.
fn serve(mut calls: Ring, work: &AtomicU64) -> Result<u64, Error> {
    let (mut clients, mut last) = (Clients::default(), 0);
    while let Some(message) = calls.wait(0) {
        if clients.meet(&mut thread::domain().mem, &calls, &message)? {
            continue;
        }
        if message.words[0] == LAST {
            return Ok(message.badge);
        }
        while work.load(Relaxed) == last {
            thread::yield_now();
        }
        last = work.load(Relaxed);
        clients.answer(message.badge, [message.words[0] + 1, last, 0, 0])?;
    }
    Ok(0)
}

fn beside() -> Outcome {
    let (calls, mut caller) = rings().map_err(|error| format!("no rings: {error}"))?;
    let work = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (seen, done, ended) = (work.clone(), work, stop.clone());
    let server = made(small("server", move || serve(calls, &seen)))?;
    let worker = made(small("worker", move || {
        while !ended.load(Relaxed) {
            done.fetch_add(1, Relaxed);
            thread::yield_now();
        }
    }))?;
    let mut wrong = 0;
    for n in 0..ROUNDS {
        let answer = caller.call([n, 0, 0, 0], 0);
        wrong += u64::from(!matches!(answer, Ok([next, ..]) if next == n + 1));
    }
    let soon = clock::ticks() + clock::span(Duration::from_millis(2));
    let unanswered = caller.call([LAST, 0, 0, 0], soon);
    let badge = server.join();
    stop.store(true, Relaxed);
    worker.join();
    same((wrong, unanswered, badge), (0, Err(Error::Busy), Ok(BADGE)))
}
