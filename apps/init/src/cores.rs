//! How an island's cores are numbered.

use crate::DiscoverError;
use alloc::vec::Vec;
use skerry_hal::HwId;
use skerry_skb::Core;

/// A core, as the firmware lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its name on its bus.
    pub hw: HwId,
    /// Whether it may be started.
    pub enabled: bool,
    /// Its NUMA node.
    pub node: u32,
}

/// Numbers the cores: 0 is the one that `boot` names, which runs already and so is enabled; then those that may be
/// started, in the firmware's order; then the others.
pub fn number(boot: HwId, listed: &[Listed]) -> Result<Vec<Core>, DiscoverError> {
    let first = listed.iter().find(|core| core.hw == boot).ok_or(DiscoverError::NoBootCore(boot))?;
    let others = |enabled| listed.iter().filter(move |c| c.hw != boot && c.enabled == enabled);
    let boot = Listed { enabled: true, ..*first };
    let all = [&boot].into_iter().chain(others(true)).chain(others(false));
    let number = |(local, core): (usize, &Listed)| Core {
        // `limit::CORES` keeps it far below 2¹⁶.
        local: local as u16,
        hw: core.hw,
        enabled: core.enabled,
        node: core.node,
    };
    Ok(all.enumerate().map(number).collect())
}
