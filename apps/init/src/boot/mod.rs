//! The steps of the boot, one file each.

pub mod bundle;
pub mod children;
pub mod facts;
pub mod pci;
