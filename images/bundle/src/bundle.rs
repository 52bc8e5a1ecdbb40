//! A bundle whose every byte that matters has been checked.

use crate::archive::{Walk, is_path};
use crate::error::{BundleError, Of};
use crate::{FORMAT, MANIFEST, VERSION};
use core::fmt;
use tar_no_std::TarArchiveRef;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The CPU driver of a board; its name is the board's.
    CpuDriver,
    /// The program of a domain.
    Domain,
    /// Anything else.
    Data,
}

impl Kind {
    /// As the manifest spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CpuDriver => "cpu-driver",
            Self::Domain => "domain",
            Self::Data => "data",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::CpuDriver, Self::Domain, Self::Data].into_iter().find(|kind| kind.name() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The ISA it is for: `x86_64`, `aarch64`, or `any`.
    pub isa: &'a str,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: &'a str,
    /// Its bytes.
    pub data: &'a [u8],
}

/// A checked bundle.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    archive: &'a [u8],
    manifest: &'a str,
}

impl<'a> Bundle<'a> {
    /// Checks all of `archive`: its structure, the manifest, and that exactly the listed members are there, each with
    /// the listed length and checksum.
    ///
    /// # Errors
    /// The first thing found wrong, and with which member.
    pub fn open(archive: &'a [u8]) -> Result<Self, BundleError<'a>> {
        let bundle = Self::open_checked(archive)?;
        let mut listed = 0;
        for line in bundle.lines() {
            bundle.check(line)?;
            listed += 1;
        }
        let found = Walk::new(archive).count() - 1;
        if listed == found { Ok(bundle) } else { Err(BundleError::Unlisted { listed, found }) }
    }

    /// Opens an archive that somebody trusted has checked with [`open`](Self::open): the members' bytes, which are
    /// nearly all of it, are not read again.
    ///
    /// # Errors
    /// It is no complete archive, or begins with no manifest of this version.
    pub fn open_checked(archive: &'a [u8]) -> Result<Self, BundleError<'a>> {
        TarArchiveRef::new(archive).map_err(BundleError::Archive)?;
        let (name, manifest) = Walk::new(archive).next().ok_or(BundleError::NoManifest)?;
        if name != MANIFEST.as_bytes() {
            return Err(BundleError::NoManifest);
        }
        let manifest = core::str::from_utf8(manifest).map_err(|_| BundleError::NoManifest)?;
        let version = manifest
            .lines()
            .next()
            .and_then(|line| line.strip_prefix(FORMAT)?.strip_prefix(' '))
            .ok_or(BundleError::NotABundle)?;
        if version.parse() != Ok(VERSION) {
            return Err(BundleError::WrongVersion(version));
        }
        Ok(Self { archive, manifest })
    }

    /// The bytes of one member.
    ///
    /// # Errors
    /// [`BundleError::Missing`] if there is none.
    pub fn find<'q>(&self, isa: &'q str, name: &'q str) -> Result<&'a [u8], BundleError<'q>> {
        self.member(isa, name).ok_or(BundleError::Missing(Of { isa, name }))
    }

    /// All members, in the manifest's order.
    pub fn members(&self) -> impl Iterator<Item = Member<'a>> {
        self.lines().filter_map(|line| {
            let Line { isa, kind, name, .. } = Line::parse(line)?;
            Some(Member { isa, kind, name, data: self.member(isa, name)? })
        })
    }

    fn member(&self, isa: &str, name: &str) -> Option<&'a [u8]> {
        crate::find_member(self.archive, isa, name)
    }

    fn lines(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.manifest.lines().skip(1)
    }

    fn check(&self, text: &'a str) -> Result<(), BundleError<'a>> {
        let line = Line::parse(text).ok_or(BundleError::BadLine(text))?;
        let of = Of { isa: line.isa, name: line.name };
        let mut twice = Walk::new(self.archive).filter(|(path, _)| is_path(path, line.isa, line.name));
        let (_, data) = twice.next().ok_or(BundleError::NotInArchive(of))?;
        if twice.next().is_some() {
            return Err(BundleError::BadLine(text));
        }
        if data.len() != line.size {
            return Err(BundleError::WrongSize(of));
        }
        if crate::checksum(data) != line.crc {
            return Err(BundleError::BadChecksum(of));
        }
        Ok(())
    }
}

/// One line of the manifest.
struct Line<'a> {
    crc: u32,
    size: usize,
    isa: &'a str,
    kind: Kind,
    name: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut word = || words.next().filter(|word| !word.is_empty());
        let parsed = Self {
            crc: u32::from_str_radix(word()?, 16).ok()?,
            size: word()?.parse().ok()?,
            isa: word()?,
            kind: Kind::parse(word()?)?,
            name: word()?,
        };
        words.next().is_none().then_some(parsed)
    }
}
