//! Links to other islands: windows of shared memory, looked at once in a bounded period.

use super::io::{Io, Port};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use skerry_abi::domain::Purpose;
use skerry_abi::{Epoch, IslandId};
use skerry_monitor::{Chan, Config, Event};
use skerry_skb::CommandLine;
use skerry_urpc::greeting::Identity;
use skerry_urpc::window::{Channels, Link, LinkConfig, Side, State, Window};
use skerry_urpc::{Message, SendError, Transport};
use skerry_user::logging::{error, warn};
use skerry_user::vspace::RW;
use skerry_user::{Domain, clock};

/// Most of a window that is mapped: the channels need no more.
const MAX_MAPPED: u64 = 4 << 20;

/// Where the links stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// There are none.
    None,
    /// None is up.
    Waiting,
    /// One at least is up.
    Up,
}

/// One link.
pub struct LinkPort {
    link: Link,
    window: Window,
    /// Which domain channels may be used.
    pub channels: Channels,
    up: bool,
    next: u64,
}

impl LinkPort {
    /// The next message.
    pub fn recv(&mut self) -> Option<Message> {
        self.link.channel()?.try_recv().ok()?
    }

    /// Sends.
    pub fn send(&mut self, message: &Message) -> Result<(), SendError> {
        self.link.channel().ok_or(SendError::Closed)?.try_send(message)
    }
}

/// Opens the window of each link of the command line. Answers the island's epoch: later than any that a window tells of.
pub fn open(domain: &mut Domain, io: &mut Io, config: &Config, line: &CommandLine<'_>, bound: u64) -> Epoch {
    let mut windows = Vec::new();
    for (number, link) in line.links().enumerate() {
        io.put(Chan(number as u16), Port::None);
        let Some(cap) = domain.listed(Purpose::Window, number as u64) else {
            error!("link to island {}: no window was found", link.peer);
            continue;
        };
        let len = cap.len.min(MAX_MAPPED);
        let Some(side) = Side::of(config.core.island(), link.peer) else { continue };
        let opened = domain.map(cap.cptr, len, RW).map_err(|e| format!("{e}")).and_then(|view| {
            let block = view.block(0, len).map_err(|e| format!("{e}"))?;
            let channels = Window::max_channels(len as usize).unwrap_or(0);
            Window::new(block, side, channels).map_err(|e| format!("{e}"))
        });
        match opened {
            Ok(window) => windows.push((number as u16, link.peer, window)),
            Err(why) => error!("link to island {}: {why}", link.peer),
        }
    }
    let previous = windows.iter().map(|(_, _, window)| window.previous_epoch()).max().unwrap_or_default();
    let epoch = line.epoch.max(previous.next());
    for (number, peer, window) in windows {
        let identity = Identity { core: config.core, epoch, features: 0 };
        match Link::new(&window, LinkConfig { identity, peer, bound }, clock::ticks()) {
            Ok(link) => {
                let channels = Channels::new(window.side(), window.channels());
                let port = LinkPort { link, window, channels, up: false, next: 0 };
                io.put(Chan(number), Port::Link(Box::new(port)));
            }
            Err(why) => error!("link to island {peer}: {why}"),
        }
    }
    epoch
}

impl LinkPort {
    /// The island at the other end.
    pub const fn peer(&self) -> IslandId {
        self.link.peer()
    }

    /// The window.
    pub const fn window(&self) -> &Window {
        &self.window
    }
}

impl Io {
    /// The first link that is up, and its number.
    pub fn link_up(&mut self) -> Option<(u16, &mut LinkPort)> {
        self.ports.iter_mut().enumerate().find_map(|(n, port)| match port {
            Port::Link(link) if link.up => Some((n as u16, &mut **link)),
            _ => None,
        })
    }

    /// A link.
    pub fn link(&mut self, number: u16) -> Option<&mut LinkPort> {
        match self.ports.get_mut(usize::from(number)) {
            Some(Port::Link(link)) => Some(link),
            _ => None,
        }
    }

    /// Where the links stand.
    pub fn links_state(&self) -> Links {
        self.ports.iter().fold(Links::None, |state, port| match port {
            Port::Link(link) if link.up => Links::Up,
            Port::Link(_) if state == Links::None => Links::Waiting,
            _ => state,
        })
    }

    /// Looks at every link that is due; what changed.
    pub fn poll_links(&mut self, now: u64) -> Vec<Event> {
        let mut events = Vec::new();
        for (index, port) in self.ports.iter_mut().enumerate() {
            let Port::Link(port) = port else { continue };
            if now < port.next {
                continue;
            }
            let settled = if port.up { port.link.period() / 4 } else { clock::ns_to_ticks(2_000_000) };
            port.next = now + settled;
            let Some(state) = port.link.poll(now) else { continue };
            let link = index as u16;
            match state {
                State::Up(agreed) => {
                    port.up = true;
                    port.channels.peer_up(agreed.epoch);
                    let own = port.link.epoch();
                    events.push(Event::LinkUp { link, epoch: agreed.epoch, own });
                }
                State::Lost(why) if port.up => {
                    port.up = false;
                    port.channels.peer_down();
                    events.push(Event::LinkLost { link, why: format!("{why}") });
                }
                State::Lost(why) => warn!("link to island {}: {why}", port.link.peer()),
                // The peer gave us up, not we the peer: its epoch still counts.
                State::Refused { up_to } => {
                    if core::mem::take(&mut port.up) {
                        port.channels.peer_down();
                    }
                    events.push(Event::EpochRefused { epoch: up_to });
                }
                State::Absent | State::Greeting { .. } => {}
            }
        }
        events
    }

    /// Greets all peers anew.
    pub fn rejoin(&mut self, epoch: Epoch, now: u64) {
        for port in &mut self.ports {
            if let Port::Link(port) = port {
                port.up = false;
                port.channels.peer_down();
                if let Err(refused) = port.link.rejoin(epoch, now) {
                    warn!("link to island {}: epoch {epoch}, needs {}", port.link.peer(), refused.at_least);
                }
            }
        }
    }

    /// Others gave the peer's epoch up: it is told so in our greeting, and comes back in a later one.
    pub fn refuse(&mut self, link: u16, epoch: Epoch) {
        if let Some(Port::Link(port)) = self.ports.get_mut(usize::from(link)) {
            port.link.refuse(epoch);
            port.channels.peer_down();
            port.up = false;
        }
    }

    /// Tells all peers that this island goes.
    pub fn leave(&mut self) {
        for port in &mut self.ports {
            if let Port::Link(port) = core::mem::replace(port, Port::None) {
                port.link.leave();
            }
        }
    }
}
