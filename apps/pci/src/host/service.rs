//! What the PCI domain does when all is started: answers clients, and looks after drivers.

use super::drivers::{Driver, Drivers};
use super::meter::{self, Meter};
use alloc::collections::VecDeque;
use skerry_abi::CoreId;
use skerry_urpc::formats::Refusal;
use skerry_urpc::formats::device::*;
use skerry_urpc::formats::proc::{Done, Leave};
use skerry_urpc::wire::{Body, Header, encode};
use skerry_urpc::{Message, Transport};
use skerry_user::cap::SELF;
use skerry_user::chan::Chan;
use skerry_user::log;
use skerry_user::spawn::CHANNEL_EVENT;

/// Requests for random bytes at one time.
const MAX_ASKED: usize = 16;
/// Answers that wait for room.
const MAX_ANSWERS: usize = 256;

/// The driver that has random bytes.
const SOURCE: &str = "rng";

/// A request under way: bytes are asked for one message at a time.
struct Asked {
    who: (CoreId, u16),
    left: u32,
    /// The number under which the driver was asked.
    number: u16,
}

/// The service.
pub struct Service<'a> {
    drivers: Drivers<'a>,
    monitor: Chan,
    asked: VecDeque<Asked>,
    answers: VecDeque<Message>,
    number: u16,
    /// A measurement under way, and who asked for it.
    meter: Option<Meter>,
}

/// Whom an answer goes to: the core that asked, and its number.
type Cx = (CoreId, u16);

impl<'a> Service<'a> {
    /// Serves what the monitor passes on.
    pub fn new(drivers: Drivers<'a>, monitor: Chan) -> Self {
        let (asked, answers) = (VecDeque::new(), VecDeque::new());
        Self { drivers, monitor, asked, answers, number: 0, meter: None }
    }

    /// For ever.
    pub fn run(mut self) {
        for n in 0..self.drivers.list.len() {
            self.drivers.start(n);
        }
        loop {
            if self.round() {
                continue;
            }
            self.arm(true);
            if !self.round() {
                let _came = SELF.wait(CHANNEL_EVENT, 0);
            }
            self.arm(false);
        }
    }

    fn arm(&mut self, on: bool) {
        let drivers = self.drivers.list.iter_mut().filter_map(|driver| driver.chan.as_mut());
        for chan in drivers.chain([&mut self.monitor]) {
            if on { chan.arm_wake() } else { chan.disarm_wake() }
        }
    }

    /// Looks at everything once. Answers whether there was news.
    fn round(&mut self) -> bool {
        let mut news = false;
        // A client that does not read has no more of its requests taken in.
        while self.answers.len() < MAX_ANSWERS
            && let Ok(Some(message)) = self.monitor.try_recv()
        {
            news = true;
            let Header { src, request, .. } = message.header();
            if message.body::<Leave>().is_some() {
                self.asked.retain(|asked| asked.who != (src, request));
            } else if Devices::dispatch(self, &message, (src, request)).is_err() {
                self.done((src, request), Err(Refusal::BadKind));
            }
        }
        for n in 0..self.drivers.list.len() {
            news |= self.hear(n);
        }
        news |= self.measure_on();
        for _ended in self.drivers.replace_dead() {
            news = true;
            if let Some(meter) = self.meter.take() {
                self.done(meter.who, Err(Refusal::Aborted));
            }
            // What it was asked for is lost; those who wait may ask again.
            while let Some(asked) = self.asked.pop_front() {
                self.done(asked.who, Err(Refusal::Aborted));
            }
        }
        while let Some(message) = self.answers.front() {
            if self.monitor.try_send(message).is_err() {
                break;
            }
            self.answers.pop_front();
            news = true;
        }
        self.monitor.kick();
        news | log::flush(&mut self.monitor)
    }

    /// What a driver says.
    fn hear(&mut self, n: usize) -> bool {
        let Some(chan) = &mut self.drivers.list[n].chan else { return false };
        let found = chan.try_recv();
        chan.kick();
        let Ok(Some(message)) = found else { return false };
        if self.drivers.list[n].logs(&message) {
            return true;
        }
        if let Some(arrived) = message.body::<Arrived>() {
            self.drivers.list[n].arrived = arrived;
        } else if let Some(filled) = message.body::<Filled>() {
            self.filled(n, message.header().request, &filled);
        }
        true
    }

    fn filled(&mut self, n: usize, number: u16, filled: &Filled) {
        if let Some(meter) = self.meter.as_mut().filter(|_| number == meter::NUMBER) {
            return meter.answered();
        }
        let Some(at) = self.asked.iter().position(|asked| asked.number == number) else { return };
        let (who, left) = (self.asked[at].who, self.asked[at].left);
        // A driver that gives nothing is as one that gives no more.
        let len = u32::from(filled.len).min(left).min(RANDOM as u32);
        let random = Random {
            interrupts: self.drivers.list[n].arrived.interrupts as u32,
            len: len as u8,
            bytes: filled.bytes,
            ..Random::default()
        };
        self.answer(who, &random);
        if len == left || len == 0 {
            self.asked.remove(at);
            return self.done(who, if len == left { Ok(()) } else { Err(Refusal::Aborted) });
        }
        self.asked[at].left -= len;
        self.ask(at);
    }

    /// Asks the driver for the next bytes of a request.
    fn ask(&mut self, at: usize) {
        self.number = self.number.wrapping_add(1).max(1);
        let (number, left) = (self.number, self.asked[at].left);
        self.asked[at].number = number;
        let header = Header { request: number, ..Header::default() };
        let fill = Fill { bytes: left.min(RANDOM as u32), ..Fill::default() };
        let source = self.source();
        if let Some(chan) = source {
            // Fewer are under way than it has room for.
            let _full = chan.try_send(&encode(&header, &fill));
            chan.kick();
        }
    }

    /// Goes on measuring, one interrupt at a time. Answers whether there is more to do.
    fn measure_on(&mut self) -> bool {
        let Some(mut meter) = self.meter.take() else { return false };
        let Some(driver) = self.drivers.list.iter_mut().find(|driver| driver.name == SOURCE) else {
            return false;
        };
        match meter.go_on(driver) {
            None => self.meter = Some(meter),
            Some(measured) => {
                let enough = measured.count as usize >= meter::SAMPLES;
                self.answer(meter.who, &measured);
                self.done(meter.who, if enough { Ok(()) } else { Err(Refusal::TimedOut) });
            }
        }
        true
    }

    /// The channel to a driver that has random bytes.
    fn source(&mut self) -> Option<&mut Chan> {
        let mut list = self.drivers.list.iter_mut();
        list.find(|driver| driver.name == SOURCE && driver.chan.is_some())?.chan.as_mut()
    }

    fn answer<B: Body>(&mut self, (dst, request): Cx, body: &B) {
        self.answers.push_back(encode(&Header { dst, request, ..Header::default() }, body));
    }

    fn done(&mut self, who: Cx, result: Result<(), Refusal>) {
        self.answer(who, &Done { refusal: Refusal::code(result), ..Done::default() });
    }
}

impl Devices<Cx> for Service<'_> {
    type Outcome = ();

    fn drivers(&mut self, _: &DriversQuery, who: Cx) {
        for n in 0..self.drivers.list.len() {
            let line = line(&self.drivers.list[n]);
            self.answer(who, &line);
        }
        self.done(who, Ok(()));
    }

    fn random(&mut self, query: &RandomQuery, who: Cx) {
        if query.bytes == 0 || query.bytes > MAX_RANDOM {
            return self.done(who, Err(Refusal::BadRequest));
        }
        if self.source().is_none() {
            return self.done(who, Err(Refusal::NotFound));
        }
        if self.asked.len() == MAX_ASKED {
            return self.done(who, Err(Refusal::Busy));
        }
        self.asked.push_back(Asked { who, left: query.bytes, number: 0 });
        self.ask(self.asked.len() - 1);
    }

    fn measure(&mut self, _: &MeasureQuery, who: Cx) {
        if self.source().is_none() {
            return self.done(who, Err(Refusal::NotFound));
        }
        if self.meter.is_some() {
            return self.done(who, Err(Refusal::Busy));
        }
        self.meter = Some(Meter::new(who));
    }

    fn restart(&mut self, query: &RestartQuery, who: Cx) {
        let len = query.name.iter().position(|byte| *byte == 0).unwrap_or(NAME);
        let found = self.drivers.stop(&query.name[..len]);
        self.done(who, if found { Ok(()) } else { Err(Refusal::NotFound) });
    }
}

fn line(driver: &Driver) -> DriverLine {
    let mut name = [0; NAME];
    for (to, from) in name.iter_mut().zip(driver.name.bytes()) {
        *to = from;
    }
    let at = driver.at;
    DriverLine {
        interrupts: driver.arrived.interrupts,
        line: driver.lines.first,
        starts: driver.starts,
        address: u16::from(at.bus) << 8 | u16::from(at.device) << 3 | u16::from(at.function),
        lines: driver.lines.words.len() as u16,
        state: driver.state as u8,
        code: driver.code,
        name,
        ..DriverLine::default()
    }
}
