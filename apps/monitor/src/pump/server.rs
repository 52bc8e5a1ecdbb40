//! The process server of this core: started by the monitor, but on the first core, where `init` does.

use super::io::{Io, Port};
use skerry_abi::Rights;
use skerry_abi::domain::{Purpose, slot};
use skerry_bundle::find_member;
use skerry_monitor::Monitor;
use skerry_user::Domain;
use skerry_user::cap::SELF;
use skerry_user::chan::{Chan, Peer};
use skerry_user::logging::error;
use skerry_user::spawn::{CHANNEL_EVENT, Child, SpawnError};
use skerry_user::vspace::R;

/// RAM that the monitor keeps for itself.
const OWN: u64 = 1 << 20;

/// Starts it. What fails is reported; the core then runs no programs.
pub fn start(domain: &mut Domain, monitor: &mut Monitor, io: &mut Io) {
    match make(domain) {
        Ok(chan) => {
            if let Some(server) = monitor.open_server() {
                io.put(server, Port::Chan(chan));
            }
        }
        Err(why) => error!("no process server: {why}"),
    }
}

fn make(domain: &mut Domain) -> Result<Chan, SpawnError> {
    let refused = |what, error| SpawnError::Refused(what, error);
    let missing = SpawnError::Refused("the bundle", skerry_abi::Error::EmptySlot);
    let cap = domain.info.caps_for(Purpose::Bundle).next().ok_or(missing)?;
    let view = domain.map(cap.cptr, cap.len, R).map_err(|e| refused("the bundle", e))?;
    #[expect(unsafe_code, reason = "the bundle is memory that the boot loader wrote")]
    // SAFETY: boot glue took the bundle's memory out of RAM; every domain that has it has it read-only.
    let bytes = unsafe { view.bytes() };
    let file = find_member(bytes, skerry_user::ISA.name(), "proc").ok_or(missing)?;
    let mut child = Child::load(domain, "proc", file, domain.info.args())?;
    child.grant(slot::KERNEL, slot::KERNEL, Rights::CONSOLE | Rights::GRANT)?;
    let rights = Rights::READ | Rights::GRANT;
    child.give(Purpose::Bundle, cap.cptr, (cap.base, cap.len, 0), rights)?;
    let wake = domain.mem.endpoint(SELF, CHANNEL_EVENT).map_err(|e| refused("own endpoint", e.into()))?;
    let chan = child.connect_parent(domain, Peer::Monitor, wake, CHANNEL_EVENT)?;
    let rest = domain.mem.free_ram().saturating_sub(OWN);
    child.give_ram(domain, rest)?;
    child.start(domain)?;
    Ok(chan)
}
