//! From the device tree's facts to the record that the CPU driver starts from. Pure.

use crate::fdt::{Banks, Facts, MAX_RANGES};
use skerry_abi::boot::{self, CoreBoot, RegionKind};
use skerry_abi::{PAGE_SIZE, PhysAddr, PhysRange};
use skerry_hal::addr::SLICE;

skerry_hal::reasons! {
    /// Why the record cannot be filled in.
    pub enum RecordError {
        /// There is no RAM, or more pieces of memory than a record has room for.
        Regions: "no RAM, or too many pieces of it",
        /// The bundle lies outside of RAM, or there is none.
        NoBundle: "no bundle in RAM",
        /// The command line is longer than a record has room for.
        CommandLine: "the command line is too long",
    }
}

/// What boot glue knows besides the tree's facts.
pub struct Given<'a> {
    /// The first core's slice.
    pub slice: PhysAddr,
    /// Where the tree lies.
    pub tree: PhysRange,
    /// First address past what a core can name.
    pub limit: u64,
    /// Device registers that the CPU driver keeps for itself: whoever had them could interrupt any core.
    pub kept: &'a [PhysRange],
}

/// Fills in memory, command line and firmware.
///
/// RAM is what the tree says, without the slice, the bundle, the tree and what the firmware reserved; device space is all
/// that is not RAM, without what the CPU driver keeps.
///
/// # Errors
/// See [`RecordError`].
pub fn fill(record: &mut CoreBoot, facts: &Facts<'_>, given: &Given<'_>) -> Result<(), RecordError> {
    record.magic = boot::MAGIC;
    record.version = boot::VERSION;
    record.slice = given.slice;
    record.firmware_kind = boot::firmware::FDT;
    record.firmware_addr = given.tree.base;
    if !record.set_cmdline(facts.bootargs) {
        return Err(RecordError::CommandLine);
    }

    let bundle = bundle(facts)?;
    let holes = gather(&facts.reserved, &[PhysRange::new(given.slice, SLICE), bundle, given.tree]);
    for bank in facts.memory.as_slice() {
        let bank_range = PhysRange::new(PhysAddr(bank.base), bank.len);
        subtract(bank_range, &holes, &mut |piece| record.add(RegionKind::Ram, piece, bank.node))?;
    }
    if !add_pages(record, RegionKind::Bundle, bundle) || !add_pages(record, RegionKind::Firmware, given.tree)
    {
        return Err(RecordError::Regions);
    }

    let taken = gather(&facts.memory, given.kept);
    subtract(PhysRange::new(PhysAddr(0), given.limit), &taken, &mut |piece| {
        record.add(RegionKind::Device, piece, 0)
    })
}

/// The bundle, which must lie in RAM.
fn bundle(facts: &Facts<'_>) -> Result<PhysRange, RecordError> {
    let (start, end) = facts.initrd;
    let inside = facts.memory.as_slice().iter().any(|bank| bank.base <= start && end <= bank.base + bank.len);
    if start < end && inside && start.is_multiple_of(PAGE_SIZE) {
        Ok(PhysRange::new(PhysAddr(start), end - start))
    } else {
        Err(RecordError::NoBundle)
    }
}

/// Banks and a few other ranges in one list.
fn gather(banks: &Banks, others: &[PhysRange]) -> [PhysRange; MAX_RANGES + 8] {
    let mut all = [PhysRange::default(); MAX_RANGES + 8];
    let banks = banks.as_slice().iter().map(|bank| PhysRange::new(PhysAddr(bank.base), bank.len));
    for (place, range) in all.iter_mut().zip(banks.chain(others.iter().copied())) {
        *place = range;
    }
    all
}

/// Adds whole pages around `range`.
fn add_pages(record: &mut CoreBoot, kind: RegionKind, range: PhysRange) -> bool {
    let base = range.base.align_down(PAGE_SIZE);
    match range.end().align_up(PAGE_SIZE) {
        Some(end) => record.add(kind, PhysRange::new(base, end.0 - base.0), 0),
        None => false,
    }
}

/// Hands each whole-page piece of `range` that no hole touches to `add`.
#[inline(never)]
fn subtract(
    range: PhysRange,
    holes: &[PhysRange],
    add: &mut dyn FnMut(PhysRange) -> bool,
) -> Result<(), RecordError> {
    let up = |at: PhysAddr| at.align_up(PAGE_SIZE).map_or(!(PAGE_SIZE - 1), |at| at.0);
    let end = range.end().align_down(PAGE_SIZE).0;
    let mut at = up(range.base);
    while at < end {
        // The lowest hole that ends after here.
        let hole =
            holes.iter().filter(|hole| hole.len != 0 && hole.end().0 > at).min_by_key(|hole| hole.base.0);
        let stop = hole.map_or(end, |hole| hole.base.align_down(PAGE_SIZE).0.min(end));
        if stop > at && !add(PhysRange::new(PhysAddr(at), stop - at)) {
            return Err(RecordError::Regions);
        }
        at = match hole {
            Some(hole) => up(hole.end()).max(at + PAGE_SIZE),
            None => end,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests;
