//! `hello`: says what it was given. `exit=N` among its arguments makes it end with status N.
#![no_std]
#![no_main]

extern crate alloc;

use skerry_user::{Domain, ISA, println};

skerry_user::main!(main, heap = 32 << 10);

fn main(domain: Domain) -> u8 {
    let info = domain.info;
    println!("hello from core {} ({})", info.core, ISA.name());
    println!("arguments: {}", info.args());
    println!("environment: {}", info.env());
    match info.arg("exit").map(str::parse) {
        None => 0,
        Some(Ok(status)) => status,
        Some(Err(_)) => {
            println!("exit: a status is a number from 0 to 255");
            2
        }
    }
}
