//! A user program's registers. The layout is shared by the trap stubs (`trap`), which reach the fields by offset, by
//! the dispatcher's page (a preempted thread lies there in this form), and by the user library.

use core::mem::offset_of;
use skerry_hal::addr::{USER_END, USER_START};
use skerry_hal::context::MAX_CONTEXT;
use skerry_hal::{UserContext, VirtAddr};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Flags that a program may choose (SDM vol. 1 §3.4.3): carry, parity, adjust, zero, sign, direction, overflow,
/// alignment check, identification. Not trap, I/O privilege, nested task, resume or virtual-8086.
pub const USER_FLAGS: u64 = 0x0024_0cd5;
/// Flags that are always set in user mode: the reserved bit 1, and interrupts on.
pub const FIXED_FLAGS: u64 = 1 << 1 | 1 << 9;
/// The MXCSR bits that every 64-bit processor has; setting another makes `fxrstor` fault (SDM vol. 1 §11.6.6).
const MXCSR_BITS: u32 = 0xffff;
/// Address bits below the upper half.
const LOWER_HALF: u64 = (1 << 47) - 1;

/// Everything a program has in registers. First the part that a system call touches, so that it stays within two
/// cache lines.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(16))]
#[expect(missing_docs, reason = "registers are named as the manual names them")]
pub struct Context {
    pub rax: u64,
    pub rdx: u64,
    pub rip: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub rbx: u64,
    pub rbp: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    /// Not zero: every register must be loaded when the program goes on, not only those of a system call.
    pub full: u64,
    pub rcx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    /// Loaded with the floating-point state, where the processor lets user mode change it.
    pub fs_base: u64,
    pub gs_base: u64,
    reserved: u64,
    /// The image of `fxsave64` (SDM vol. 1 §10.5.1).
    pub float: Float,
}

/// The x87 and SSE registers, as `fxsave64` lays them out.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(16))]
pub struct Float {
    control: u16,
    status: u16,
    tags: u16,
    opcode: u16,
    pointers: [u64; 2],
    mxcsr: u32,
    mxcsr_mask: u32,
    registers: [u8; 480],
}

const _: () = assert!(size_of::<Float>() == 512 && size_of::<Context>() == 176 + 512);
const _: () = assert!(size_of::<Context>() <= MAX_CONTEXT);

impl UserContext for Context {
    const SIZE: usize = size_of::<Self>();

    /// `entry` sees the stack as a function does that was just called, so that a plain `extern "C" fn` may be one
    /// (System V ABI §3.2.2: `rsp + 8` is a multiple of 16 there). It must not return.
    fn start(&mut self, entry: VirtAddr, sp: VirtAddr, args: [u64; 2]) {
        *self = Self::new_zeroed();
        self.rip = entry.0 & LOWER_HALF;
        self.rsp = (sp.0 & !15).wrapping_sub(8) & LOWER_HALF;
        self.rflags = FIXED_FLAGS;
        [self.rdi, self.rsi] = args;
        // The state after `fninit`, and the MXCSR of reset: all exceptions masked, round to nearest.
        self.float.control = 0x37f;
        self.float.mxcsr = 0x1f80;
        self.full = 1;
    }

    fn set_result(&mut self, code: u64, value: u64) {
        self.rax = code;
        self.rdx = value;
    }

    fn set_words(&mut self, words: [u64; 5]) {
        [self.rdi, self.rsi, self.r10, self.r8, self.r9] = words;
        self.full = 1;
    }

    fn pc(&self) -> VirtAddr {
        VirtAddr(self.rip)
    }

    fn sp(&self) -> VirtAddr {
        VirtAddr(self.rsp)
    }

    fn save_to(&self, out: &mut [u8]) {
        if let Some(out) = out.get_mut(..Self::SIZE) {
            out.copy_from_slice(self.as_bytes());
        }
    }

    fn load_from(&mut self, from: &[u8]) -> bool {
        let word = |at| Some(u64::read_from_prefix(from.get(at..)?).ok()?.0);
        let found = (word(offset_of!(Self, rip)), word(offset_of!(Self, rsp)), from.get(..Self::SIZE));
        let (Some(rip), Some(rsp), Some(from)) = found else { return false };
        if !(USER_START..USER_END).contains(&rip) || !(USER_START..=USER_END).contains(&rsp) {
            return false;
        }
        self.as_mut_bytes().copy_from_slice(from);
        self.rflags = (self.rflags & USER_FLAGS) | FIXED_FLAGS;
        self.fs_base = canonical_or_zero(self.fs_base);
        self.gs_base = canonical_or_zero(self.gs_base);
        self.float.mxcsr &= MXCSR_BITS;
        self.full = 1;
        true
    }
}

/// `wrfsbase` faults on an address that is not canonical.
fn canonical_or_zero(base: u64) -> u64 {
    if (base as i64) << 16 >> 16 == base as i64 { base } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn good() -> Context {
        let mut context = Context::new_zeroed();
        context.start(VirtAddr(0x40_1000), VirtAddr(0x7fff_0000), [7, 8]);
        context
    }

    #[test]
    fn a_started_program_looks_like_a_called_function() {
        let context = good();
        assert_eq!((context.pc(), context.sp()), (VirtAddr(0x40_1000), VirtAddr(0x7ffe_fff8)));
        assert_eq!((context.rdi, context.rsi, context.rax), (7, 8, 0));
        assert_eq!(context.rflags, 0x202);
        assert_eq!(context.float.as_bytes()[..2], 0x37fu16.to_le_bytes());
        assert_eq!(context.float.as_bytes()[24..28], 0x1f80u32.to_le_bytes());
        assert_eq!(context.full, 1);
    }

    #[test]
    fn start_leaves_nothing_of_the_program_before() {
        let mut context = good();
        context.as_mut_bytes().fill(0xff);
        context.start(VirtAddr(0x40_1000), VirtAddr(0x7fff_0000), [7, 8]);
        assert_eq!(context.as_bytes(), good().as_bytes());
    }

    #[test]
    fn start_cannot_reach_the_upper_half() {
        let mut context = Context::new_zeroed();
        context.start(VirtAddr(!0), VirtAddr(0), [0, 0]);
        assert!(context.pc().0 < 1 << 47 && context.sp().0 < 1 << 47);
    }

    #[test]
    fn addresses_outside_user_space_are_refused() {
        let bad_pc = [0, USER_START - 1, USER_END, 1 << 47, 0xffff_8000_0000_0000, !0];
        let bad_sp = [0, USER_START - 1, USER_END + 1, 1 << 47, 0xffff_8000_0000_0000, !0];
        let try_one = |edit: &dyn Fn(&mut Context)| {
            let mut image = good();
            edit(&mut image);
            let mut into = Context::new_zeroed();
            let taken = into.load_from(image.as_bytes());
            assert!(
                taken || into.as_bytes() == Context::new_zeroed().as_bytes(),
                "a refusal changes nothing"
            );
            taken
        };
        for pc in bad_pc {
            assert!(!try_one(&|c| c.rip = pc), "{pc:#x}");
        }
        for sp in bad_sp {
            assert!(!try_one(&|c| c.rsp = sp), "{sp:#x}");
        }
        assert!(try_one(&|c| c.rsp = USER_END));
        assert!(try_one(&|c| c.rip = USER_END - 1));
        assert!(!Context::new_zeroed().load_from(&good().as_bytes()[1..]), "too short");
    }

    proptest! {
        #[test]
        fn whatever_a_user_writes_stays_unprivileged(mut image in proptest::collection::vec(any::<u8>(), MAX_CONTEXT)) {
            image[16..24].copy_from_slice(&0x40_1000u64.to_le_bytes());
            image[32..40].copy_from_slice(&0x7fff_0000u64.to_le_bytes());
            let mut context = Context::new_zeroed();
            prop_assert!(context.load_from(&image));
            prop_assert_eq!(context.rflags & !USER_FLAGS, FIXED_FLAGS);
            prop_assert_eq!(context.float.mxcsr & !MXCSR_BITS, 0);
            for base in [context.fs_base, context.gs_base] {
                prop_assert!([0, !0 >> 47].contains(&(base >> 47)), "not canonical");
            }
            prop_assert_eq!(context.full, 1);
        }

        #[test]
        fn a_saved_context_comes_back(seed in proptest::collection::vec(any::<u8>(), MAX_CONTEXT)) {
            let mut first = good();
            let (rip, rsp) = (first.rip, first.rsp);
            first.as_mut_bytes().copy_from_slice(&seed[..Context::SIZE]);
            (first.rip, first.rsp) = (rip, rsp);
            let mut once = Context::new_zeroed();
            prop_assert!(once.load_from(first.as_bytes()));
            let mut bytes = [0; MAX_CONTEXT];
            once.save_to(&mut bytes);
            let mut twice = Context::new_zeroed();
            prop_assert!(twice.load_from(&bytes));
            prop_assert_eq!(once.as_bytes(), twice.as_bytes());
            prop_assert_eq!(once.r15, first.r15);
        }
    }
}
