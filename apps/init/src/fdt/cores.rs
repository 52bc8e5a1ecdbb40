//! Cores, and how they are started (§3.7, §3.8; binding `arm/cpus.yaml`, `arm/psci.yaml`).

use super::node::{Node, join};
use crate::cores::Listed;
use crate::discover::Found;
use crate::{Problem, TableError, limit};
use skerry_hal::HwId;
use skerry_skb::{Conduit, PsciMethod};

/// Reads `/psci` and `/cpus`.
pub fn parse(root: &Node<'_, '_>, found: &mut Found) -> Result<(), TableError> {
    let psci = psci(root, found)?;
    let cpus = root.child("cpus");
    let cpus = cpus.ok_or_else(|| root.error("cpus", Problem::Missing))?;
    let (address_cells, _) = cpus.child_cells()?;
    for core in cpus.children() {
        if core.text("device_type")? != Some("cpu") {
            continue;
        }
        let reg = core.cells("reg")?.ok_or_else(|| core.error("reg", Problem::Missing))?;
        let hw = reg.get(..address_cells).filter(|cells| !cells.is_empty());
        let hw = hw.ok_or_else(|| core.error("reg", Problem::Short))?;
        let hw = HwId(join(hw).ok_or_else(|| core.error("reg", Problem::TooLong(8)))?);
        if found.cores.iter().any(|other| other.hw == hw) {
            return Err(core.error("reg", Problem::Value(hw.0)));
        }
        if found.cores.len() == limit::CORES {
            return Err(core.error("reg", Problem::TooMany(limit::CORES)));
        }
        // "disabled" is a core that is off and can be started, "fail" one that cannot (§3.8.1).
        let failed = core.text("status")?.is_some_and(|status| status.starts_with("fail"));
        let startable = psci && core.text("enable-method")? == Some("psci");
        let node = core.number("numa-node-id")?.unwrap_or(0);
        found.cores.push(Listed { hw, enabled: startable && !failed, node });
    }
    if found.cores.is_empty() {
        return Err(cpus.error("device_type", Problem::Missing));
    }
    Ok(())
}

/// Whether the firmware starts cores, and if so, the fact.
fn psci(root: &Node<'_, '_>, found: &mut Found) -> Result<bool, TableError> {
    let node = root.children().find(|node| node.is_compatible(&["arm,psci-1.0", "arm,psci-0.2", "arm,psci"]));
    let Some(node) = node else { return Ok(false) };
    let conduit = match node.text("method")? {
        Some("hvc") => Conduit::Hypervisor,
        Some("smc") => Conduit::SecureMonitor,
        Some(_) => return Err(node.error("method", Problem::NotText)),
        None => return Err(node.error("method", Problem::Missing)),
    };
    found.facts.push(PsciMethod { conduit }.into());
    Ok(true)
}
