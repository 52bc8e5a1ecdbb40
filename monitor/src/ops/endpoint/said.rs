//! What the monitors at both ends of a connection say to each other.

use super::{Proxy, Remote, SILENCE};
use crate::config::{ENDPOINT_WINDOW, MAX_REMOTES};
use crate::event::{Action, Sink};
use crate::monitor::Monitor;
use crate::ops::{RequestId, Requests};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::*;
use skerry_urpc::wire::Header;

impl Monitor {
    pub(crate) fn on_endpoint_find(&mut self, find: &EndpointFind, header: &Header, sink: &mut dyn Sink) {
        let (core, request) = (header.src, header.request);
        // Under the same number: it has forgotten the earlier one.
        self.endpoint.remotes.retain(|r| !r.is(core, request));
        let offer = self.offered_here(find.name);
        let refusal = match offer {
            None => Refusal::NotFound as u16,
            Some(_) if self.endpoint.remotes.len() >= MAX_REMOTES => Refusal::Busy as u16,
            Some(endpoint) => {
                let epoch = self.epoch_of(core.island());
                let until = self.within(self.config.bound.saturating_mul(SILENCE));
                self.endpoint.handle = self.endpoint.handle.wrapping_add(1);
                let handle = self.endpoint.handle;
                let queue = VecDeque::new();
                self.endpoint.remotes.push(Remote {
                    core,
                    epoch,
                    request,
                    endpoint,
                    handle,
                    queue,
                    came: 0,
                    taken: 0,
                    said: 0,
                    until,
                });
                0
            }
        };
        let found = EndpointFound { refusal, window: ENDPOINT_WINDOW, ..EndpointFound::default() };
        self.send_body(core, request, &found, sink);
    }

    /// The proxy of this number, if messages of `core` concern it.
    pub(super) fn proxy_of(&mut self, header: &Header) -> Option<(u8, &mut Proxy)> {
        let slot = RequestId::slot(header.request, Requests::Endpoint)?;
        let proxy = self.endpoint.proxies.get_mut(slot)?.as_mut()?;
        (proxy.request == header.request && proxy.core == header.src).then_some((slot as u8, proxy))
    }

    pub(crate) fn on_endpoint_found(&mut self, found: &EndpointFound, header: &Header, sink: &mut dyn Sink) {
        let due = self.within(self.config.bound);
        let Some((slot, proxy)) = self.proxy_of(header) else { return };
        let Some(token) = proxy.token else { return };
        if let Err(refusal) = Refusal::result(found.refusal) {
            return self.drop_proxy(slot, refusal, sink);
        }
        proxy.token = None;
        // A peer that promises more than there is room for finds that out by itself.
        proxy.window = found.window.into();
        proxy.due = due;
        sink.act(Action::Proxy { token, proxy: Ok(slot) });
    }

    pub(crate) fn on_endpoint_data(
        &mut self,
        data: &EndpointData,
        number: u16,
        header: &Header,
        sink: &mut dyn Sink,
    ) {
        let until = self.within(self.config.bound.saturating_mul(SILENCE));
        let (core, request) = (header.src, header.request);
        let Some(remote) = self.endpoint.remotes.iter_mut().find(|r| r.is(core, request)) else {
            return self.say_closed(core, request, Refusal::Aborted, sink);
        };
        if remote.came as u16 != number || remote.queue.len() >= ENDPOINT_WINDOW.into() {
            return self.close_remotes(|r| r.is(core, request), Refusal::Aborted, sink);
        }
        remote.came = remote.came.wrapping_add(1);
        remote.until = until;
        remote.queue.push_back(data.words);
    }

    pub(crate) fn on_endpoint_taken(&mut self, taken: &EndpointTaken, header: &Header, sink: &mut dyn Sink) {
        let Some((slot, proxy)) = self.proxy_of(header) else { return };
        let (new, under_way) = (taken.taken.wrapping_sub(proxy.taken), proxy.sent.wrapping_sub(proxy.taken));
        if new > under_way {
            self.counters.bad += 1;
            return self.leave_proxy(slot, Refusal::Damaged, sink);
        }
        proxy.taken = taken.taken;
    }

    pub(crate) fn on_endpoint_probe(&mut self, probe: &EndpointProbe, header: &Header, sink: &mut dyn Sink) {
        let until = self.within(self.config.bound.saturating_mul(SILENCE));
        let (core, request) = (header.src, header.request);
        let known = self.endpoint.remotes.iter_mut().find(|r| r.is(core, request));
        match known {
            Some(remote) if remote.came == probe.sent => {
                remote.until = until;
                self.say_taken(core, request, sink);
            }
            Some(_) => self.close_remotes(|r| r.is(core, request), Refusal::Aborted, sink),
            None => self.say_closed(core, request, Refusal::Aborted, sink),
        }
    }

    pub(crate) fn on_endpoint_leave(&mut self, _: &EndpointLeave, header: &Header, _: &mut dyn Sink) {
        self.endpoint.remotes.retain(|r| !r.is(header.src, header.request));
    }

    pub(crate) fn on_endpoint_closed(
        &mut self,
        closed: &EndpointClosed,
        header: &Header,
        sink: &mut dyn Sink,
    ) {
        if let Some((slot, _)) = self.proxy_of(header) {
            self.drop_proxy(slot, Refusal::from_raw(closed.refusal), sink);
        }
    }

    pub(super) fn say_taken(&mut self, core: CoreId, request: u16, sink: &mut dyn Sink) {
        let Some(remote) = self.endpoint.remotes.iter_mut().find(|r| r.is(core, request)) else { return };
        remote.said = remote.taken;
        let taken = EndpointTaken { taken: remote.taken, ..EndpointTaken::default() };
        // Should it be lost, the answer to the next probe says the same.
        self.send_body(core, request, &taken, sink);
    }

    fn say_closed(&mut self, core: CoreId, request: u16, why: Refusal, sink: &mut dyn Sink) {
        let closed = EndpointClosed { refusal: why as u16, ..EndpointClosed::default() };
        self.send_body(core, request, &closed, sink);
    }

    pub(super) fn close_remotes(
        &mut self,
        which: impl Fn(&Remote) -> bool,
        why: Refusal,
        sink: &mut dyn Sink,
    ) {
        let gone: Vec<Remote> = self.endpoint.remotes.extract_if(.., |r| which(r)).collect();
        for remote in gone {
            self.say_closed(remote.core, remote.request, why, sink);
        }
    }

    /// Lets go of a proxy, and tells the other end.
    pub(super) fn leave_proxy(&mut self, proxy: u8, why: Refusal, sink: &mut dyn Sink) {
        let entry = self.endpoint.proxies.get(usize::from(proxy)).copied().flatten();
        let Some(Proxy { core, request, .. }) = entry else { return };
        self.send_body(core, request, &EndpointLeave::default(), sink);
        self.drop_proxy(proxy, why, sink);
    }

    /// Lets go of a proxy, and tells the binary.
    pub(super) fn drop_proxy(&mut self, proxy: u8, why: Refusal, sink: &mut dyn Sink) {
        let entry = self.endpoint.proxies.get_mut(usize::from(proxy)).and_then(Option::take);
        sink.act(match entry {
            None => return,
            Some(Proxy { token: Some(token), .. }) => Action::Proxy { token, proxy: Err(why) },
            Some(_) => Action::ProxyClosed { proxy, why },
        });
    }
}
