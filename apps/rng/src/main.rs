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
use skerry_urpc::formats::device::{Fill, Filled, RANDOM};
use skerry_urpc::wire::{Header, encode};
use skerry_user::cap::{Irq, SELF};
use skerry_user::chan::{Chan, Peer};
use skerry_user::interrupt::{Line, Trigger};
use skerry_user::logging::error;
use skerry_user::lrpc::Rings;
use skerry_user::spawn::CHANNEL_EVENT;
use skerry_user::{Domain, Error};

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
    interrupts: u64,
}

fn main(mut domain: Domain) {
    let Some(chan) = Chan::listed(&mut domain, Peer::Pci) else { return };
    let Some(line) = domain.info.arg("line").and_then(|text| text.parse().ok()) else {
        return error!("no line was given");
    };
    let opened = bind(&mut domain, line)
        .map_err(driver::Failed::from)
        .and_then(|line| Ok((line, Device::open(&mut domain)?)));
    let (line, device) = match opened {
        Ok(opened) => opened,
        Err(why) => return error!("the device cannot be used: {why}"),
    };
    let asked = VecDeque::new();
    Server { device, line, chan, pool: Pool::default(), asked, interrupts: 0 }.run();
}

fn bind(domain: &mut Domain, line: u32) -> Result<Line, Error> {
    let mut rings = Rings::new(domain)?;
    Line::bind(domain, &mut rings, Irq(slot::IRQS), (line, Trigger::Message), ARRIVED)
}

impl Server {
    /// Until the device or whoever asks breaks the rules.
    fn run(mut self) {
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
                self.interrupts += self.line.take();
                if let Err(why) = self.device.take(&mut self.pool) {
                    return error!("{why}");
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
            let mut filled =
                Filled { interrupts: self.interrupts as u32, len: bytes as u8, ..Filled::default() };
            if !self.pool.fill(&mut filled.bytes[..bytes]) {
                break;
            }
            self.asked.pop_front();
            // The host asks for no more at a time than the channel holds answers.
            let _full = self.chan.try_send(&encode(&Header { request, ..Header::default() }, &filled));
            news = true;
        }
        self.chan.kick();
        news
    }
}
