//! `rng`: drives a virtio entropy device, by its interrupt alone; the bytes go to the PCI domain, which started it and
//! answers those who ask. It has the device's registers, one message line, and RAM; not its configuration space, and not
//! its table of messages.
#![no_std]
#![no_main]

extern crate alloc;

mod driver;

use alloc::collections::VecDeque;
use driver::Device;
use skerry_abi::domain::slot;
use skerry_app_rng::Pool;
use skerry_urpc::Transport;
use skerry_urpc::formats::device::{Arrived, Fill, Filled, RANDOM};
use skerry_urpc::wire::{Header, encode};
use skerry_user::cap::{Irq, SELF};
use skerry_user::chan::{Chan, Peer};
use skerry_user::interrupt::{Line, Trigger};
use skerry_user::logging::error;
use skerry_user::lrpc::Rings;
use skerry_user::spawn::CHANNEL_EVENT;
use skerry_user::{Domain, Error, clock, log};

skerry_user::main!(main, heap = 32 << 10);

/// Event of the device's line.
const ARRIVED: u64 = CHANNEL_EVENT << 1;
/// Bytes that are kept; the device is asked for more when there are fewer.
const KEPT: usize = 512;

struct Server {
    device: Device,
    line: Line,
    chan: Chan,
    pool: Pool,
    /// Who waits: the number of the request, and how many bytes.
    asked: VecDeque<(u16, usize)>,
    /// Interrupts so far, and when the last one came.
    arrived: Arrived,
    /// Whether the host has not heard of it.
    news: bool,
}

fn main(mut domain: Domain) {
    let Some(mut chan) = Chan::listed(&mut domain, Peer::Pci) else { return };
    log::queue(true);
    match open(&mut domain) {
        Ok((line, device)) => {
            let asked = VecDeque::new();
            let (pool, arrived) = (Pool::default(), Arrived::default());
            let server = Server { device, line, chan, pool, asked, arrived, news: false };
            chan = server.run();
        }
        Err(why) => error!("the device cannot be used: {why}"),
    }
    log::flush(&mut chan);
}

fn open(domain: &mut Domain) -> Result<(Line, Device), driver::Failed> {
    let number = domain.info.arg("line").and_then(|text| text.parse().ok());
    let line = bind(domain, number.ok_or(driver::Failed::NoLine)?)?;
    Ok((line, Device::open(domain)?))
}

fn bind(domain: &mut Domain, line: u32) -> Result<Line, Error> {
    let mut rings = Rings::new(domain)?;
    Line::bind(domain, &mut rings, Irq(slot::IRQS), (line, Trigger::Message), ARRIVED)
}

impl Server {
    /// Until the device or whoever asks breaks the rules.
    fn run(mut self) -> Chan {
        loop {
            self.device.ask(KEPT.saturating_sub(self.pool.len()));
            if self.serve() {
                continue;
            }
            self.chan.arm_wake();
            // Looked at once more, now that the peer would ring.
            let came = if self.serve() { 0 } else { SELF.wait(CHANNEL_EVENT | ARRIVED, 0).unwrap_or(0) };
            self.chan.disarm_wake();
            if came & ARRIVED != 0 {
                let count = self.line.take();
                self.arrived.ticks = clock::ticks();
                self.arrived.interrupts += count;
                self.news = true;
                if let Err(why) = self.device.take(&mut self.pool) {
                    error!("{why}");
                    return self.chan;
                }
                self.line.ack();
            }
        }
    }

    /// Takes requests in, and answers those for which there are bytes. Answers whether there was news.
    fn serve(&mut self) -> bool {
        let mut news = false;
        while let Ok(Some(message)) = self.chan.try_recv() {
            if let Some(fill) = message.body::<Fill>() {
                self.asked.push_back((message.header().request, RANDOM.min(fill.bytes as usize)));
            }
            news = true;
        }
        while let Some(&(request, bytes)) = self.asked.front() {
            let mut filled = Filled { len: bytes as u8, ..Filled::default() };
            if !self.pool.fill(&mut filled.bytes[..bytes]) {
                break;
            }
            self.asked.pop_front();
            if core::mem::take(&mut self.news) {
                // Without room the host hears of it with the next.
                self.news = self.chan.try_send(&encode(&Header::default(), &self.arrived)).is_err();
            }
            // The host asks for no more at a time than the channel holds answers.
            let _full = self.chan.try_send(&encode(&Header { request, ..Header::default() }, &filled));
            news = true;
        }
        self.chan.kick();
        news | log::flush(&mut self.chan)
    }
}
