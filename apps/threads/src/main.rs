//! `threads`: checks the thread package from inside, a case a line. What a case checks does not depend on how fast the
//! machine is: cases that need a thread to lose the core run until it has. With `end=stack` and the like among its
//! arguments it comes to that end instead.
#![no_std]
#![no_main]

extern crate alloc;

mod basic;
mod calls;
mod faults;
mod locals;
mod preempt;
mod report;
mod sync;
mod tasks;
mod time;

use report::Report;
use skerry_user::{Domain, println, thread};

skerry_user::main!(main, heap = 256 << 10);
skerry_user::user_tls!();

fn main(domain: Domain) -> u8 {
    let end = domain.info.arg("end");
    if let Err(error) = thread::start(domain) {
        println!("no threads: {error}");
        return 1;
    }
    if let Some(deed) = end {
        return faults::end(deed);
    }
    let mut report = Report::default();
    basic::run(&mut report);
    sync::run(&mut report);
    time::run(&mut report);
    locals::run(&mut report);
    preempt::run(&mut report);
    tasks::run(&mut report);
    calls::run(&mut report);
    faults::run(&mut report);
    report.end("threads")
}
