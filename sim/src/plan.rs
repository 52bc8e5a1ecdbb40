//! What is simulated.

/// A deliberate bug, put between a monitor and its world. A run with one must fail: else the checks are blind to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// Messages of an epoch that was given up are taken for those of the current one.
    TakesStaleEpochs,
    /// One monitor never hears that a link was lost.
    MissesLoss,
    /// Some answers to requests are dropped.
    DropsAnswers,
    /// Some messages of a stream are sent twice.
    DoublesStream,
    /// Two messages of a stream change places now and then.
    SwapsStream,
    /// An island that was given up does not notice.
    IgnoresRefusal,
    /// Channels are made in memory that is in use.
    SharesBlocks,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TakesStaleEpochs,
        Self::MissesLoss,
        Self::DropsAnswers,
        Self::DoublesStream,
        Self::SwapsStream,
        Self::IgnoresRefusal,
        Self::SharesBlocks,
    ];
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything that is chance.
    pub seed: u64,
    /// Cores of each island.
    pub islands: Vec<u16>,
    /// Pairs of islands with a window between them.
    pub links: Vec<(u16, u16)>,
    /// Whether anything goes wrong.
    pub faults: bool,
    /// Kill this island when its first core has sent so many messages more, in the middle of the run.
    pub kill: Option<(usize, u32)>,
    /// A bug to find.
    pub mutant: Option<Mutant>,
    /// Print what happens.
    pub trace: bool,
}

impl Plan {
    /// Islands of so many cores, each linked with each, with faults.
    pub fn new(seed: u64, islands: &[u16]) -> Self {
        let count = islands.len() as u16;
        let links = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect();
        Self { seed, islands: islands.to_vec(), links, faults: true, kill: None, mutant: None, trace: false }
    }

    /// Islands in a row: each linked with the next only.
    pub fn chain(seed: u64, islands: &[u16]) -> Self {
        let links = (1..islands.len() as u16).map(|b| (b - 1, b)).collect();
        Self { links, ..Self::new(seed, islands) }
    }
}
