//! Writing a bundle. The same members give the same bytes, whenever and by whomever they are packed.

use crate::error::{Error, Result};
use skerry_bundle::{Bundle, FORMAT, Kind, MANIFEST, Member, VERSION, checksum};
use std::fmt::Write as _;

/// Collects members and writes them out as a bundle.
#[derive(Default)]
pub struct Packer {
    members: Vec<Owned>,
}

struct Owned {
    isa: String,
    kind: Kind,
    name: String,
    data: Vec<u8>,
}

impl Packer {
    /// A bundle without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member.
    pub fn add(&mut self, isa: &str, kind: Kind, name: &str, data: Vec<u8>) {
        self.members.push(Owned { isa: isa.into(), kind, name: name.into(), data });
    }

    /// The bundle's bytes, already checked to open again.
    ///
    /// # Errors
    /// A member's name does not fit, holds a space, or is given twice.
    pub fn pack(&self) -> Result<Vec<u8>> {
        let mut manifest = format!("{FORMAT} {VERSION}\n");
        for Owned { isa, kind, name, data } in &self.members {
            let _ = writeln!(manifest, "{:08x} {} {isa} {kind} {name}", checksum(data), data.len());
        }
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, MANIFEST, manifest.as_bytes())?;
        for Owned { isa, name, data, .. } in &self.members {
            append(&mut tar, &format!("{isa}/{name}"), data)?;
        }
        let bytes = tar.into_inner().map_err(|cause| Error::Pack(cause.to_string()))?;
        Bundle::open(&bytes).map_err(|cause| Error::Pack(cause.to_string()))?;
        Ok(bytes)
    }
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, data: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, data).map_err(|cause| Error::Pack(format!("{path}: {cause}")))
}

/// The members as one line each, for people.
pub fn describe(bundle: &Bundle<'_>) -> String {
    bundle.members().fold(String::new(), |mut text, Member { isa, kind, name, data }| {
        let _ = writeln!(text, "{isa:8} {kind:10} {name:12} {:7} bytes", data.len());
        text
    })
}
