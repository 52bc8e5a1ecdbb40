//! What is used of QEMU's interface (`include/qemu/qemu-plugin.h`, version 4).

use std::ffi::{c_int, c_uint, c_void};

/// About the machine.
#[repr(C)]
pub struct Info {
    _opaque: [u8; 0],
}

/// A block of translated instructions.
#[repr(C)]
pub struct Block {
    _opaque: [u8; 0],
}

/// One of them.
#[repr(C)]
pub struct Instruction {
    _opaque: [u8; 0],
}

/// `QEMU_PLUGIN_CB_NO_REGS`.
pub const NO_REGISTERS: c_int = 0;

/// Told of an instruction that is about to run: which core, and a word.
pub type Told = extern "C" fn(c_uint, *mut c_void);

unsafe extern "C" {
    pub fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, told: extern "C" fn(u64, *mut Block));
    pub fn qemu_plugin_num_vcpus() -> c_int;
    pub fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    pub fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
    pub fn qemu_plugin_insn_data(instruction: *const Instruction, to: *mut c_void, len: usize) -> usize;
    pub fn qemu_plugin_insn_vaddr(instruction: *const Instruction) -> u64;
    pub fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut Instruction,
        told: Told,
        registers: c_int,
        word: *mut c_void,
    );
}
