//! The life of a link: from an empty window to a session, and back again after a loss.
//!
//! ```text
//!             greeting, beating        accepted both ways
//!   Absent ────────────────► Greeting ────────────────► Up
//!     ▲                         │ silent, corrupt,       │ silent, corrupt, left,
//!     │                         ▼ left, restarted        ▼ restarted
//!     │ rejoin(epoch)         Lost(why) ◄────────────────┘
//!   Refused ◄── the peer refuses our epoch        Lost ── a later epoch, beating ──► Greeting
//! ```
//!
//! A side that loses its peer refuses that epoch for good, in its own greeting. A peer that was only slow finds itself
//! refused when it looks next, takes a new epoch for its whole island, and rejoins. A greeting alone is not taken for
//! a living peer, since the window may tell of a former life: its heartbeat must be seen to move first.
//!
//! Sans-io: time comes in as an argument, in any unit; the only memory touched is the window.

use super::{LAYOUT, Window};
use crate::channel::Channel;
use crate::greeting::{Greeting, Identity};
use crate::handshake::{Agreed, Handshake, Refusal};
use crate::ring::LayoutError;
use crate::transport::{Field, RecvError};
use core::fmt;
use skerry_hal::{Epoch, IslandId};

/// What a link is told at setup.
#[derive(Clone, Copy, Debug)]
pub struct LinkConfig {
    /// Who we are, and in which epoch.
    pub identity: Identity,
    /// The island at the other end.
    pub peer: IslandId,
    /// A peer silent for longer is lost. In the unit of `now`.
    pub bound: u64,
}

/// Why a peer was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Down {
    /// Its heartbeat stood still for longer than the bound.
    Silent,
    /// It said that it goes.
    Left,
    /// It started anew, without our having noticed its end.
    Restarted,
    /// Other islands gave it up.
    GivenUp,
    /// It wrote something that no correct peer writes, or speaks another version.
    Refused(Refusal),
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("silent for too long"),
            Self::Left => f.write_str("left"),
            Self::GivenUp => f.write_str("given up by others"),
            Self::Restarted => f.write_str("restarted"),
            Self::Refused(why) => write!(f, "{why}"),
        }
    }
}

/// Where a link stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// No living peer was seen yet.
    Absent,
    /// The peer is there; it has not accepted us yet.
    Greeting {
        /// Its epoch.
        peer: Epoch,
    },
    /// [`Link::channel`] carries messages.
    Up(Agreed),
    /// The peer was lost.
    Lost(Down),
    /// The peer has given our epoch up: [`Link::rejoin`] with a later one.
    Refused {
        /// It refuses all of our epochs up to this one.
        up_to: Epoch,
    },
}

/// An epoch that the peer refuses, or that is not later than the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RejoinError {
    /// The lowest epoch to rejoin with.
    pub at_least: Epoch,
}

/// A peer that refuses an epoch so far beyond ours wrote nonsense. Up to there we may have forgotten an epoch, if
/// our own greeting was destroyed.
const PLAUSIBLE: u32 = 1 << 16;

/// What we know of the peer's heartbeat.
#[derive(Default)]
struct Pulse {
    incarnation: u32,
    heartbeat: u64,
    moved: bool,
    /// For how long it stood still while we looked.
    silence: u64,
}

/// One island's end of a link.
pub struct Link {
    handshake: Handshake,
    config: LinkConfig,
    state: State,
    channel: Option<Channel>,
    pulse: Pulse,
    last_poll: u64,
    last_beat: u64,
}

impl Link {
    /// Greets the peer across `window`.
    pub fn new(window: &Window, config: LinkConfig, now: u64) -> Result<Self, LayoutError> {
        let (inbox, outbox) = window.monitors();
        let own = Greeting::new(config.identity, config.identity.epoch.0, LAYOUT, window.channels());
        Ok(Self {
            handshake: Handshake::new(inbox, outbox, own)?,
            config,
            state: State::Absent,
            channel: None,
            pulse: Pulse::default(),
            last_poll: now,
            last_beat: now,
        })
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// The island at the other end.
    pub const fn peer(&self) -> IslandId {
        self.config.peer
    }

    /// The epoch in which this island greets.
    pub const fn epoch(&self) -> Epoch {
        self.handshake.own.identity.epoch
    }

    /// The monitors' channel, while the link is up.
    pub const fn channel(&mut self) -> Option<&mut Channel> {
        self.channel.as_mut()
    }

    /// How often [`poll`](Self::poll) must be called, at least.
    pub const fn period(&self) -> u64 {
        self.config.bound / 8
    }

    /// Shows that we live, and looks whether the peer does. Answers the new state if it changed.
    pub fn poll(&mut self, now: u64) -> Option<State> {
        let before = self.state;
        let gap = now.saturating_sub(self.last_poll);
        self.last_poll = now;
        self.beat(now);
        match self.handshake.peer() {
            Ok(Some(peer)) => self.meet(&peer),
            Ok(None) => {}
            Err(refusal) => self.lose(Down::Refused(refusal)),
        }
        if let Some(RecvError::Corrupt(field)) = self.channel.as_mut().and_then(Channel::audit) {
            self.lose(Down::Refused(Refusal::Corrupt(field)));
        }
        self.listen(gap);
        (self.state != before).then_some(self.state)
    }

    /// Starts again with a later epoch of our island.
    pub fn rejoin(&mut self, epoch: Epoch, now: u64) -> Result<(), RejoinError> {
        let own = &mut self.handshake.own;
        let refused = if let State::Refused { up_to } = self.state { up_to.0 } else { 0 };
        let at_least = Epoch(own.incarnation.max(refused)).next();
        if epoch < at_least || epoch.0 <= refused {
            return Err(RejoinError { at_least });
        }
        own.identity.epoch = epoch;
        own.incarnation = epoch.0;
        own.accepted = 0;
        self.handshake.publish();
        self.channel = None;
        self.state = State::Absent;
        self.pulse = Pulse::default();
        self.last_poll = now;
        Ok(())
    }

    /// Refuses the peer's epochs up to `epoch`: other islands gave it up. [`poll`](Self::poll) does not report it.
    pub fn refuse(&mut self, epoch: Epoch) {
        if self.handshake.own.accepted <= epoch.0 {
            self.lose(Down::GivenUp);
        }
    }

    /// Tells the peer that we go.
    pub fn leave(mut self) {
        self.handshake.own.leaving = true;
        self.handshake.publish();
    }

    /// Until the link is up, every poll counts: both wait for it.
    fn beat(&mut self, now: u64) {
        let up = matches!(self.state, State::Up(_));
        if !up {
            self.handshake.heal();
        }
        if !up || now.saturating_sub(self.last_beat) >= self.period() {
            self.last_beat = now;
            self.handshake.beat();
        }
    }

    fn meet(&mut self, peer: &Greeting) {
        if let Err(field) = self.check(peer) {
            return self.lose(Down::Refused(Refusal::Corrupt(field)));
        }
        let own = &self.handshake.own;
        if peer.refused >= own.incarnation {
            self.channel = None;
            self.state = State::Refused { up_to: Epoch(peer.refused) };
            return;
        }
        if peer.incarnation <= own.refused || matches!(self.state, State::Refused { .. }) {
            return;
        }
        self.feel(peer);
        let session = matches!(self.state, State::Greeting { .. } | State::Up(_));
        if session && peer.incarnation != self.handshake.own.accepted {
            return self.lose(Down::Restarted);
        }
        if peer.leaving {
            if session {
                self.lose(Down::Left);
            }
            return;
        }
        if matches!(self.state, State::Up(_)) {
            if !self.handshake.is_open(peer) {
                self.lose(Down::Refused(Refusal::Corrupt(Field::Epoch)));
            }
            return;
        }
        if self.pulse.moved {
            self.open(peer);
        }
    }

    /// What a greeting that reads well may still get wrong, given what we know.
    fn check(&self, peer: &Greeting) -> Result<(), Field> {
        let own = &self.handshake.own;
        if peer.identity.core.island() != self.config.peer {
            return Err(Field::Core);
        }
        if peer.incarnation < own.accepted || peer.incarnation != peer.identity.epoch.0 {
            return Err(Field::Epoch);
        }
        if peer.refused > own.incarnation.saturating_add(PLAUSIBLE) {
            return Err(Field::Refused);
        }
        if peer.incarnation == self.pulse.incarnation && peer.heartbeat < self.pulse.heartbeat {
            return Err(Field::Heartbeat);
        }
        Ok(())
    }

    fn feel(&mut self, peer: &Greeting) {
        let pulse = &mut self.pulse;
        let same_life = peer.incarnation == pulse.incarnation;
        if same_life && peer.heartbeat != pulse.heartbeat {
            pulse.moved = true;
            pulse.silence = 0;
        }
        if !same_life {
            pulse.moved = false;
        }
        pulse.incarnation = peer.incarnation;
        pulse.heartbeat = peer.heartbeat;
    }

    fn open(&mut self, peer: &Greeting) {
        self.handshake.accept(peer);
        self.state = State::Greeting { peer: peer.identity.epoch };
        if self.handshake.is_open(peer) {
            match self.handshake.channel(peer) {
                Ok(channel) => {
                    self.channel = Some(channel);
                    self.state = State::Up(self.handshake.agreed(peer));
                }
                Err(_) => self.lose(Down::Refused(Refusal::Corrupt(Field::Layout))),
            }
        }
    }

    /// Adds to the silence. Time in which we did not run counts little: then it was we who were silent.
    fn listen(&mut self, gap: u64) {
        self.pulse.silence = self.pulse.silence.saturating_add(gap.min(self.config.bound / 4));
        let session = matches!(self.state, State::Greeting { .. } | State::Up(_));
        if session && self.pulse.silence > self.config.bound {
            self.lose(Down::Silent);
        }
    }

    /// Ends the session, if there is one, and refuses the peer's epoch.
    fn lose(&mut self, why: Down) {
        match self.state {
            State::Refused { .. } => return,
            State::Greeting { .. } | State::Up(_) => {
                let own = &mut self.handshake.own;
                own.refused = own.refused.max(own.accepted);
                self.handshake.publish();
            }
            State::Absent | State::Lost(_) => {}
        }
        self.channel = None;
        self.state = State::Lost(why);
        self.pulse = Pulse::default();
    }
}
