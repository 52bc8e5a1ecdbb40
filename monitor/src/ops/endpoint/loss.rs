//! Ends that let go: faults, losses, silence.

use super::Remote;
use crate::config::MAX_PROXIES;
use crate::event::Sink;
use crate::monitor::Monitor;
use alloc::vec::Vec;
use skerry_hal::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::monitor::*;
use skerry_urpc::wire::{self, Body, Header};

impl Monitor {
    /// A message of a proxy's ended somewhere, or one to it.
    pub(crate) fn endpoint_fault(&mut self, fault: &Fault, request: u16, why: Refusal, sink: &mut dyn Sink) {
        match fault.kind {
            EndpointFound::KIND | EndpointTaken::KIND | EndpointClosed::KIND => {
                self.endpoint.remotes.retain(|r| !r.is(fault.dst, request));
            }
            _ => {
                let header = Header { src: fault.dst, request, ..Header::default() };
                if let Some((slot, _)) = self.proxy_of(&header) {
                    self.leave_proxy(slot, why, sink);
                }
            }
        }
    }

    pub(crate) fn endpoint_recheck(&mut self, sink: &mut dyn Sink) {
        for slot in 0..MAX_PROXIES {
            let Some(proxy) = self.endpoint.proxies[slot] else { continue };
            if let Err(refusal) = self.status_of(proxy.core) {
                self.drop_proxy(slot as u8, refusal, sink);
            } else if self.is_void(proxy.core.island(), proxy.epoch) {
                self.drop_proxy(slot as u8, Refusal::Aborted, sink);
            }
        }
        let lives = |r: &Remote| self.status_of(r.core).is_ok() && !self.is_void(r.core.island(), r.epoch);
        let gone: Vec<u32> = self.endpoint.remotes.iter().filter(|r| !lives(r)).map(|r| r.handle).collect();
        self.endpoint.remotes.retain(|r| !gone.contains(&r.handle));
    }

    /// The channel to `peer` is gone, and with it perhaps some messages.
    pub(crate) fn endpoint_way_lost(&mut self, peer: CoreId, sink: &mut dyn Sink) {
        for slot in 0..MAX_PROXIES {
            if self.endpoint.proxies[slot].is_some_and(|p| p.core == peer) {
                self.leave_proxy(slot as u8, Refusal::Aborted, sink);
            }
        }
        self.close_remotes(|r| r.core == peer, Refusal::Aborted, sink);
    }

    pub(crate) fn endpoint_deadline(&self) -> Option<u64> {
        let proxies = self.endpoint.proxies.iter().flatten().filter_map(|p| p.due);
        proxies.chain(self.endpoint.remotes.iter().filter_map(|r| r.until)).min()
    }

    pub(crate) fn endpoint_tick(&mut self, sink: &mut dyn Sink) {
        let next = self.within(self.config.bound);
        for slot in 0..MAX_PROXIES {
            let Some(proxy) = self.endpoint.proxies[slot].filter(|p| self.is_past(p.due)) else { continue };
            if proxy.token.is_some() {
                self.leave_proxy(slot as u8, Refusal::TimedOut, sink);
                continue;
            }
            if let Some(entry) = &mut self.endpoint.proxies[slot] {
                entry.due = next;
            }
            let body = EndpointProbe { sent: proxy.sent, ..EndpointProbe::default() };
            let probe = wire::encode(&self.header(proxy.core, proxy.request), &body);
            if let Err(refusal) = self.try_send(&probe, proxy.core, sink) {
                self.leave_proxy(slot as u8, refusal, sink);
            }
        }
        let now = self.now;
        self.close_remotes(|r| r.until.is_some_and(|until| until <= now), Refusal::TimedOut, sink);
    }
}
