//! `span`: checks a domain over several cores from inside, a case a line: `run 0.1 --cores 0.1,0.1 span`. What a case checks does
//! not depend on how fast the machine is. With `end=write` and the like among its arguments it comes to that end instead,
//! in its last dispatcher; with `turns=N` that counts as `hello turns=N` does.
#![no_std]
#![no_main]

extern crate alloc;

mod ends;
mod memory;
mod moves;
#[expect(dead_code, reason = "some of it is for threads of one core")]
#[path = "../../threads/src/report.rs"]
mod report;
mod sync;
#[path = "../../hello/src/turns.rs"]
mod turns;

use report::Report;
use skerry_user::thread::span;
use skerry_user::{Domain, println};

skerry_user::main!(main, heap = 512 << 10);

fn main(domain: Domain) -> u8 {
    let (end, wanted) = (domain.info.arg("end"), domain.info.arg("cores"));
    let wanted = wanted.and_then(|text| text.parse().ok());
    let turns = domain.info.arg("turns").and_then(|text| text.parse().ok());
    let dispatchers = match span::start(domain) {
        Ok(dispatchers) => dispatchers,
        Err(error) => {
            println!("no dispatchers: {error}");
            return 1;
        }
    };
    if wanted.is_some_and(|wanted: u32| wanted != dispatchers) {
        println!("{dispatchers} dispatchers");
        return 1;
    }
    if let Some(deed) = end {
        return ends::end(deed, dispatchers - 1);
    }
    if let Some(spans) = turns {
        return match moves::on(dispatchers - 1, move || turns::count(spans)) {
            Ok(counts) => {
                turns::say(&counts.join());
                0
            }
            Err(error) => {
                println!("{error}");
                1
            }
        };
    }
    let mut report = Report::default();
    moves::run(&mut report);
    sync::run(&mut report);
    memory::run(&mut report);
    report.end(&alloc::format!("span: {dispatchers} dispatchers"))
}
