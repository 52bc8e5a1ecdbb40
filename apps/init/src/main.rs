//! `init`.
#![no_std]
#![no_main]

use skerry_user::Domain;
use skerry_user::logging::info;

skerry_user::main!(main);

fn main(domain: Domain) {
    info!("skerry init: {}", domain.info.args());
}
