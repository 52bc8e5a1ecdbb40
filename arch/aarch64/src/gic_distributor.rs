//! The distributor's registers that versions 2 and 3 share (Arm IHI 0048B 4.3, IHI 0069 12.9).

use crate::interrupt::{FIRST_LINE, PRIORITY};
use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};
use tock_registers::{register_bitfields, register_structs};

register_bitfields! { u32,
    pub CTLR [
        EnableGrp0 OFFSET(0) NUMBITS(1) [],
        EnableGrp1 OFFSET(1) NUMBITS(1) [],
        ARE OFFSET(4) NUMBITS(1) [],
        RWP OFFSET(31) NUMBITS(1) [],
    ],
    pub TYPER [ ITLinesNumber OFFSET(0) NUMBITS(5) [] ],
}

register_structs! {
    /// One page. The first frame of a version 3 redistributor's SGI page has the same shape for lines 0 to 31.
    pub Distributor {
        (0x000 => pub ctlr: ReadWrite<u32, CTLR::Register>),
        (0x004 => typer: ReadOnly<u32, TYPER::Register>),
        (0x008 => _reserved0),
        (0x080 => group: [ReadWrite<u32>; 32]),
        (0x100 => set_enable: [ReadWrite<u32>; 32]),
        (0x180 => clear_enable: [ReadWrite<u32>; 32]),
        (0x200 => _reserved1),
        (0x400 => priority: [ReadWrite<u8>; 1024]),
        (0x800 => pub targets: [ReadWrite<u8>; 1024]),
        (0xc00 => config: [ReadWrite<u32>; 64]),
        (0xd00 => _reserved2),
        (0xf00 => pub software: WriteOnly<u32>),
        (0xf04 => _reserved3),
        (0x1000 => @END),
    }
}

impl Distributor {
    /// Whether this is a device line that exists.
    pub fn has(&self, line: u32) -> bool {
        (FIRST_LINE..=1019).contains(&line) && line / 32 <= self.typer.read(TYPER::ITLinesNumber)
    }

    /// Turns all device lines off, and puts them in group 1 and at the one priority.
    pub fn reset_lines(&self) {
        let last = self.typer.read(TYPER::ITLinesNumber) as usize;
        for (clear, group) in self.clear_enable.iter().zip(&self.group).take(last + 1).skip(1) {
            clear.set(!0);
            group.set(!0);
        }
        for priority in self.priority.iter().take((last * 32 + 32).min(1020)).skip(32) {
            priority.set(PRIORITY);
        }
    }

    /// The banked part, lines 0 to 31: only the doorbell and the timer are on.
    pub fn reset_own(&self, on: &[u32]) {
        self.clear_enable[0].set(!0);
        self.group[0].set(!0);
        for &line in on {
            self.priority[line as usize % 32].set(PRIORITY);
            self.set_enable[0].set(1 << line);
        }
    }

    /// Lets a line through.
    pub fn enable(&self, line: u32) {
        self.set_enable[line as usize / 32].set(1 << (line % 32));
    }

    /// A line, which is not enabled, is raised by edges.
    pub fn set_edge(&self, line: u32) {
        if self.has(line) {
            let config = &self.config[line as usize / 16];
            config.set(config.get() | 2 << (line % 16 * 2));
        }
    }

    /// Stops a line, if there is one.
    pub fn mask(&self, line: u32) {
        if self.has(line) {
            self.clear_enable[line as usize / 32].set(1 << (line % 32));
        }
    }
}
