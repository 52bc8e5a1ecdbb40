//! From the RSDP to the list of tables (§5.2.5, §5.2.7, §5.2.8).

use super::Listed;
use super::table::{HEADER, Table, sum};
use crate::phys::copy;
use crate::{PhysMem, Problem, TableError, limit};
use alloc::vec::Vec;
use skerry_hal::PhysAddr;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The RSDP; from `length` on only if `revision` is 2 or higher.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Rsdp {
    signature: [u8; 8],
    checksum: u8,
    oem: [u8; 6],
    revision: u8,
    rsdt: U32,
    length: U32,
    xsdt: U64,
    extended_checksum: u8,
    reserved: [u8; 3],
}

/// Bytes of the first version of an RSDP.
const FIRST: usize = 20;
const _: () = assert!(size_of::<Rsdp>() == 36);

/// All tables that the RSDP at `at` leads to, with their signatures.
pub fn list(memory: &mut dyn PhysMem, at: PhysAddr) -> Result<Listed, TableError> {
    let (root, name, width) = root(memory, at)?;
    let table = Table::read(memory, root, name)?;
    let pointers = table.rest(HEADER, "entries")?;
    if pointers.len() % width != 0 {
        return Err(table.error("length", Problem::Value((pointers.len() + HEADER) as u64)));
    }
    if pointers.len() / width > limit::TABLES {
        return Err(table.error("entries", Problem::TooMany(limit::TABLES)));
    }
    let mut listed = Vec::new();
    for bytes in pointers.chunks_exact(width) {
        let mut word = [0; 8];
        word[..width].copy_from_slice(bytes);
        let at = PhysAddr(u64::from_le_bytes(word));
        // Firmware leaves holes in this list (§5.2.7 does not say that it may).
        if at.0 == 0 {
            continue;
        }
        let signature = copy(memory, at, 4).and_then(|b| b.try_into().ok());
        listed.push((signature.ok_or_else(|| table.error("entries", Problem::Unreadable(at)))?, at));
    }
    Ok(Listed(listed))
}

/// The root table: where, its signature, and the width of its pointers.
fn root(memory: &mut dyn PhysMem, at: PhysAddr) -> Result<(PhysAddr, &'static str, usize), TableError> {
    let error = |field, problem| Err(TableError::new("RSDP", field, problem));
    let Some(mut bytes) = copy(memory, at, FIRST) else {
        return error("header", Problem::Unreadable(at));
    };
    if !bytes.starts_with(b"RSD PTR ") {
        return error("signature", Problem::Signature);
    }
    if sum(&bytes) != 0 {
        return error("checksum", Problem::Checksum);
    }
    let whole = bytes[15] >= 2;
    if whole {
        bytes = match copy(memory, at, size_of::<Rsdp>()) {
            Some(bytes) => bytes,
            None => return error("length", Problem::Unreadable(at)),
        };
        if sum(&bytes) != 0 {
            return error("extended_checksum", Problem::Checksum);
        }
    }
    bytes.resize(size_of::<Rsdp>(), 0);
    let Ok(rsdp) = Rsdp::ref_from_bytes(&bytes) else {
        return error("header", Problem::Short);
    };
    match (whole, rsdp.xsdt.get(), rsdp.rsdt.get()) {
        (true, xsdt, _) if xsdt != 0 => Ok((PhysAddr(xsdt), "XSDT", 8)),
        (_, _, 0) => error("rsdt", Problem::Missing),
        (_, _, rsdt) => Ok((PhysAddr(rsdt.into()), "RSDT", 4)),
    }
}
