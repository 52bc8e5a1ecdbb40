//! A fleet: the islands and links that one file describes and one command boots.
//!
//! ```toml
//! bound_ms = 2000            # how long a silent island is waited for before it is given up
//! links = "all"              # or one [[link]] for each pair
//! [[island]]
//! board = "qemu-q35"         # or "qemu-virt"
//! cores = 4
//! nodes = 2                  # NUMA nodes, default 1
//! memory = "512M"            # default
//! ```
//!
//! [`Fleet::parse`] reads the text, [`check`] refuses what could not boot; what passes both can be started.

mod check;
mod size;
mod text;

pub use size::Size;
use std::fmt;

/// What `bound_ms` is if the file does not say.
pub const DEFAULT_BOUND_MS: u32 = 2000;
/// Size of a window if the file does not say.
pub const DEFAULT_WINDOW: Size = Size(16 << 20);
/// Memory of an island if the file does not say.
pub const DEFAULT_MEMORY: Size = Size(512 << 20);

/// A kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// QEMU's PC with PCI Express, x86-64.
    Q35,
    /// QEMU's ARM machine.
    Virt {
        /// Version of the interrupt controller: 2 or 3.
        gic: u8,
    },
}

impl Board {
    /// Its name in fleet files and bundles.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q35 => "qemu-q35",
            Self::Virt { .. } => "qemu-virt",
        }
    }

    /// Its ISA, as the shell prints it.
    pub const fn isa(self) -> &'static str {
        match self {
            Self::Q35 => "x86_64",
            Self::Virt { .. } => "aarch64",
        }
    }

    /// The most cores it can have: 8-bit APIC IDs, of which 255 means all; one bit a core in a GICv2; QEMU's own
    /// bound with a GICv3.
    pub const fn max_cores(self) -> u32 {
        match self {
            Self::Q35 => 255,
            Self::Virt { gic: 2 } => 8,
            Self::Virt { .. } => 512,
        }
    }
}

/// One island.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Island {
    /// For people: the prefix of its console lines.
    pub name: String,
    /// Kind of machine.
    pub board: Board,
    /// Cores.
    pub cores: u32,
    /// NUMA nodes that cores and memory are split over.
    pub nodes: u32,
    /// Memory.
    pub memory: Size,
}

/// A window between two islands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The islands, by number, lower first.
    pub between: (usize, usize),
    /// Bytes in the window.
    pub size: Size,
}

/// Islands and links, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// For people, and on the command line of every island.
    pub name: String,
    /// How long, in milliseconds of a survivor's time, a silent island is waited for.
    pub bound_ms: u32,
    /// Islands; an island's number is its place.
    pub islands: Vec<Island>,
    /// Links, at most one for a pair.
    pub links: Vec<Link>,
}

/// What is wrong with a fleet, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetError(String);

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fleet: {}", self.0)
    }
}

impl std::error::Error for FleetError {}

fn bad<T>(text: String) -> Result<T, FleetError> {
    Err(FleetError(text))
}

impl Fleet {
    /// The fleet that is booted when nothing else is asked for.
    ///
    /// # Errors
    /// Never, unless its file was broken.
    pub fn default_fleet() -> Result<Self, FleetError> {
        Self::parse("default", include_str!("../../fleets/default.toml"))
    }

    /// One x86 island with `x86` cores and one ARM island with `arm` cores, linked; 0 cores mean no island.
    ///
    /// # Errors
    /// No core at all, or too many.
    pub fn pair(x86: u32, arm: u32) -> Result<Self, FleetError> {
        if x86 == 0 && arm == 0 {
            return bad("no cores at all; give at least one of the two ISAs a core".into());
        }
        let mut fleet = Self::default_fleet()?;
        for (island, cores) in fleet.islands.iter_mut().zip([x86, arm]) {
            island.cores = cores;
            island.nodes = island.nodes.min(cores);
        }
        fleet.name = format!("{x86}+{arm}");
        fleet.islands.retain(|island| island.cores > 0);
        fleet.links.truncate(fleet.islands.len() - 1);
        check::check(&fleet)?;
        Ok(fleet)
    }

    /// The link `links=` words of island `index`: device number and peer, in order of peers.
    pub fn links_of(&self, index: usize) -> impl Iterator<Item = (usize, &Link)> {
        let peer = move |link: &Link| match link.between {
            (a, b) if a == index => Some(b),
            (a, b) if b == index => Some(a),
            _ => None,
        };
        self.links.iter().filter_map(move |link| Some((peer(link)?, link)))
    }

    /// Cores of all islands.
    pub fn cores(&self) -> u32 {
        self.islands.iter().map(|island| island.cores).sum()
    }
}
