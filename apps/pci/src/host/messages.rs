//! Message lines: what a device is told to write where, so that a line goes off.
//!
//! | machine | lines | who knows what to write |
//! | --- | --- | --- |
//! | PC | from `FIRST_MESSAGE` | the CPU driver, whose core's local APIC takes it |
//! | GICv2 with a message frame | those that the frame says | the frame: its address, and the line's number |
//! | GICv3 with a translation service | from `FIRST_MESSAGE` | [`Translation`]: its address, and the event's number |

use super::translation::Translation;
use alloc::vec::Vec;
use skerry_abi::domain::slot;
use skerry_abi::{CPtr, CapType, Error, FIRST_MESSAGE};
use skerry_skb::{InterruptPart, InterruptPartKind, PciAddress, View};
use skerry_user::Domain;
use skerry_user::cap::{Endpoint, Irq, SELF};
use skerry_user::logging::{info, warn};

/// A message frame's registers (Arm server base system architecture, GICv2m).
const FRAME_TYPER: u64 = 0x8;
const FRAME_SET: u64 = 0x40;
/// An event bit that nobody waits for: lines are bound to it only to learn about them.
const NOBODY: u64 = 1 << 40;
const ALL: Irq = Irq(slot::IRQS);

/// What a device writes where.
#[derive(Clone, Copy)]
pub struct Word {
    /// Where.
    pub address: u64,
    /// What.
    pub data: u32,
}

/// Lines of one function.
pub struct Lines {
    /// The first.
    pub first: u32,
    /// A word for each.
    pub words: Vec<Word>,
    /// A capability for these, and no others.
    pub cap: CPtr,
}

enum Source {
    CpuDriver,
    Frame { address: u64, end: u32 },
    Translation(Translation),
}

/// Whoever has them to give.
pub struct Messages {
    source: Source,
    next: u32,
    learn: Endpoint,
}

impl Messages {
    /// Looks at what the facts say.
    ///
    /// # Errors
    /// What the CPU driver answers.
    pub fn open(domain: &mut Domain, island: View<'_>) -> Result<Self, Error> {
        let learn = domain.mem.endpoint(SELF, NOBODY)?;
        let part = |kind| island.all::<InterruptPart>().find(|part| part.kind == kind);
        if let Some(part) = part(InterruptPartKind::Translation) {
            let translation = Translation::open(domain, part.range)?;
            info!("messages: translation service at {:#x}", part.range.base.0);
            return Ok(Self { source: Source::Translation(translation), next: FIRST_MESSAGE, learn });
        }
        if let Some(part) = part(InterruptPartKind::MessageFrame) {
            let base = part.range.base.0;
            let (view, skip) = domain.map_device(base, part.range.len)?;
            let typer = view.read32(skip + FRAME_TYPER);
            domain.unmap(view);
            let (first, count) = (typer >> 16 & 0x3ff, typer & 0x3ff);
            info!("messages: frame at {base:#x} for {count} lines from {first}");
            let source = Source::Frame { address: base + FRAME_SET, end: first + count };
            return Ok(Self { source, next: first, learn });
        }
        Ok(Self { source: Source::CpuDriver, next: FIRST_MESSAGE, learn })
    }

    /// Gives a function `count` lines.
    ///
    /// # Errors
    /// [`Error::Full`] when there are no more; what the CPU driver answers.
    pub fn give(&mut self, domain: &mut Domain, at: PciAddress, count: u16) -> Result<Lines, Error> {
        let first = self.next;
        let lines = first..first + u32::from(count);
        let mut words = Vec::new();
        match &mut self.source {
            Source::CpuDriver => {
                for line in lines {
                    // Bound for a moment: the answer is the same whoever binds it.
                    let word = ALL.bind_message(line, self.learn)?;
                    ALL.unbind(line)?;
                    if word == 0 {
                        warn!("line {line} is no message line");
                        return Err(Error::Hardware);
                    }
                    words.push(Word { address: word >> 32, data: word as u32 });
                }
            }
            Source::Frame { address, end } => {
                if lines.end > *end {
                    return Err(Error::Full);
                }
                words.extend(lines.map(|line| Word { address: *address, data: line }));
            }
            Source::Translation(translation) => words = translation.give(domain, at, lines)?,
        }
        let cap = domain.mem.part_of(slot::IRQS, CapType::Irq, first.into(), count.into())?;
        self.next += u32::from(count);
        Ok(Lines { first, words, cap })
    }
}
