//! Tests of this library. `data/` holds what QEMU 10.0.2 makes for its guests:
//!
//! | file | machine |
//! | --- | --- |
//! | `q35-numa.bin` | `-M q35 -smp 4 -m 128`, two nodes of 2 cores and 64 MiB, distance 21 |
//! | `q35-plain.bin` | `-M q35 -smp 1 -m 128` |
//! | `virt-gic3-numa.dtb` | `-M virt,gic-version=3 -smp 4 -m 512`, two nodes of 2 cores and 256 MiB, distance 21 |
//! | `virt-gic2.dtb` | `-M virt,gic-version=2 -smp 2 -m 128` |
//!
//! A `.bin` file is a list of ACPI tables, DSDT and FACS left out: address (8 bytes), length (4 bytes), bytes. The
//! trees are `dumpdtb` files without padding at their end.

mod acpi;
mod cores;
mod fdt;
mod fuzz;
mod oracle;
mod support;
