//! A user program's registers. The layout is shared with the stubs in `trap.rs`, which name the fields by the
//! offsets below, and with the user library, which sees it in a dispatcher page. Pure.

use core::mem::offset_of;
use skerry_hal::addr::USER_END;
use skerry_hal::context::MAX_CONTEXT;
use skerry_hal::{UserContext, VirtAddr};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// All registers that a program at EL0 can see. No vector length beyond 128 bits: SVE and SME stay trapped.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(16))]
pub struct Context {
    /// x0 to x30.
    pub x: [u64; 31],
    /// `SP_EL0`.
    pub sp: u64,
    /// `ELR_EL1`.
    pub pc: u64,
    /// `SPSR_EL1`.
    pub pstate: u64,
    /// Not 0: more than what a system call saves must be restored. Means nothing in a saved copy.
    pub full: u64,
    /// `TPIDR_EL0`: the program's thread pointer. Saved and loaded with the floating-point registers.
    pub tpidr: u64,
    /// `FPCR`.
    pub fpcr: u64,
    /// `FPSR`.
    pub fpsr: u64,
    /// q0 to q31.
    pub q: [[u64; 2]; 32],
}

const _: () = assert!(size_of::<Context>() <= MAX_CONTEXT);
// The stubs store `pstate` and `full` as one pair, `sp` and `pc` as another.
const _: () = assert!(offset_of!(Context, full) == offset_of!(Context, pstate) + 8);
const _: () = assert!(offset_of!(Context, pc) == offset_of!(Context, sp) + 8);
const _: () = assert!(offset_of!(Context, x) == 0);

/// What of a user's own word goes into PSTATE: the condition flags, DIT and SSBS. All else is 0, which means EL0,
/// AArch64, no interrupt masked, no stepping (Arm ARM C5.2.20, `SPSR_EL1`).
const PSTATE_USER: u64 = 0xf << 28 | 1 << 24 | 1 << 12;

impl UserContext for Context {
    const SIZE: usize = size_of::<Self>();

    fn start(&mut self, entry: VirtAddr, sp: VirtAddr, args: [u64; 2]) {
        self.zero();
        self.x[..2].copy_from_slice(&args);
        self.sp = sp.0;
        self.pc = entry.0;
        self.full = 1;
    }

    fn set_result(&mut self, code: u64, value: u64) {
        self.x[0] = code;
        self.x[1] = value;
    }

    fn set_words(&mut self, words: [u64; 5]) {
        self.x[2..7].copy_from_slice(&words);
        self.full = 1;
    }

    fn pc(&self) -> VirtAddr {
        VirtAddr(self.pc)
    }

    fn sp(&self) -> VirtAddr {
        VirtAddr(self.sp)
    }

    fn save_to(&self, out: &mut [u8]) {
        if let Some(out) = out.get_mut(..Self::SIZE) {
            out.copy_from_slice(self.as_bytes());
        }
    }

    fn load_from(&mut self, from: &[u8]) -> bool {
        let Ok((new, _)) = Self::read_from_prefix(from) else { return false };
        // A stack may be empty, and then points one past its end.
        if new.pc >= USER_END || new.sp > USER_END {
            return false;
        }
        *self = new;
        self.pstate &= PSTATE_USER;
        self.full = 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(edit: impl FnOnce(&mut Context)) -> Vec<u8> {
        let mut context = Context::new_zeroed();
        context.pc = 0x40_0000;
        context.sp = 0x7000_0000;
        edit(&mut context);
        let mut out = vec![0; Context::SIZE];
        context.save_to(&mut out);
        out
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let saved = bytes(|c| {
            for (n, x) in c.x.iter_mut().enumerate() {
                *x = n as u64 + 1;
            }
            for (n, q) in c.q.iter_mut().enumerate() {
                *q = [n as u64, !(n as u64)];
            }
            (c.tpidr, c.fpcr, c.fpsr) = (7, 8, 9);
            c.pstate = 0x6000_0000;
        });
        let mut loaded = Context::new_zeroed();
        assert!(loaded.load_from(&saved));
        assert_eq!(loaded.full, 1);
        loaded.full = 0;
        assert_eq!(loaded.as_bytes(), saved);
    }

    #[test]
    fn privileged_bits_do_not_get_in() {
        // EL1h with everything masked, illegal state, AArch32, single step, PAN off: all a liar could ask for.
        let mut loaded = Context::new_zeroed();
        assert!(loaded.load_from(&bytes(|c| c.pstate = !0)));
        assert_eq!(loaded.pstate & 0x1f, 0, "EL0, AArch64");
        assert_eq!(loaded.pstate & 0x3c0, 0, "no interrupt is masked");
        assert_eq!(loaded.pstate & !PSTATE_USER, 0);
        assert_eq!(loaded.pstate >> 28, 0xf, "its condition flags are its own");
    }

    #[test]
    fn kernel_addresses_are_refused_and_change_nothing() {
        type Edit = fn(&mut Context);
        let edits: [Edit; 4] = [
            |c| c.pc = USER_END,
            |c| c.pc = !0 - 3,
            |c| c.sp = USER_END + 16,
            |c| c.sp = 0xffff_8000_0000_0000,
        ];
        for edit in edits {
            let mut context = Context::new_zeroed();
            context.start(VirtAddr(0x1234), VirtAddr(0x5678), [1, 2]);
            let before = context.clone();
            assert!(!context.load_from(&bytes(edit)));
            assert_eq!(context.as_bytes(), before.as_bytes());
        }
    }

    #[test]
    fn short_input_is_refused() {
        let saved = bytes(|_| ());
        assert!(!Context::new_zeroed().load_from(&saved[..Context::SIZE - 1]));
        assert!(!Context::new_zeroed().load_from(&[]));
    }

    #[test]
    fn start_leaves_nothing_of_what_ran_before() {
        let mut context = Context::new_zeroed();
        context.as_mut_bytes().fill(0xa5);
        context.start(VirtAddr(0x40_0000), VirtAddr(0x7000_0000), [3, 4]);
        assert_eq!((context.pc(), context.sp()), (VirtAddr(0x40_0000), VirtAddr(0x7000_0000)));
        assert_eq!(context.x[..3], [3, 4, 0]);
        assert_eq!((context.pstate, context.tpidr, context.fpcr, context.q[31]), (0, 0, 0, [0, 0]));
    }
}
