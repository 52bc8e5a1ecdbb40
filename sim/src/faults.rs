//! What goes wrong, and when. All of it is drawn from the seed before the run begins, so that a failing run can be had again
//! with less of it.

use crate::rng::Rng;
use crate::topology::Topology;
use std::fmt;

/// What happens to a message on a link: in the memory of the window, below all code that ships.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// The one before it vanishes. (Memory that two islands share loses nothing by itself, and if the last message of all
    /// were lost, nobody could know: a transport that can lose messages needs a layer that repeats them.)
    Lost,
    /// It comes twice.
    Doubled,
    /// It changes places with the one before.
    Reordered,
}

/// Something that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The island dies when one of its cores has sent so many messages more; at the end of that core's turn in any case.
    Kill {
        /// Which.
        island: usize,
        /// Which of its cores that run.
        node: usize,
        /// How many messages.
        sends: u32,
    },
    /// The island dies when its first core has sent so many messages more, however long that takes.
    KillAfter {
        /// Which.
        island: usize,
        /// How many messages.
        sends: u32,
    },
    /// An island that died boots anew.
    Restart {
        /// Which.
        island: usize,
    },
    /// All its cores stand still for so long, and then go on as if nothing had been.
    Pause {
        /// Which.
        island: usize,
        /// How long.
        ticks: u64,
    },
    /// One core stands still.
    PauseCore {
        /// Of which island.
        island: usize,
        /// Which of its cores.
        local: u16,
        /// How long.
        ticks: u64,
    },
    /// One core sees nothing of what comes on one of its channels.
    Late {
        /// Of which island.
        island: usize,
        /// Which of its cores.
        local: u16,
        /// Which of its channels, counted round.
        chan: u16,
        /// How long.
        ticks: u64,
    },
    /// The next message on a link, from its lower island or to it.
    Link {
        /// Which.
        link: usize,
        /// From the lower island?
        up: bool,
        /// What happens to it.
        damage: Damage,
    },
}

/// Kinds of faults that can be asked for: by name, and what they are.
pub const KINDS: [(&str, &str); 8] = [
    ("late", "messages are delayed, each by a little, some by much"),
    ("lost", "messages vanish from windows"),
    ("doubled", "messages come twice from windows"),
    ("reordered", "messages of windows change places"),
    ("core-pause", "cores stand still; beyond the bound their island goes down"),
    ("island-pause", "islands stand still"),
    ("death", "islands die at any step, and most come back"),
    ("start", "cores do not start, channels cannot be made"),
];

/// A set of [`KINDS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds(u16);

impl Kinds {
    /// Nothing goes wrong.
    pub const NONE: Self = Self(0);
    /// Everything does.
    pub const ALL: Self = Self((1 << KINDS.len()) - 1);

    /// `none`, `all`, or names with commas between them.
    ///
    /// # Errors
    /// The first name that is none, with a list of all.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self::NONE),
            "all" => return Ok(Self::ALL),
            _ => {}
        }
        text.split(',').try_fold(Self::NONE, |Self(set), name| {
            let at = KINDS.iter().position(|(known, _)| *known == name).ok_or_else(|| {
                let all: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
                format!("there is no fault `{name}`; there are none, all, {}", all.join(", "))
            })?;
            Ok(Self(set | 1 << at))
        })
    }

    /// Whether it holds the kind of this name.
    ///
    /// # Panics
    /// If there is no such kind.
    pub fn has(self, name: &str) -> bool {
        let at = KINDS.iter().position(|(known, _)| *known == name).expect("a kind of the table");
        self.0 >> at & 1 != 0
    }

    /// The same without one kind.
    pub fn without(self, name: &str) -> Self {
        let at = KINDS.iter().position(|(known, _)| *known == name);
        Self(at.map_or(self.0, |at| self.0 & !(1 << at)))
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("none"),
            Self::ALL => f.write_str("all"),
            Self(set) => {
                let names = KINDS.iter().enumerate().filter(|(n, _)| set >> n & 1 != 0);
                let names: Vec<&str> = names.map(|(_, (name, _))| *name).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

/// How long a core may be silent before its island goes down, in bounds.
pub const CORE_PAUSE: u64 = 4;
/// When the last fault begins, in bounds; all of them end well before the run does.
const LAST: u64 = 10;

/// The faults of a run, in order of time.
pub fn draw(kinds: Kinds, machine: &Topology, bound: u64, rng: &mut Rng) -> Vec<(u64, Fault)> {
    let mut faults = Vec::new();
    let islands = machine.islands.len() as u64;
    let at = |rng: &mut Rng| rng.below(LAST * bound);
    let some_core = |rng: &mut Rng| {
        let island = rng.below(islands) as usize;
        (island, rng.below(machine.islands[island].cores.into()) as u16)
    };
    if kinds.has("late") {
        for _ in 0..rng.below(8) {
            let (island, local) = some_core(rng);
            let (chan, ticks) = (rng.below(64) as u16, rng.below(bound / 3));
            faults.push((at(rng), Fault::Late { island, local, chan, ticks }));
        }
    }
    for (name, damage) in
        [("lost", Damage::Lost), ("doubled", Damage::Doubled), ("reordered", Damage::Reordered)]
    {
        if kinds.has(name) && !machine.links.is_empty() && rng.one_in(4) {
            let (link, up) = (rng.below(machine.links.len() as u64) as usize, rng.one_in(2));
            faults.push((at(rng), Fault::Link { link, up, damage }));
        }
    }
    if kinds.has("death") {
        for _ in 0..rng.below(3) {
            let (when, island) = (at(rng), rng.below(islands) as usize);
            let node = rng.below(machine.islands[island].cores.into()) as usize;
            faults.push((when, Fault::Kill { island, node, sends: rng.below(4) as u32 }));
            if !rng.one_in(3) {
                faults.push((when + rng.below(6 * bound), Fault::Restart { island }));
            }
        }
    }
    if kinds.has("island-pause") && rng.one_in(2) {
        let (island, ticks) = (rng.below(islands) as usize, rng.between(bound / 5, 4 * bound));
        faults.push((at(rng), Fault::Pause { island, ticks }));
    }
    if kinds.has("core-pause") && rng.one_in(2) {
        let (island, local) = some_core(rng);
        let ticks = rng.between(bound / 5, (CORE_PAUSE + 2) * bound);
        faults.push((at(rng), Fault::PauseCore { island, local, ticks }));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { island, node, sends } => write!(f, "kill {island} {node} {sends}"),
            Self::KillAfter { island, sends } => write!(f, "kill-after {island} {sends}"),
            Self::Restart { island } => write!(f, "restart {island}"),
            Self::Pause { island, ticks } => write!(f, "island-pause {island} {ticks}"),
            Self::PauseCore { island, local, ticks } => write!(f, "core-pause {island} {local} {ticks}"),
            Self::Late { island, local, chan, ticks } => write!(f, "late {island} {local} {chan} {ticks}"),
            Self::Link { link, up, damage } => {
                let name = format!("{damage:?}").to_lowercase();
                write!(f, "{name} {link} {}", u8::from(*up))
            }
        }
    }
}

impl Fault {
    /// Reads what `Display` writes; `None` if it is nothing of the kind.
    pub fn parse(name: &str, numbers: &[u64]) -> Option<Self> {
        let link = |damage| match numbers {
            [link, up] => Some(Self::Link { link: *link as usize, up: *up == 1, damage }),
            _ => None,
        };
        Some(match (name, numbers) {
            ("kill", &[i, n, sends]) => {
                Self::Kill { island: i as usize, node: n as usize, sends: sends as u32 }
            }
            ("kill-after", &[i, sends]) => Self::KillAfter { island: i as usize, sends: sends as u32 },
            ("restart", &[i]) => Self::Restart { island: i as usize },
            ("island-pause", &[i, ticks]) => Self::Pause { island: i as usize, ticks },
            ("core-pause", &[i, local, ticks]) => {
                Self::PauseCore { island: i as usize, local: local as u16, ticks }
            }
            ("late", &[i, local, chan, ticks]) => {
                Self::Late { island: i as usize, local: local as u16, chan: chan as u16, ticks }
            }
            ("lost", _) => link(Damage::Lost)?,
            ("doubled", _) => link(Damage::Doubled)?,
            ("reordered", _) => link(Damage::Reordered)?,
            _ => return None,
        })
    }

    /// The island it needs to exist, or the link.
    pub fn fits(&self, machine: &Topology) -> bool {
        match *self {
            Self::Kill { island, .. }
            | Self::KillAfter { island, .. }
            | Self::Restart { island }
            | Self::Pause { island, .. }
            | Self::PauseCore { island, .. }
            | Self::Late { island, .. } => island < machine.islands.len(),
            Self::Link { link, .. } => link < machine.links.len(),
        }
    }
}
