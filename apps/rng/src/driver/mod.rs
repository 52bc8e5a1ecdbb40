//! The device: its registers (Virtual I/O Device 1.2 §4.1.4.3), its one queue, and the buffers.

use alloc::rc::Rc;
use core::fmt;
use skerry_abi::domain::Purpose;
use skerry_abi::{CapType, PAGE_SIZE};
use skerry_app_rng::Pool;
use skerry_app_rng::queue::{Bad, Queue, Shared, bytes, layout};
use skerry_user::vspace::{DEVICE, Mapping, RW};
use skerry_user::{Domain, Error, full_fence};

/// Which structure a listed device range is: the number of its capability.
mod structure {
    pub const COMMON: u64 = 1;
    pub const NOTIFY: u64 = 2;
}

/// Offsets in the common configuration.
mod register {
    pub const OFFERED_SELECT: u64 = 0x00;
    pub const OFFERED: u64 = 0x04;
    pub const TAKEN_SELECT: u64 = 0x08;
    pub const TAKEN: u64 = 0x0c;
    pub const STATUS: u64 = 0x14;
    pub const QUEUE_SELECT: u64 = 0x16;
    pub const QUEUE_SIZE: u64 = 0x18;
    pub const QUEUE_MESSAGE: u64 = 0x1a;
    pub const QUEUE_ENABLE: u64 = 0x1c;
    pub const QUEUE_NOTIFY: u64 = 0x1e;
    pub const QUEUE_PARTS: [u64; 3] = [0x20, 0x28, 0x30];
    /// Bytes of it all.
    pub const END: u64 = 0x38;
}

/// Bits of the status (§2.1).
mod status {
    pub const SEEN: u8 = 1;
    pub const DRIVEN: u8 = 2;
    pub const RUNS: u8 = 4;
    pub const AGREED: u8 = 8;
}

/// The one feature wanted, bit 32: that the device follows version 1.
const VERSION_1: u32 = 1;
/// Buffers.
const BUFFERS: u16 = 8;
/// Bytes of each.
const BYTES: u32 = 64;
/// How often a device that is being reset is looked at.
const PATIENCE: u32 = 100_000;

/// Why there is no device, or none any more.
#[derive(Debug)]
pub enum Failed {
    /// It was told no line.
    NoLine,
    /// A structure was not given, or is too short.
    Structure(u64),
    /// An invocation was refused.
    Refused(Error),
    /// It does not do this.
    Device(&'static str),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLine => f.write_str("no line was given"),
            Self::Structure(which) => write!(f, "no structure {which} of the size it must have"),
            Self::Refused(error) => write!(f, "{error}"),
            Self::Device(what) => write!(f, "it does not {what}"),
        }
    }
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// The frame of queue and buffers.
struct Frame(Rc<Mapping>);

impl Shared for Frame {
    fn read16(&self, at: u64) -> u16 {
        self.0.read16(at)
    }
    fn read32(&self, at: u64) -> u32 {
        self.0.read32(at)
    }
    fn write16(&self, at: u64, value: u16) {
        self.0.write16(at, value);
    }
    fn write32(&self, at: u64, value: u32) {
        self.0.write32(at, value);
    }
    fn fence(&self) {
        full_fence();
    }
}

/// A structure of the device: its mapping, and where in it.
struct Part(Mapping, u64);

impl Part {
    fn open(domain: &mut Domain, which: u64, least: u64) -> Result<Self, Failed> {
        let cap = domain.listed(Purpose::Device, which).filter(|cap| cap.len >= least);
        let cap = cap.ok_or(Failed::Structure(which))?;
        let skip = cap.base % PAGE_SIZE;
        Ok(Self(domain.map(cap.cptr, skip + cap.len, DEVICE)?, skip))
    }
}

/// A running device.
pub struct Device {
    notify: Part,
    /// Where in `notify` the queue's notifications go.
    bell: u64,
    queue: Queue<Frame>,
    memory: Rc<Mapping>,
    /// Buffers that the device does not have.
    idle: alloc::vec::Vec<u16>,
}

impl Device {
    /// Starts the device (§3.1.1) with its one queue.
    pub fn open(domain: &mut Domain) -> Result<Self, Failed> {
        let common = Part::open(domain, structure::COMMON, register::END)?;
        let notify = Part::open(domain, structure::NOTIFY, 2)?;
        let Part(view, skip) = &common;
        let set_status = |bits: u8| view.write8(skip + register::STATUS, bits);
        set_status(0);
        if !(0..PATIENCE).any(|_| view.read8(skip + register::STATUS) == 0) {
            return Err(Failed::Device("reset"));
        }
        set_status(status::SEEN | status::DRIVEN);
        view.write32(skip + register::OFFERED_SELECT, 1);
        if view.read32(skip + register::OFFERED) & VERSION_1 == 0 {
            return Err(Failed::Device("follow version 1"));
        }
        for (select, bits) in [(0, 0), (1, VERSION_1)] {
            view.write32(skip + register::TAKEN_SELECT, select);
            view.write32(skip + register::TAKEN, bits);
        }
        let agreed = status::SEEN | status::DRIVEN | status::AGREED;
        set_status(agreed);
        if view.read8(skip + register::STATUS) & status::AGREED == 0 {
            return Err(Failed::Device("agree to version 1 alone"));
        }
        view.write16(skip + register::QUEUE_SELECT, 0);
        if view.read16(skip + register::QUEUE_SIZE) < BUFFERS {
            return Err(Failed::Device("have room for the buffers"));
        }
        view.write16(skip + register::QUEUE_SIZE, BUFFERS);
        view.write16(skip + register::QUEUE_MESSAGE, 0);
        if view.read16(skip + register::QUEUE_MESSAGE) != 0 {
            return Err(Failed::Device("send messages"));
        }
        let len = PAGE_SIZE + u64::from(BUFFERS) * u64::from(BYTES);
        const { assert!(bytes(BUFFERS) <= PAGE_SIZE, "the queue fits before the buffers") };
        let frame = domain.mem.make(CapType::Frame, 0, len.next_multiple_of(PAGE_SIZE), PAGE_SIZE, None)?;
        let memory = Rc::new(domain.map(frame.cap, frame.len, RW)?);
        memory.zero();
        for (part, register) in layout(BUFFERS).into_iter().zip(register::QUEUE_PARTS) {
            view.write32(skip + register, (frame.base + part) as u32);
            view.write32(skip + register + 4, ((frame.base + part) >> 32) as u32);
        }
        let queue = Queue::new(Frame(memory.clone()), BUFFERS, frame.base + PAGE_SIZE, BYTES);
        let step: u32 = domain.info.arg("step").and_then(|text| text.parse().ok()).unwrap_or(0);
        let bell = u64::from(view.read16(skip + register::QUEUE_NOTIFY)) * u64::from(step);
        if bell + 2 > notify.0.len - notify.1 || bell % 2 != 0 {
            return Err(Failed::Structure(structure::NOTIFY));
        }
        view.write16(skip + register::QUEUE_ENABLE, 1);
        set_status(agreed | status::RUNS);
        Ok(Self { notify, bell, queue, memory, idle: (0..BUFFERS).collect() })
    }

    /// Asks for `wanted` bytes, less those already asked for.
    pub fn ask(&mut self, wanted: usize) {
        let asked = usize::from(BUFFERS) - self.idle.len();
        let buffers = wanted.div_ceil(BYTES as usize).saturating_sub(asked).min(self.idle.len());
        for n in self.idle.drain(..buffers) {
            self.queue.give(n);
        }
        if buffers > 0 {
            self.notify.0.write16(self.notify.1 + self.bell, 0);
        }
    }

    /// Takes what has come.
    ///
    /// # Errors
    /// What the device said that cannot be.
    pub fn take(&mut self, pool: &mut Pool) -> Result<(), Bad> {
        while let Some((n, len)) = self.queue.take()? {
            let mut room = [0; BYTES as usize];
            let room = &mut room[..len as usize];
            self.memory.read(PAGE_SIZE + u64::from(n) * u64::from(BYTES), room);
            pool.add(room);
            self.idle.push(n);
        }
        Ok(())
    }
}
