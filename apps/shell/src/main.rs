//! `shell`.
#![no_std]
#![no_main]

use skerry_user::Domain;

skerry_user::main!(main);

fn main(_domain: Domain) {}
