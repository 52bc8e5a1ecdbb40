//! Policies, as types. What they say is in rules (`skb/rules/`), and whoever has other rules has other policies.

use crate::rules::{Answer, Const, Knowledge, RuleError};
use crate::{CoreId, LinkKind, PciAddress};
use alloc::format;
use alloc::vec::Vec;

/// The rules that are there from the beginning, by name.
pub const RULES: [(&str, &str); 7] = [
    ("machine", include_str!("../rules/machine.skb")),
    ("measure", include_str!("../rules/measure.skb")),
    ("multicast", include_str!("../rules/multicast.skb")),
    ("numa", include_str!("../rules/numa.skb")),
    ("placement", include_str!("../rules/placement.skb")),
    ("poll", include_str!("../rules/poll.skb")),
    ("transport", include_str!("../rules/transport.skb")),
];

/// Loads [`RULES`].
///
/// # Errors
/// [`RuleError`] if rules that are loaded already do not go with them.
pub fn load(knowledge: &mut Knowledge) -> Result<(), RuleError> {
    knowledge.load_all(&RULES)
}

/// Whom a core tells, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Branch {
    /// Who tells.
    pub parent: CoreId,
    /// Whom, first the one that takes longest.
    pub children: Vec<CoreId>,
}

/// The way of a multicast from one core to all others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MulticastTree {
    /// Where it starts.
    pub source: CoreId,
    /// All cores that tell others, by number.
    pub branches: Vec<Branch>,
}

impl MulticastTree {
    /// The tree of a core of this island; without branches if there is nobody to tell.
    ///
    /// # Errors
    /// [`RuleError`] from the rules.
    pub fn of(knowledge: &mut Knowledge, source: CoreId) -> Result<Self, RuleError> {
        let answer = knowledge.ask(&format!("t(P, K, N) :- tree({source}, N, P, K)"))?;
        let mut branches: Vec<Branch> = Vec::new();
        for row in answer.rows {
            let [Const::Core(parent), _, Const::Core(child)] = row[..] else { continue };
            match branches.last_mut() {
                Some(branch) if branch.parent == parent => branch.children.push(child),
                _ => branches.push(Branch { parent, children: [child].into() }),
            }
        }
        Ok(Self { source, branches })
    }

    /// Whom a core tells.
    pub fn children(&self, parent: CoreId) -> &[CoreId] {
        let branch = self.branches.iter().find(|branch| branch.parent == parent);
        branch.map_or(&[], |branch| &branch.children)
    }
}

/// How one core sends to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// LRPC: it is the same core.
    Local,
    /// URPC in memory that both cores have.
    Memory,
    /// URPC over a link whose two ends they hold.
    Link(LinkKind),
    /// Through the cores that hold links.
    Relay,
}

impl Transport {
    /// How core `from` of this island sends to `to`; `None` if one of them takes no part.
    ///
    /// # Errors
    /// [`RuleError`] from the rules.
    pub fn between(knowledge: &mut Knowledge, from: CoreId, to: CoreId) -> Result<Option<Self>, RuleError> {
        let answer = knowledge.ask(&format!("transport({from}, {to}, K)"))?;
        let Some([Const::Text(kind)]) = answer.rows.first().map(Vec::as_slice) else { return Ok(None) };
        Ok(match &**kind {
            "local" => Some(Self::Local),
            "memory" => Some(Self::Memory),
            "shared_memory" => Some(Self::Link(LinkKind::SharedMemory)),
            "ethernet" => Some(Self::Link(LinkKind::Ethernet)),
            "serial" => Some(Self::Link(LinkKind::Serial)),
            "relay" => Some(Self::Relay),
            _ => None,
        })
    }
}

/// The core that should drive a device of this island; `None` if it needs no driver.
///
/// # Errors
/// [`RuleError`] from the rules.
pub fn driver_core(knowledge: &mut Knowledge, device: PciAddress) -> Result<Option<CoreId>, RuleError> {
    let answer = knowledge.ask(&format!("driver(\"{device}\", C)"))?;
    Ok(cores(&answer).next())
}

/// Between which cores it is to be measured what a message takes.
///
/// # Errors
/// [`RuleError`] from the rules.
pub fn to_measure(knowledge: &mut Knowledge) -> Result<Vec<[CoreId; 2]>, RuleError> {
    let answer = knowledge.ask("measure(A, B)")?;
    let pairs = answer.rows.iter().filter_map(|row| match row[..] {
        [Const::Core(from), Const::Core(to)] => Some([from, to]),
        _ => None,
    });
    Ok(pairs.collect())
}

/// How long a core of this island should poll before it blocks, in nanoseconds; `None` if nothing is known of it.
///
/// # Errors
/// [`RuleError`] from the rules.
pub fn poll_time(knowledge: &mut Knowledge, core: CoreId) -> Result<Option<u32>, RuleError> {
    let answer = knowledge.ask(&format!("poll({core}, P)"))?;
    Ok(match answer.rows.first().map(Vec::as_slice) {
        Some([Const::Int(ns)]) => u32::try_from(*ns).ok(),
        _ => None,
    })
}

/// The nodes from which a core of this island should take memory, the best first.
///
/// # Errors
/// [`RuleError`] from the rules.
pub fn memory_order(knowledge: &mut Knowledge, core: CoreId) -> Result<Vec<u32>, RuleError> {
    let answer = knowledge.ask(&format!("m(K, N) :- memory({core}, N, K)"))?;
    let nodes = answer.rows.iter().filter_map(|row| match row.last() {
        Some(Const::Int(node)) => u32::try_from(*node).ok(),
        _ => None,
    });
    Ok(nodes.collect())
}

fn cores(answer: &Answer) -> impl Iterator<Item = CoreId> {
    answer.rows.iter().filter_map(|row| match row.first() {
        Some(Const::Core(core)) => Some(*core),
        _ => None,
    })
}
