//! What can be wrong with a bundle. Each error says what, and of which member.

use core::fmt;
use tar_no_std::CorruptDataError;

/// Why a bundle, or a member, cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleError<'a> {
    /// It is no complete archive: cut short, or a header is damaged.
    Archive(CorruptDataError),
    /// Its first member is not a manifest in UTF-8.
    NoManifest,
    /// The manifest does not start with the format's name and a version.
    NotABundle,
    /// It was made for another version of the format.
    WrongVersion(&'a str),
    /// A line of the manifest that cannot be read.
    BadLine(&'a str),
    /// The manifest lists a member that is not there.
    NotInArchive(Of<'a>),
    /// A member's length is not what the manifest says.
    WrongSize(Of<'a>),
    /// A member's bytes are not what the manifest says.
    BadChecksum(Of<'a>),
    /// The archive holds members that the manifest does not list.
    Unlisted {
        /// Members the manifest lists.
        listed: usize,
        /// Members found.
        found: usize,
    },
    /// There is no such member.
    Missing(Of<'a>),
}

/// Which member an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Of<'a> {
    /// Its ISA.
    pub isa: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.isa, self.name)
    }
}

impl fmt::Display for BundleError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bundle: ")?;
        match self {
            Self::Archive(cause) => write!(f, "truncated or damaged: {cause}"),
            Self::NoManifest => write!(f, "the first member is not a manifest"),
            Self::NotABundle => write!(f, "the manifest does not start with `{} VERSION`", crate::FORMAT),
            Self::WrongVersion(found) => {
                write!(f, "wrong version: this system reads {}, the bundle has {found}", crate::VERSION)
            }
            Self::BadLine(line) => write!(f, "the manifest's line `{line}` cannot be read"),
            Self::NotInArchive(of) => write!(f, "{of} is listed but missing"),
            Self::WrongSize(of) => write!(f, "{of} has another length than the manifest says"),
            Self::BadChecksum(of) => write!(f, "{of} is corrupt: bad checksum"),
            Self::Unlisted { listed, found } => {
                write!(f, "the manifest lists {listed} members, the archive holds {found}")
            }
            Self::Missing(of) => write!(f, "no member {of}"),
        }
    }
}

impl core::error::Error for BundleError<'_> {}
