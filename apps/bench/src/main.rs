//! `bench`: measures the shipped path from an unprivileged domain (rule `shipped-path`). One line a figure, `name value
//! unit`; the unit is the clock's tick, which is an instruction where QEMU counts them.
#![no_std]
#![no_main]

extern crate alloc;

mod across;
mod caps;
mod knowledge;
mod lrpc;
mod threads;
mod vm;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use skerry_abi::{CPtr, Op, PAGE_SIZE};
use skerry_urpc::formats::shell::{Done, TextLine};
use skerry_urpc::formats::{Refusal, conformance};
use skerry_urpc::wire::{Body, Header, encode};
use skerry_urpc::{Channel, Message, Transport};
use skerry_user::chan::{Chan, PAGE_LAYOUT, Peer};
use skerry_user::dispatch::{self, Thread};
use skerry_user::sys::invoke;
use skerry_user::{Domain, ISA, cap, clock, println, program};

skerry_user::main!(main, heap = 256 << 10);

/// Samples of each figure.
const SAMPLES: usize = 1001;
/// Upcalls that the thread must see.
const UPCALLS: u64 = 3;
/// Bytes of the stacks of thread and upcall.
const STACK: u64 = 16 << 10;

fn main(mut domain: Domain) -> u8 {
    let mut out = Out { monitor: Chan::listed(&mut domain, Peer::Monitor) };
    let name = domain.info.arg("name").unwrap_or("all");
    if name == lrpc::PEER {
        // It serves until its spawner stops it.
        let Err(error) = lrpc::serve(&mut domain) else { return 0 };
        println!("{name}: {error}");
        return 1;
    }
    let all = name == "all";
    let mut known = false;
    if all || name == "syscall.null" {
        known = true;
        let ticks = median(|| {
            let _null = invoke(CPtr::NULL, Op::Nop, [0; 5]);
        });
        out.figure("syscall.null", ticks);
    }
    if all || name == "urpc.msg" {
        known = true;
        if let Some(ticks) = message(&mut domain) {
            out.figure("urpc.msg", ticks);
        }
    }
    if let Some(figures) = caps::figures(&mut domain, name) {
        known = figures.is_ok();
        match figures {
            Ok(lines) => lines.iter().for_each(|(name, ticks)| out.figure(name, *ticks)),
            Err(error) => out.line(&alloc::format!("{name}: {error}")),
        }
    }
    if let Some(figure) = vm::figure(&mut domain, name) {
        known = figure.is_ok();
        match figure {
            Ok(line) => out.line(&line),
            Err(error) => skerry_user::logging::error!("{name}: {error}"),
        }
    }
    let lrpc = match name {
        "lrpc.async" => Some(lrpc::one_way(&mut domain)),
        "lrpc.sync_rtt" => Some(lrpc::round_trip(&mut domain)),
        _ => None,
    };
    if let Some(ticks) = lrpc {
        known = ticks.is_ok();
        match ticks {
            Ok(ticks) => out.figure(name, ticks),
            Err(why) => out.line(&alloc::format!("{name}: {why}")),
        }
    }
    if name == "urpc.xisa" {
        let Some(times) = across::measure(&mut domain) else {
            return out.done(Err(Refusal::TimedOut));
        };
        known = true;
        times.lines().iter().for_each(|line| out.line(line));
    }
    if name == "urpc.xisa.peer" {
        known = across::serve(&mut domain).is_some();
    }
    if name == "skb.multicast64"
        && let Some(ticks) = knowledge::multicast64()
    {
        known = true;
        out.figure(name, ticks);
    }
    if name == "conformance" {
        known = conformance(&mut out);
    }
    if name.starts_with("thread.") {
        return match threads::figure(domain, name) {
            Ok(ticks) => {
                out.figure(name, ticks);
                out.done(Ok(()))
            }
            Err(error) => {
                skerry_user::logging::error!("{name}: {error}");
                out.done(Err(Refusal::Busy))
            }
        };
    }
    if all || name == "upcall" {
        // Does not come back: the upcall says the last word.
        upcalls(&mut domain);
        known = false;
    }
    out.done(if known { Ok(()) } else { Err(Refusal::BadRequest) })
}

/// Every message of the system, laid out by this ISA's compiler: the checksum that all ISAs must have in common.
fn conformance(out: &mut Out) -> bool {
    let isa = ISA.name();
    match conformance::check() {
        Ok(kinds) => {
            out.line(&alloc::format!("conformance.kinds.{isa} {kinds} messages"));
            out.line(&alloc::format!("conformance.crc.{isa} {} crc32", conformance::crc()));
        }
        Err(kind) => out.line(&alloc::format!("conformance: {isa} lays {kind} out differently")),
    }
    conformance::check().is_ok()
}

/// Ticks that `what` takes, the reading of the clock taken off.
fn median(mut what: impl FnMut()) -> u64 {
    let sample = |what: &mut dyn FnMut()| {
        let mut ticks: Vec<u64> = (0..SAMPLES)
            .map(|_| {
                let start = clock::ticks();
                what();
                clock::ticks() - start
            })
            .collect();
        ticks.sort_unstable();
        ticks[SAMPLES / 2]
    };
    let empty = sample(&mut || {});
    sample(&mut what).saturating_sub(empty)
}

/// Sending one message and receiving it, both ends here.
fn message(domain: &mut Domain) -> Option<u64> {
    let (_, view) = domain.zeroed(2 * PAGE_SIZE, None).ok()?;
    let (a, b) = (view.block(0, PAGE_SIZE).ok()?, view.block(PAGE_SIZE, PAGE_SIZE).ok()?);
    let mut left = Channel::new(a, b, PAGE_LAYOUT).ok()?;
    let mut right = Channel::new(b, a, PAGE_LAYOUT).ok()?;
    let message = Message { words: [7; 7], kind: 1, flags: 0 };
    let mut lost = 0;
    let ticks = median(|| {
        let sent = left.try_send(&message).is_ok();
        let came = matches!(right.try_recv(), Ok(Some(_)));
        lost += u32::from(!sent || !came);
    });
    (lost == 0).then_some(ticks)
}

static SEEN: AtomicU64 = AtomicU64::new(0);

/// A thread that never gives the core up, and sees by `SEEN` how often it lost it. Then it says so and ends.
extern "C" fn spin(_: u64) -> ! {
    while SEEN.load(Ordering::Relaxed) < UPCALLS {
        skerry_user::relax();
    }
    println!("upcall.seen.{} {UPCALLS} upcalls", ISA.name());
    program::exit(0);
}

/// The thread lost the core: count, and take it up again.
extern "C" fn upcall() -> ! {
    SEEN.fetch_add(1, Ordering::Relaxed);
    // Returns only if nothing was saved, which an upcall rules out.
    let _refused = dispatch::resume();
    skerry_user::rt::stop();
}

fn upcalls(domain: &mut Domain) {
    let Ok((_, stacks)) = domain.zeroed(2 * STACK, None) else { return };
    let middle = stacks.addr + STACK;
    let thread = Thread { entry: spin, stack_top: middle + STACK, arg: 0 };
    if let Err(error) = dispatch::start(&thread, upcall, middle) {
        skerry_user::logging::error!("upcall: {error}");
    }
}

/// Where figures go: to the process server, or, of the halves that monitors run, to the monitor.
struct Out {
    monitor: Option<Chan>,
}

impl Out {
    fn send<B: Body>(&mut self, body: &B) {
        let Some(chan) = &mut self.monitor else { return };
        let message = encode(&Header::default(), body);
        while chan.try_send(&message).is_err() {
            // Full: let the monitor read.
            let _refused = cap::SELF.give_way();
        }
        chan.kick();
    }

    /// The last word; the exit status.
    fn done(&mut self, result: Result<(), Refusal>) -> u8 {
        self.send(&Done { refusal: Refusal::code(result), ..Done::default() });
        if let (Err(refusal), None) = (result, &self.monitor) {
            println!("bench: {refusal}; see `help bench`");
        }
        u8::from(result.is_err())
    }

    fn line(&mut self, text: &str) {
        if self.monitor.is_none() {
            return program::line(text);
        }
        let pieces = text.as_bytes().chunks(30);
        let last = pieces.len();
        for (n, part) in pieces.enumerate() {
            let mut line = TextLine { len: part.len() as u8, ..TextLine::default() };
            line.text[..part.len()].copy_from_slice(part);
            line.more = (n + 1 < last).into();
            self.send(&line);
        }
    }

    fn figure(&mut self, name: &str, ticks: u64) {
        self.line(&alloc::format!("{name}.{} {ticks} ticks", ISA.name()));
    }
}
