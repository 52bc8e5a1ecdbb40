//! A plugin for QEMU that counts the instructions of every kernel entry, and remembers the longest: `kernel.longest.fuzz`
//! (rule `bounded`). The CPU driver that ships is the one that is measured, and it does not know.
//!
//! An entry is whatever a core does in the upper half, where the CPU driver lies on every ISA, from the instruction after
//! it left it or went idle to the one with which it does so again: system calls, faults, interrupts, ticks. How a core
//! leaves is told by its opcode, so the plugin needs no symbol; what a core does before it first left is its boot.
//!
//! `-plugin FILE,out=PATH`: PATH has one line, `longest ENTRIES PC`, where PC is the entry's first instruction; it is
//! written anew at each record, and every [`NEWS`] entries. Or `samples=PATH`: see [`cores`].
//!
//! Neighbours: `xtask` (`bench kernel.longest.fuzz`) builds it and reads the line. The interface is QEMU's,
//! `docs/devel/tcg-plugins.rst`, version 4 (QEMU 10).

mod cores;
mod count;
mod qemu;

use count::{Core, NEWS};
use qemu::{Block, Info, Instruction};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;

/// The version of QEMU's interface that this is written for.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = 4;

/// Cores of one QEMU that are told apart.
const CORES: usize = 64;
static COUNTS: [Core; CORES] = [const { Core::new() }; CORES];
static OUT: OnceLock<File> = OnceLock::new();

/// QEMU calls it once, with what stands behind the plugin's name; what is not 0 ends QEMU.
///
/// # Safety
/// `argv` has `argc` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _info: *const Info,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    for n in 0..argc as usize {
        // SAFETY: the caller's promise.
        let word = unsafe { *argv.add(n) };
        // SAFETY: the same.
        let word = unsafe { CStr::from_ptr(word) }.to_string_lossy();
        if let Some(file) = word.strip_prefix("out=").and_then(|path| File::create(path).ok()) {
            let _first = OUT.set(file);
        }
        if let Some(path) = word.strip_prefix("samples=") {
            let _known_below = cores::open(path);
        }
    }
    let told = match (OUT.get(), cores::is_open()) {
        (Some(_), _) => translated,
        (None, true) => cores::translated,
        (None, false) => {
            eprintln!("skerry-entries: neither out=PATH nor samples=PATH names a file that can be written");
            return 1;
        }
    };
    // SAFETY: `id` is this plugin's, and the function fits.
    unsafe { qemu::qemu_plugin_register_vcpu_tb_trans_cb(id, told) };
    0
}

/// A block was translated: each of its instructions in the upper half is to be counted.
extern "C" fn translated(_id: u64, block: *mut Block) {
    // SAFETY: QEMU's own block.
    let count = unsafe { qemu::qemu_plugin_tb_n_insns(block) };
    for n in 0..count {
        // SAFETY: the block has so many.
        let instruction = unsafe { qemu::qemu_plugin_tb_get_insn(block, n) };
        // SAFETY: an instruction of this block.
        let pc = unsafe { qemu::qemu_plugin_insn_vaddr(instruction) };
        if pc >> 63 == 0 {
            continue;
        }
        let told = if leaves(instruction) { left } else { stepped };
        // SAFETY: the functions fit, and the word is passed back as it is; no register is asked for.
        unsafe {
            qemu::qemu_plugin_register_vcpu_insn_exec_cb(
                instruction,
                told,
                qemu::NO_REGISTERS,
                pc as usize as *mut c_void,
            );
        }
    }
}

/// Whether with this instruction a core leaves the CPU driver or goes idle.
fn leaves(instruction: *const Instruction) -> bool {
    let mut bytes = [0u8; 16];
    // SAFETY: writes at most so many bytes.
    let len = unsafe { qemu::qemu_plugin_insn_data(instruction, bytes.as_mut_ptr().cast(), bytes.len()) };
    // x86: hlt, iretq, sysretq. ARM: eret, wfi.
    const LEAVING: [&[u8]; 5] =
        [&[0xf4], &[0x48, 0xcf], &[0x48, 0x0f, 0x07], &[0xe0, 0x03, 0x9f, 0xd6], &[0x7f, 0x20, 0x03, 0xd5]];
    bytes.get(..len).is_some_and(|bytes| LEAVING.contains(&bytes))
}

extern "C" fn stepped(core: c_uint, pc: *mut c_void) {
    if let Some(core) = COUNTS.get(core as usize) {
        core.step(pc.addr() as u64);
    }
}

extern "C" fn left(core: c_uint, pc: *mut c_void) {
    stepped(core, pc);
    let Some(core) = COUNTS.get(core as usize) else { return };
    if core.leave() || core.entries.load(Relaxed).is_multiple_of(NEWS) {
        report();
    }
}

/// Writes the longest of all cores.
fn report() {
    let longest = COUNTS.iter().map(|core| (core.longest.load(Relaxed), core.at.load(Relaxed))).max();
    let entries: u64 = COUNTS.iter().map(|core| core.entries.load(Relaxed)).sum();
    if let (Some(out), Some((longest, at))) = (OUT.get(), longest) {
        let line = format!("{longest:10} {entries:14} {at:#x}\n");
        if let Err(cause) = out.write_all_at(line.as_bytes(), 0) {
            eprintln!("skerry-entries: {cause}");
        }
    }
}
