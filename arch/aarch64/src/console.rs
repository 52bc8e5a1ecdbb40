//! The early console: a PL011 (Arm DDI 0183), which every board of this ISA so far has. Polled, output only; input
//! belongs to the console domain.

use skerry_hal::Print;
use skerry_hal::addr::DEVICES;
use skerry_hal::print::{LAST_LOOKS, send};
use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite};
use tock_registers::{register_bitfields, register_structs};

register_bitfields! { u32,
    FR [ TXFF OFFSET(5) NUMBITS(1) [] ],
    LCR_H [ FEN OFFSET(4) NUMBITS(1) [], WLEN OFFSET(5) NUMBITS(2) [ Eight = 3 ] ],
    CR [ UARTEN OFFSET(0) NUMBITS(1) [], TXE OFFSET(8) NUMBITS(1) [], RXE OFFSET(9) NUMBITS(1) [] ],
}

register_structs! {
    Registers {
        (0x00 => dr: ReadWrite<u32>),
        (0x04 => _reserved0),
        (0x18 => fr: ReadOnly<u32, FR::Register>),
        (0x1c => _reserved1),
        (0x2c => lcr_h: ReadWrite<u32, LCR_H::Register>),
        (0x30 => cr: ReadWrite<u32, CR::Register>),
        (0x34 => @END),
    }
}

/// The PL011 that `boot.rs` maps as the first page of `DEVICES`. Has no state of its own: a panic may make another one.
pub struct Console;

impl Console {
    /// Enables the port, 8 bits, FIFOs on; the rate is the firmware's. First core only.
    pub fn enable(&self) {
        let port = registers();
        port.lcr_h.write(LCR_H::FEN::SET + LCR_H::WLEN::Eight);
        port.cr.write(CR::UARTEN::SET + CR::TXE::SET + CR::RXE::SET);
    }

    /// Writes the bytes, with at most `looks` vain looks for room. Answers how many were dropped.
    #[inline(never)]
    pub fn write(&self, bytes: &[u8], looks: u32) -> usize {
        let port = registers();
        send(bytes, looks, |byte| {
            let room = !port.fr.is_set(FR::TXFF);
            if room {
                port.dr.set(u32::from(byte));
            }
            room
        })
    }
}

impl Print for Console {
    /// For boot, panics and dumps: what is dropped, nobody is left to count.
    fn bytes(&mut self, bytes: &[u8]) {
        self.write(bytes, LAST_LOOKS);
    }
}

fn registers() -> &'static Registers {
    // SAFETY: from the first Rust function on this page holds the board's PL011, as device memory (`boot.rs`, `mmu::Devices`).
    unsafe { &*(DEVICES as *const Registers) }
}
