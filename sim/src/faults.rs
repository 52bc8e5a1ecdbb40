//! What goes wrong, and when.

use crate::plan::Plan;
use crate::rng::Rng;
use crate::world::BOUND;

/// Something that happens to an island, or to a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The island dies in the middle of what one of its cores does.
    Kill {
        /// Which.
        island: usize,
    },
    /// The island dies when its first core has sent so many messages more.
    KillAfter {
        /// Which.
        island: usize,
        /// How many.
        sends: u32,
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
    /// An island that died boots anew.
    Restart {
        /// Which.
        island: usize,
    },
}

/// The faults of a run, in order of time. They end well before the run does.
pub fn draw(plan: &Plan, rng: &mut Rng) -> Vec<(u64, Fault)> {
    let mut faults = Vec::new();
    if let Some((island, sends)) = plan.kill {
        faults.push((10 * BOUND, Fault::KillAfter { island, sends }));
    }
    if !plan.faults {
        return faults;
    }
    for _ in 0..rng.below(4) {
        let at = rng.below(20 * BOUND);
        let island = rng.below(plan.islands.len() as u64) as usize;
        match rng.below(8) {
            0..3 => {
                faults.push((at, Fault::Kill { island }));
                if !rng.one_in(3) {
                    faults.push((at + rng.below(8 * BOUND), Fault::Restart { island }));
                }
            }
            3..7 => faults.push((at, Fault::Pause { island, ticks: rng.between(BOUND / 5, 4 * BOUND) })),
            _ => {
                let local = rng.below(plan.islands[island].into()) as u16;
                faults.push((
                    at,
                    Fault::PauseCore { island, local, ticks: rng.between(BOUND / 5, 12 * BOUND) },
                ));
            }
        }
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}
