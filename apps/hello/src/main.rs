//! `hello`: says what it was given. Words among its arguments make it do more:
//!
//! | word | what it does |
//! | --- | --- |
//! | `quiet` | says nothing |
//! | `lines=N` | says N lines more |
//! | `ram=N` | fills N KiB of memory |
//! | `trade=N` | gets RAM from the memory server and gives it back, N times |
//! | `sleep=N` | sleeps N ms, and says how often the core switched between domains meanwhile |
//! | `random=N` | prints N random bytes of the process server's |
//! | `exit=N` | ends with status N |
//! | `fault` | reads memory that is not there |
//! | `panic` | panics |
//! | `turns=N` | goes round in a loop for N quarters of a second of the core's clock, and says how often it did in each |
//! | `spin` | goes on for ever |
#![no_std]
#![no_main]

extern crate alloc;

mod turns;

use alloc::string::String;
use core::time::Duration;
use skerry_user::abi::CapType;
use skerry_user::cap::{KERNEL, SELF};
use skerry_user::vspace::RW;
use skerry_user::{Domain, Error, ISA, clock, entropy, more, println};

/// The CPU driver's count of switches.
const SWITCHES: u64 = 1;

skerry_user::main!(main, heap = 32 << 10);

fn main(domain: Domain) -> u8 {
    let info = domain.info;
    let asked = |what| info.args().split(' ').any(|word| word == what);
    if !asked("quiet") {
        println!("hello from core {} ({})", info.core, ISA.name());
        println!("arguments: {}", info.args());
        println!("environment: {}", info.env());
    }
    for n in 0..number(info.arg("lines")).unwrap_or(0) {
        println!("line {n}");
    }
    if let Some(kib) = number(info.arg("ram")) {
        let bytes = alloc::vec![7u8; (kib as usize) << 10];
        println!("{} KiB of sevens", bytes.iter().filter(|byte| **byte == 7).count() >> 10);
    }
    if let Some(bytes) = number(info.arg("random"))
        && let Err(error) = random(bytes as usize)
    {
        println!("random: {error}");
        return 1;
    }
    if let Some(times) = number(info.arg("trade"))
        && let Err(error) = trade(domain, times)
    {
        println!("trade: {error}");
        return 1;
    }
    if let Some(ms) = number(info.arg("sleep")) {
        match sleep(ms) {
            Ok(switches) => println!("{switches} switches"),
            Err(error) => println!("sleep: {error}"),
        }
    }
    if let Some(spans) = number(info.arg("turns")) {
        turns::say(&turns::count(spans));
    }
    if asked("fault") {
        #[expect(unsafe_code, reason = "to be killed for it")]
        // SAFETY: nothing is mapped there: the read does not return.
        let value = unsafe { core::ptr::without_provenance::<u64>(8).read_volatile() };
        println!("read {value} from where nothing is");
    }
    assert!(!asked("panic"), "as asked");
    while asked("spin") {
        skerry_user::relax();
    }
    number(info.arg("exit")).map_or(0, |status| status as u8)
}

/// How often the core switched from one domain to another while this one slept.
fn sleep(ms: u64) -> Result<u64, Error> {
    let before = KERNEL.counter(SWITCHES)?;
    let until = clock::ticks() + clock::span(Duration::from_millis(ms));
    while clock::ticks() < until {
        let _none = SELF.wait(0, until)?;
    }
    Ok(KERNEL.counter(SWITCHES)? - before)
}

/// Prints bytes of the process server's, and checks that `entropy` has others.
fn random(bytes: usize) -> Result<(), Error> {
    let (mut of_server, mut of_any) = (alloc::vec![0; bytes], alloc::vec![0; bytes]);
    more::random(&mut of_server)?;
    entropy::fill(&mut of_any).map_err(|_| Error::Hardware)?;
    println!("{}", of_server.iter().map(|byte| alloc::format!("{byte:02x}")).collect::<String>());
    if of_server == of_any { Err(Error::BadState) } else { Ok(()) }
}

/// Gets RAM from the memory server and gives it back, so often, and looks that it is zero each time.
fn trade(mut domain: Domain, times: u64) -> Result<(), Error> {
    let into = domain.mem.slot()?;
    for n in 0..times {
        let grant = more::alloc(64 << 10, into)?;
        let frame = domain.mem.part_of(into, CapType::Frame, 0, grant.len)?;
        let view = domain.map(frame, grant.len, RW)?;
        let mut first = [1; 8];
        view.read(n % 1000 * 8, &mut first);
        if first != [0; 8] {
            println!("round {n}: RAM that somebody else wrote");
            return Err(Error::Unknown);
        }
        (0..grant.len / 8).for_each(|at| view.write(at * 8, &[0xff; 8]));
        domain.unmap(view);
        more::free(grant.base)?;
        domain.mem.give_slot(frame);
    }
    println!("{times} times");
    Ok(())
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}
