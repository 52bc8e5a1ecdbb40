//! `hello`: says what it was given. Words among its arguments make it do more:
//!
//! | word | what it does |
//! | --- | --- |
//! | `quiet` | says nothing |
//! | `lines=N` | says N lines more |
//! | `exit=N` | ends with status N |
//! | `fault` | reads memory that is not there |
//! | `panic` | panics |
//! | `spin` | goes on for ever |
#![no_std]
#![no_main]

extern crate alloc;

use skerry_user::{Domain, ISA, println};

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

fn number(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}
