//! The process server of this core: started by the monitor, but on the first core, where `init` does.

use super::Pump;
use super::io::{Io, Port};
use alloc::string::String;
use skerry_abi::Rights;
use skerry_abi::domain::{Purpose, slot};
use skerry_bundle::find_member;
use skerry_monitor::{Chan as Number, Event, Monitor};
use skerry_user::Domain;
use skerry_user::cap::{Endpoint, SELF};
use skerry_user::chan::{Chan, Peer};
use skerry_user::logging::error;
use skerry_user::spawn::{CHANNEL_EVENT, Child, SERVER_DEATH, SpawnError};
use skerry_user::vspace::R;

/// RAM that the monitor keeps for itself.
const OWN: u64 = 1 << 20;

/// Opens the channel to it, making it if `init` has not. What fails is reported; the core then runs no programs.
pub fn open(
    domain: &mut Domain,
    monitor: &mut Monitor,
    io: &mut Io,
    broker: Option<Endpoint>,
) -> Option<Number> {
    let listed = Chan::listed(domain, Peer::Proc);
    let made = listed.map_or_else(|| make(domain, broker), Ok);
    let chan = made.inspect_err(|why| error!("no process server: {why}")).ok()?;
    let server = monitor.open_server()?;
    io.put(server, Port::Chan(chan));
    Some(server)
}

impl Pump {
    /// The process server has ended: whoever has asked it for something hears so.
    #[cold]
    pub(super) fn server_ended(&mut self) {
        if let Some(chan) = self.server.take() {
            self.io.put(chan, Port::None);
            let why = String::from("it has ended; this core runs no more programs");
            self.handle(Event::ChannelClosed { chan, why });
        }
    }
}

fn make(domain: &mut Domain, broker: Option<Endpoint>) -> Result<Chan, SpawnError> {
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
    // Domains over several cores ring each other.
    child.grant(slot::CORES, slot::CORES, Rights::SIGNAL | Rights::GRANT)?;
    let rights = Rights::READ | Rights::GRANT;
    child.give(Purpose::Bundle, cap.cptr, (cap.base, cap.len, 0), rights)?;
    if let Some(broker) = broker {
        let rights = Rights::SIGNAL | Rights::GRANT;
        child.give(Purpose::Endpoint, broker.0, (0, 0, Peer::Broker as u64), rights)?;
    }
    let wake = domain.mem.endpoint(SELF, CHANNEL_EVENT).map_err(|e| refused("own endpoint", e.into()))?;
    let death = domain.mem.endpoint(SELF, SERVER_DEATH).map_err(|e| refused("own endpoint", e.into()))?;
    child.on_death(death);
    let chan = child.connect_parent(domain, Peer::Monitor, wake, CHANNEL_EVENT)?;
    let rest = domain.mem.free_ram().saturating_sub(OWN);
    child.give_ram(domain, rest)?;
    child.start(domain)?;
    Ok(chan)
}
