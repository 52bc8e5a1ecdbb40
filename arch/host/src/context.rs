//! A user program's registers on the simulated machine.

use skerry_hal::addr::{USER_END, USER_START};
use skerry_hal::{UserContext, VirtAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The registers: enough to see where a program stands and what it was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Context {
    pc: u64,
    sp: u64,
    /// The first argument registers, or code and value of the last invocation.
    pub words: [u64; 2],
    /// The further words of a call.
    pub more: [u64; 5],
    /// Stands for the floating-point registers.
    pub float: [u64; 2],
}

impl UserContext for Context {
    const SIZE: usize = size_of::<Self>();

    fn start(&mut self, entry: VirtAddr, sp: VirtAddr, args: [u64; 2]) {
        *self = Self { pc: entry.0, sp: sp.0, words: args, more: [0; 5], float: [0; 2] };
    }

    fn set_result(&mut self, code: u64, value: u64) {
        self.words = [code, value];
    }

    fn set_words(&mut self, words: [u64; 5]) {
        self.more = words;
    }

    fn pc(&self) -> VirtAddr {
        VirtAddr(self.pc)
    }

    fn sp(&self) -> VirtAddr {
        VirtAddr(self.sp)
    }

    fn save_to(&self, out: &mut [u8]) {
        out.copy_from_slice(self.as_bytes());
    }

    fn load_from(&mut self, from: &[u8]) -> bool {
        match Self::read_from_bytes(from) {
            Ok(new) if (USER_START..USER_END).contains(&new.pc) && new.sp < USER_END => {
                *self = new;
                true
            }
            _ => false,
        }
    }
}
