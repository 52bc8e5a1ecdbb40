//! Timer, consoles, and what `/chosen` says.

use super::gic::Gic;
use super::node::{Bus, Node};
use crate::discover::Found;
use crate::{Problem, TableError};
use alloc::string::String;
use alloc::vec::Vec;
use skerry_hal::{PhysAddr, PhysRange};
use skerry_skb::{Console, ConsoleKind, Fact, InitialFile, Timer, TimerKind};

/// The cores' timers (binding `arm,arch_timer.yaml`): secure, physical, virtual, hypervisor's.
pub fn timer(node: &Node<'_, '_>, gic: Option<&Gic>, facts: &mut Vec<Fact>) -> Result<(), TableError> {
    let lines = gic.map(|gic| gic.lines(node)).transpose()?.unwrap_or_default();
    let frequency = node.number("clock-frequency")?.unwrap_or(0).into();
    for (kind, at) in [(TimerKind::CorePhysical, 1), (TimerKind::CoreVirtual, 2)] {
        let line = lines.get(at).map(|(line, _)| *line);
        facts.push(Timer { kind, base: PhysRange::default(), line, frequency }.into());
    }
    Ok(())
}

/// The serial line that this node is, if it is one.
pub fn console(node: &Node<'_, '_>, bus: &Bus, gic: Option<&Gic>) -> Result<Option<Console>, TableError> {
    let kind = if node.is_compatible(&["arm,pl011"]) {
        ConsoleKind::Pl011
    } else if node.is_compatible(&["ns16550a", "ns16550"]) {
        ConsoleKind::Uart16550Memory
    } else {
        return Ok(None);
    };
    let lines = gic.map(|gic| gic.lines(node)).transpose()?.unwrap_or_default();
    let line = lines.first().map(|(line, _)| *line);
    Ok(Some(Console { kind, base: bus.register(node)?, line }))
}

/// Of the serial lines, the one that `stdout-path` names becomes the console, else the first; and the initial file.
pub fn chosen(
    root: &Node<'_, '_>,
    consoles: Vec<(String, Console)>,
    found: &mut Found,
) -> Result<(), TableError> {
    let chosen = root.child("chosen");
    let named = match &chosen {
        Some(chosen) => chosen.text("stdout-path")?,
        None => None,
    };
    let named = named.map(|text| resolve(root, text)).transpose()?;
    let console = consoles.iter().find(|(path, _)| Some(path.as_str()) == named).or(consoles.first());
    found.facts.extend(console.map(|(_, console)| Fact::from(*console)));
    let Some(chosen) = chosen else { return Ok(()) };
    let (start, end) = (chosen.address("linux,initrd-start")?, chosen.address("linux,initrd-end")?);
    match (start, end) {
        (Some(start), Some(end)) if start < end => {
            let range = PhysRange::new(PhysAddr(start), end - start);
            found.facts.push(InitialFile { range }.into());
            Ok(())
        }
        // Nothing loaded.
        (None, None) => Ok(()),
        (Some(start), Some(end)) if start == end => Ok(()),
        (_, end) => Err(chosen.error("linux,initrd-end", Problem::Value(end.unwrap_or(0)))),
    }
}

/// A path, or an alias of one, with options behind a colon (§3.6).
fn resolve<'a>(root: &Node<'_, 'a>, text: &'a str) -> Result<&'a str, TableError> {
    let path = text.split(':').next().unwrap_or(text);
    if path.starts_with('/') {
        return Ok(path);
    }
    let Some(aliases) = root.child("aliases") else { return Ok(path) };
    let value = aliases.bytes(path).and_then(|bytes| core::str::from_utf8(bytes).ok());
    Ok(value.map_or(path, |value| value.trim_end_matches('\0')))
}
