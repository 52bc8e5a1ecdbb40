//! The early console: a 16550 UART, polled (National Semiconductor PC16550D data sheet). For boot, panics and the
//! log; a driver domain owns the device otherwise.

use skerry_hal::Print;
use skerry_hal::print::{LAST_LOOKS, send};
use x86_64::instructions::port::Port;

/// Bit 5 of the line status register: the transmit register is free.
const TRANSMIT_EMPTY: u8 = 1 << 5;
/// A UART at an I/O port.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    port: u16,
}

impl Console {
    /// The UART at `port`. Touches nothing.
    pub const fn new(port: u16) -> Self {
        Self { port }
    }

    /// 115,200 baud, 8N1, FIFOs on, no interrupts.
    pub fn init(self) {
        for (offset, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7), (4, 0x0b)] {
            self.out(offset, value);
        }
    }

    /// Writes the bytes, with at most `looks` vain looks for room. Answers how many were dropped.
    #[inline(never)]
    pub fn write(self, bytes: &[u8], looks: u32) -> usize {
        send(bytes, looks, |byte| {
            let room = self.line_status() & TRANSMIT_EMPTY != 0;
            if room {
                self.out(0, byte);
            }
            room
        })
    }

    fn line_status(self) -> u8 {
        // SAFETY: the board says that a UART is here; reading its status changes nothing that we rely on.
        unsafe { Port::<u8>::new(self.port + 5).read() }
    }

    fn out(self, offset: u16, value: u8) {
        // SAFETY: the board says that a UART is here; it has no access to memory.
        unsafe { Port::<u8>::new(self.port + offset).write(value) };
    }
}

impl Print for Console {
    /// For boot, panics and dumps: what is dropped, nobody is left to count.
    fn bytes(&mut self, bytes: &[u8]) {
        self.write(bytes, LAST_LOOKS);
    }
}
