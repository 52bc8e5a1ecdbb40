//! The UARTs of this world: a few registers each.

use skerry_abi::domain::{Purpose, slot};
use skerry_skb::{Console, ConsoleKind};
use skerry_user::cap::{IoPort, KERNEL};
use skerry_user::vspace::{DEVICE, Mapping};
use skerry_user::{Domain, Error};

/// 16550 registers (PC16550D data sheet, table II).
mod uart16550 {
    pub const DATA: u64 = 0;
    pub const INTERRUPT_ENABLE: u64 = 1;
    pub const LINE_STATUS: u64 = 5;
    /// Bits of the interrupts: something was received; the transmitter is empty.
    pub const RECEIVE: u8 = 1;
    pub const TRANSMIT: u8 = 2;
    pub const RECEIVED: u8 = 1;
    pub const ROOM: u8 = 1 << 5;
    pub const MODEM_CONTROL: u64 = 4;
    /// Ready, and `OUT2`, which lets interrupts out on a PC.
    pub const READY: u8 = 0b1011;
    /// Bytes that the transmitter takes when it is empty.
    pub const FIFO: usize = 16;
}

/// PL011 registers (Arm DDI 0183, §3.2).
mod pl011 {
    pub const DATA: u64 = 0;
    pub const FLAGS: u64 = 0x18;
    pub const RECEIVE_EMPTY: u32 = 1 << 4;
    pub const TRANSMIT_FULL: u32 = 1 << 5;
    pub const MASK: u64 = 0x38;
    pub const CLEAR: u64 = 0x44;
    /// Received, and received a while ago.
    pub const RECEIVE: u32 = 1 << 4 | 1 << 6;
    /// There is room again.
    pub const TRANSMIT: u32 = 1 << 5;
}

/// A UART.
pub enum Uart {
    /// 16550 at I/O ports.
    Ports(IoPort, u16),
    /// 16550 in memory: its mapping and where in it.
    Memory(Mapping, u64),
    /// PL011.
    Pl011(Mapping, u64),
    /// None known: output goes through the CPU driver, input never comes.
    Early,
}

impl Uart {
    /// The UART that a fact names.
    pub fn open(domain: &mut Domain, console: Option<&Console>) -> Result<Self, Error> {
        let Some(console) = console else { return Ok(Self::Early) };
        let base = console.base.base.0;
        if console.kind == ConsoleKind::Uart16550Port {
            let port = u16::try_from(base).map_err(|_| Error::BadArgument)?;
            return Ok(Self::Ports(IoPort(slot::PORTS), port));
        }
        let cap = domain.info.caps_for(Purpose::Device).next().ok_or(Error::EmptySlot)?;
        let view = domain.map(cap.cptr, cap.len, DEVICE)?;
        let skip = base.checked_sub(cap.base).ok_or(Error::BadArgument)?;
        Ok(match console.kind {
            ConsoleKind::Pl011 => Self::Pl011(view, skip),
            ConsoleKind::Uart16550Memory | ConsoleKind::Uart16550Port => Self::Memory(view, skip),
        })
    }

    fn get(&self, register: u64) -> u8 {
        match self {
            // A port that cannot be read has nothing and takes everything.
            Self::Ports(ports, base) => {
                ports.read(base + register as u16, 1).unwrap_or(uart16550::ROOM.into()) as u8
            }
            Self::Memory(view, skip) => view.read8(skip + register),
            _ => 0,
        }
    }

    fn set(&self, register: u64, value: u8) {
        match self {
            Self::Ports(ports, base) => {
                let _refused = ports.write(base + register as u16, 1, value.into());
            }
            Self::Memory(view, skip) => view.write8(skip + register, value),
            _ => {}
        }
    }

    /// Asks for an interrupt whenever something is received, and when the transmitter has room.
    pub fn interrupt_on(&self, receive: bool, transmit: bool) {
        match self {
            Self::Ports(..) | Self::Memory(..) => {
                let wanted = if receive { uart16550::RECEIVE } else { 0 }
                    | if transmit { uart16550::TRANSMIT } else { 0 };
                self.set(uart16550::MODEM_CONTROL, uart16550::READY);
                // The line is raised by edges: let go of it, so that what is pending still is a new one.
                self.set(uart16550::INTERRUPT_ENABLE, 0);
                self.set(uart16550::INTERRUPT_ENABLE, wanted);
            }
            Self::Pl011(view, skip) => {
                let wanted =
                    if receive { pl011::RECEIVE } else { 0 } | if transmit { pl011::TRANSMIT } else { 0 };
                view.write32(skip + pl011::MASK, wanted);
            }
            Self::Early => {}
        }
    }

    /// The interrupt is being served.
    pub fn clear_interrupt(&self) {
        if let Self::Pl011(view, skip) = self {
            view.write32(skip + pl011::CLEAR, pl011::RECEIVE);
        }
    }

    /// The next received byte.
    pub fn read(&self) -> Option<u8> {
        match self {
            Self::Ports(..) | Self::Memory(..) => (self.get(uart16550::LINE_STATUS) & uart16550::RECEIVED
                != 0)
                .then(|| self.get(uart16550::DATA)),
            Self::Pl011(view, skip) => (view.read32(skip + pl011::FLAGS) & pl011::RECEIVE_EMPTY == 0)
                .then(|| view.read32(skip + pl011::DATA) as u8),
            Self::Early => None,
        }
    }

    /// Writes as many of `bytes` as there is room for just now; how many that is.
    pub fn write(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Ports(..) | Self::Memory(..) => {
                if self.get(uart16550::LINE_STATUS) & uart16550::ROOM == 0 {
                    return 0;
                }
                let count = bytes.len().min(uart16550::FIFO);
                bytes[..count].iter().for_each(|byte| self.set(uart16550::DATA, *byte));
                count
            }
            Self::Pl011(view, skip) => {
                let full = || view.read32(skip + pl011::FLAGS) & pl011::TRANSMIT_FULL != 0;
                let fit = bytes.iter().take_while(|_| !full());
                fit.map(|byte| view.write32(skip + pl011::DATA, u32::from(*byte))).count()
            }
            Self::Early => {
                let count = bytes.len().min(32);
                // There is nobody else to write it.
                let _refused = KERNEL.console_write(&bytes[..count]);
                count
            }
        }
    }
}
