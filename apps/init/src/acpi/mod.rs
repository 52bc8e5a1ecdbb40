//! ACPI tables to facts (ACPI specification 6.5, chapter 5).

mod madt;
mod numa;
mod other;
mod root;
mod table;

use crate::discover::Found;
use crate::{PhysMem, Problem, TableError, limit};
use alloc::vec::Vec;
use skerry_hal::PhysAddr;
use table::Table;

/// Reads all tables that the RSDP at `rsdp` leads to.
pub fn parse(memory: &mut dyn PhysMem, rsdp: PhysAddr) -> Result<Found, TableError> {
    let listed = root::list(memory, rsdp)?;
    let mut found = Found::default();
    madt::parse(&listed.need(memory, "APIC")?, &mut found)?;
    if let Some(table) = listed.find(memory, "SRAT")? {
        numa::srat(&table, &mut found)?;
    }
    if let Some(table) = listed.find(memory, "SLIT")? {
        numa::slit(&table, &mut found)?;
    }
    if let Some(table) = listed.find(memory, "MCFG")? {
        other::mcfg(&table, &mut found)?;
    }
    if let Some(table) = listed.find(memory, "HPET")? {
        other::hpet(&table, &mut found)?;
    }
    if let Some(table) = listed.find(memory, "FACP")? {
        other::fadt(&table, &mut found)?;
    }
    match listed.find(memory, "SPCR")? {
        Some(table) => other::spcr(&table, &mut found)?,
        None => other::assert_pc_console(&mut found),
    }
    Ok(found)
}

/// Where the tables are, by signature.
struct Listed(Vec<([u8; 4], PhysAddr)>);

impl Listed {
    /// The first table of this signature, if one is listed.
    fn find(&self, memory: &mut dyn PhysMem, signature: &'static str) -> Result<Option<Table>, TableError> {
        let found = self.0.iter().find(|(name, _)| name == signature.as_bytes());
        found.map(|(_, at)| Table::read(memory, *at, signature)).transpose()
    }

    fn need(&self, memory: &mut dyn PhysMem, signature: &'static str) -> Result<Table, TableError> {
        self.find(memory, signature)?.ok_or_else(|| TableError::new(signature, "table", Problem::Missing))
    }
}

/// Refuses to let `list` grow beyond `most`.
fn room<T>(list: &[T], most: usize, table: &Table, field: &'static str) -> Result<(), TableError> {
    if list.len() < most { Ok(()) } else { Err(table.error(field, Problem::TooMany(most))) }
}

const _: () = assert!(limit::TABLE_BYTES <= limit::TREE_BYTES, "PhysMem promises its implementers so");
