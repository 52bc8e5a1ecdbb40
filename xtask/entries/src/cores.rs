//! What each core executes while a program measures something (`agreement.unmap`, `agreement.twopc`).
//!
//! A program marks where a sample begins and where it ends, and every loop that waits marks where it begins to look
//! ([`mark`](../../../user/src/lib.rs)). What a core did from such a look to the `pause` or `yield` behind it was in vain, and is
//! not counted, unless the core was in the CPU driver meanwhile. Everything else is, whoever ran.
//!
//! `samples=PATH`: a line for each sample, the core that measured and what each core executed.

use crate::qemu::{self, Block, Instruction};
use std::ffi::{c_uint, c_void};
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};

/// Cores of one QEMU that are told apart.
const CORES: usize = 64;

/// What a core executed.
struct Core {
    /// Instructions.
    all: AtomicU64,
    /// Of them, before the look that is under way; 0: there is none.
    look: AtomicU64,
    /// Of them, in vain.
    vain: AtomicU64,
    /// What counted when the sample began.
    began: AtomicU64,
}

static COUNTS: [Core; CORES] = [const { Core::new() }; CORES];
static OUT: OnceLock<Mutex<File>> = OnceLock::new();

impl Core {
    const fn new() -> Self {
        Self {
            all: AtomicU64::new(0),
            look: AtomicU64::new(0),
            vain: AtomicU64::new(0),
            began: AtomicU64::new(0),
        }
    }

    /// An instruction. Only the core's own thread counts.
    fn step(&self) -> u64 {
        let all = self.all.load(Relaxed) + 1;
        self.all.store(all, Relaxed);
        all
    }

    /// What was not in vain, as far as that is known: a look that is under way does not count yet.
    fn useful(&self) -> u64 {
        let (all, look) = (self.all.load(Relaxed), self.look.load(Relaxed));
        (if look == 0 { all } else { look }) - self.vain.load(Relaxed)
    }
}

/// Begins to count. Answers whether samples can be written to that file.
pub fn open(path: &str) -> bool {
    File::create(path).is_ok_and(|file| OUT.set(Mutex::new(file)).is_ok())
}

/// Whether it counts.
pub fn is_open() -> bool {
    OUT.get().is_some()
}

/// A block was translated.
pub extern "C" fn translated(_id: u64, block: *mut Block) {
    // SAFETY: QEMU's own block.
    let count = unsafe { qemu::qemu_plugin_tb_n_insns(block) };
    for n in 0..count {
        // SAFETY: the block has so many.
        let instruction = unsafe { qemu::qemu_plugin_tb_get_insn(block, n) };
        // SAFETY: an instruction of this block.
        let pc = unsafe { qemu::qemu_plugin_insn_vaddr(instruction) };
        let tell = |told: qemu::Told| {
            let none = std::ptr::null_mut();
            // SAFETY: the function fits; no register is asked for.
            unsafe {
                qemu::qemu_plugin_register_vcpu_insn_exec_cb(instruction, told, qemu::NO_REGISTERS, none);
            }
        };
        let told = if pc >> 63 != 0 { Some(in_kernel as qemu::Told) } else { marked(instruction) };
        tell(told.unwrap_or(stepped));
    }
}

/// What is to be told of an instruction of a program, if anything.
fn marked(instruction: *const Instruction) -> Option<qemu::Told> {
    let mut bytes = [0u8; 16];
    // SAFETY: writes at most so many bytes.
    let len = unsafe { qemu::qemu_plugin_insn_data(instruction, bytes.as_mut_ptr().cast(), bytes.len()) };
    let number = match bytes.get(..len)? {
        // x86: `pause`. ARM: `yield`.
        [0xf3, 0x90] | [0x3f, 0x20, 0x03, 0xd5] => return Some(relaxed),
        // `nop [rax + 0x534b0000 + N]`.
        &[0x0f, 0x1f, 0x80, number, 0, 0x4b, 0x53] => number,
        // `movz xzr, #0x5300 + N`: five bits further left.
        bytes @ &[_, _, _, _] => {
            let word = u32::from_le_bytes(bytes.try_into().ok()?);
            (word & 0xffe0_001f == 0xd280_001f && word >> 13 & 0xff == 0x53).then_some((word >> 5) as u8)?
        }
        _ => return None,
    };
    match number {
        1 => Some(looks),
        2 => Some(begins),
        3 => Some(ends),
        _ => None,
    }
}

extern "C" fn stepped(core: c_uint, _: *mut c_void) {
    if let Some(core) = COUNTS.get(core as usize) {
        core.step();
    }
}

extern "C" fn in_kernel(core: c_uint, _: *mut c_void) {
    if let Some(core) = COUNTS.get(core as usize) {
        core.step();
        core.look.store(0, Relaxed);
    }
}

extern "C" fn looks(core: c_uint, _: *mut c_void) {
    if let Some(core) = COUNTS.get(core as usize) {
        core.look.store(core.step(), Relaxed);
    }
}

extern "C" fn relaxed(core: c_uint, _: *mut c_void) {
    let Some(core) = COUNTS.get(core as usize) else { return };
    let all = core.step();
    let look = core.look.swap(0, Relaxed);
    if look != 0 {
        core.vain.store(core.vain.load(Relaxed) + all - look, Relaxed);
    }
}

/// Those that there are.
fn cores() -> &'static [Core] {
    // SAFETY: it has no arguments.
    let count = unsafe { qemu::qemu_plugin_num_vcpus() };
    COUNTS.get(..count as usize).unwrap_or(&COUNTS)
}

extern "C" fn begins(_: c_uint, _: *mut c_void) {
    for core in cores() {
        core.began.store(core.useful(), Relaxed);
    }
}

extern "C" fn ends(me: c_uint, _: *mut c_void) {
    let each = cores().iter().map(|core| core.useful() - core.began.load(Relaxed));
    let line: Vec<String> = std::iter::once(u64::from(me)).chain(each).map(|n| n.to_string()).collect();
    if let Some(Ok(mut out)) = OUT.get().map(Mutex::lock)
        && let Err(cause) = writeln!(out, "{}", line.join(" "))
    {
        eprintln!("skerry-entries: {cause}");
    }
}
