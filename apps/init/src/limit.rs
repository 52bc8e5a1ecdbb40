//! How much of a firmware's description is believed (rule `bounded`). Past a limit comes
//! [`Problem::TooMany`](crate::Problem::TooMany) or [`Problem::TooLong`](crate::Problem::TooLong).

/// Bytes in one ACPI table. The largest that are read here are SRATs, 40 bytes a core.
pub const TABLE_BYTES: usize = 256 << 10;
/// Tables listed in the root table.
pub const TABLES: usize = 256;
/// Cores of an island.
pub const CORES: usize = 1024;
/// NUMA nodes in a distance table.
pub const NODES: usize = 64;
/// Ranges of memory with a node.
pub const MEMORY_RANGES: usize = 512;
/// PCI hosts.
pub const PCI_HOSTS: usize = 64;
/// Bytes in a device tree. QEMU pads its own to 1 MiB.
pub const TREE_BYTES: usize = 2 << 20;
/// Depth of a device tree; the deepest in Linux' sources is 9.
pub const TREE_DEPTH: usize = 16;
/// Entries of one list property of a tree (ranges, interrupt map).
pub const TREE_LIST: usize = 1024;
