//! # `board-qemu-virt`: QEMU's `virt` machine for AArch64
//!
//! The binary wires the CPU driver to the ISA, and nothing else: it says where this board has its console and its
//! interrupt controller, reads the memory map, the bundle's place, the command line and the way to the firmware from the
//! device tree, and writes all of it into a `CoreBoot`, the same record that every later core gets from its monitor.
//! Everything else in the device tree is for `init` (rule `user-pays`).
//!
//! | module | what it does |
//! | --- | --- |
//! | [`fdt`] | the little of a flattened device tree that boot glue needs; pure |
//! | [`record`] | fills the `CoreBoot`: RAM, holes, device space; pure |
//! | `facts` (binary) | where this board has what |
//! | `entry` (binary) | the flow: record → address space → machine → CPU driver → first domain |
//!
//! Started by `qemu-system-aarch64 -M virt -kernel IMAGE -initrd BUNDLE -append 'island=0'`; the image is the ELF file
//! laid out flat, its first 64 bytes are the Linux header (`arch/aarch64`, `boot`). GICv2 and GICv3, EL1 and EL2.
//!
//! Neighbours: `arch/aarch64`, `cpu-driver/kernel`, `images/bundle`.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod fdt;
pub mod record;
