//! `bench urpc.xisa`: one domain here and one on the island at the other end of a link, with domain channels of the
//! window between them. Each gets a capability for the pages of its channels, and none for the rest of the window.

use super::Pump;
use super::program::Given;
use skerry_abi::CapType;
use skerry_abi::domain::Purpose;
use skerry_monitor::Chan;
use skerry_urpc::formats::Refusal;
use skerry_urpc::window::{BLOCK_BYTES, Side};
use skerry_user::chan::Peer;
use skerry_user::logging::{error, warn};
use skerry_user::vspace::RW;

/// The two blocks of a channel.
const PAIR: u64 = 2 * BLOCK_BYTES as u64;

impl Pump {
    /// Runs one half here, and has the other run behind the first link that is up.
    pub(super) fn bench_across(&mut self, request: u16) -> Result<(), Refusal> {
        let (link, port) = self.io.link_up().ok_or(Refusal::Unreachable)?;
        let peer = port.peer();
        let (Some(ring), Some(bare)) = (port.channels.take(), port.channels.take()) else {
            return Err(Refusal::Busy);
        };
        let channels = [ring, bare];
        let given = self.windows(link, channels).ok_or(Refusal::Busy)?;
        for part in &given {
            // Nobody uses it before both have been told of it.
            let view = self.domain.map(part.cap, PAIR, RW).map_err(|_| Refusal::Busy)?;
            view.zero();
            self.domain.unmap(view);
        }
        self.spawn("urpc.xisa", &given, Some(request)).map_err(|why| {
            error!("bench: {why}");
            Refusal::Busy
        })?;
        let message = self.monitor.program_request(peer, channels);
        if let Err(error) = skerry_monitor::Sink::send(&mut self.io, Chan(link), &message) {
            // The half that runs here gives up by itself.
            warn!("bench: island {peer} could not be asked: {error}");
        }
        Ok(())
    }

    /// Runs the other half.
    pub(super) fn run_peer(&mut self, link: u16, channels: [u16; 2]) {
        let Some(port) = self.io.link(link) else { return };
        if !channels.into_iter().all(|channel| port.channels.taken_by_peer(channel)) {
            return warn!("island {} names channels that it may not use", port.peer());
        }
        if self.has_program() {
            return warn!("a program runs already, so that of another island does not");
        }
        let Some(given) = self.windows(link, channels) else { return error!("no capability for a channel") };
        if let Err(why) = self.spawn("urpc.xisa.peer", &given, None) {
            error!("bench: {why}");
        }
    }

    /// Capabilities for the pages of the two channels: one to talk over, and one to compare with.
    fn windows(&mut self, link: u16, channels: [u16; 2]) -> Option<[Given; 2]> {
        let whole = self.domain.listed(Purpose::Window, link.into())?;
        let window = *self.io.link(link)?.window();
        let side = u64::from(window.side() == Side::B);
        let mut cut = |channel, purpose, detail| {
            let (inbox, outbox) = window.places(channel)?;
            let offset = inbox.offset.min(outbox.offset) as u64;
            let cap = self.domain.mem.part_of(whole.cptr, CapType::WindowFrame, offset, PAIR).ok()?;
            Some(Given { purpose, cap, what: (whole.base + offset, PAIR, detail) })
        };
        let talk = cut(channels[0], Purpose::Channel, Peer::Program as u64 | side << 32)?;
        Some([talk, cut(channels[1], Purpose::Window, side)?])
    }
}
