//! The server: looks at the monitor's channel and at those of the programs, then blocks until one of them rings.

mod back;
mod guest;
mod memory;
mod programs;
mod requests;
mod span;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use memory::{CALLS, RING, Reply};
use programs::Program;
use skerry_app_proc::entropy::Entropy;
use skerry_app_proc::table::{Asker, Table};
use skerry_bundle::Bundle;
use skerry_urpc::wire::{Body, Header, encode};
use skerry_urpc::{Message, Transport};
use skerry_user::abi::dispatcher::event;
use skerry_user::abi::domain::Purpose;
use skerry_user::agent::Agent;
use skerry_user::cap::{Endpoint, SELF};
use skerry_user::chan::{Chan, Peer};
use skerry_user::logging::{error, warn};
use skerry_user::lrpc::{Ring, Rings};
use skerry_user::spawn::CHANNEL_EVENT;
use skerry_user::vspace::R;
use skerry_user::{Domain, log};

/// Rounds without news before the server blocks.
const SPIN: u32 = 16;
/// Messages taken from one channel before the next has its turn.
const BATCH: usize = 16;
/// Answers that wait for room; at the limit nothing more is taken in.
const MAX_WAITING: usize = 128;

/// Messages in the ring of what the monitor answers.
const ANSWERS: u32 = 8;

/// The process server of a core.
pub struct Server {
    domain: Domain,
    bundle: Bundle<'static>,
    monitor: Chan,
    waiting: VecDeque<Message>,
    /// Texts of which more is to come.
    unfinished: BTreeMap<Asker, String>,
    table: Table,
    programs: BTreeMap<u32, Program>,
    /// What programs ring, and the CPU driver when one ends.
    bell: Endpoint,
    /// By which programs call the memory server.
    calls: Ring,
    /// By which the monitors are asked for what other cores hold; `None`: nothing is ever shared here.
    agent: Option<Agent>,
    /// RAM that the monitors are taking back.
    returning: Vec<back::Returning>,
    /// Dispatchers of other cores' domains.
    guests: guest::Guests,
    /// What other cores are to have of ours.
    sharing: Vec<span::Sharing>,
    /// Number of our last request.
    last_request: u16,
    reply: Reply,
    /// The core is to stop: nothing is started any more.
    retired: bool,
    entropy: Entropy,
}

impl Server {
    /// Opens what the server was given.
    pub fn new(mut domain: Domain) -> Option<Self> {
        let Some(monitor) = Chan::listed(&mut domain, Peer::Monitor) else {
            error!("no channel to the monitor");
            return None;
        };
        let bundle = bundle(&mut domain)?;
        let bell =
            domain.mem.endpoint(SELF, CHANNEL_EVENT).inspect_err(|e| error!("own endpoint: {e}")).ok()?;
        let rings = Rings::new(&mut domain).and_then(|mut rings| {
            let calls = rings.make(&mut domain.mem, RING, CALLS)?;
            Ok((calls, rings.make(&mut domain.mem, ANSWERS, CHANNEL_EVENT)?))
        });
        let (calls, answers) = rings.inspect_err(|e| error!("no ring: {e}")).ok()?;
        let agent = Agent::join(&mut domain, answers).inspect_err(|e| warn!("the monitor: {e}")).ok();
        Some(Self {
            domain,
            bundle,
            monitor,
            waiting: VecDeque::new(),
            unfinished: BTreeMap::new(),
            table: Table::new(),
            programs: BTreeMap::new(),
            bell,
            calls,
            agent,
            returning: Vec::new(),
            guests: guest::Guests::default(),
            sharing: Vec::new(),
            last_request: 0,
            reply: Reply::default(),
            retired: false,
            entropy: Entropy::default(),
        })
    }

    /// Runs for ever.
    pub fn run(mut self) -> ! {
        let mut vain = 0;
        loop {
            if self.round() {
                vain = 0;
                continue;
            }
            vain += 1;
            if vain < SPIN {
                skerry_user::relax();
                continue;
            }
            self.arm(true);
            if !self.round() {
                // Whatever came, the next round looks at everything.
                self.serve(CHANNEL_EVENT);
            }
            self.arm(false);
            vain = 0;
        }
    }

    fn arm(&mut self, on: bool) {
        let programs = self.programs.iter_mut().filter(|(pid, _)| self.table.takes_output(**pid));
        for chan in programs.map(|(_, program)| &mut program.chan).chain([&mut self.monitor]) {
            if on { chan.arm_wake() } else { chan.disarm_wake() }
        }
    }

    /// Looks at everything once. Answers whether there was news.
    fn round(&mut self) -> bool {
        let mut news = self.flush() | self.serve(event::NOW);
        for _ in 0..BATCH {
            if self.waiting.len() >= MAX_WAITING {
                break;
            }
            match self.monitor.try_recv() {
                Ok(Some(message)) => {
                    self.monitor.kick();
                    self.take(&message);
                    news = true;
                }
                Ok(None) => break,
                Err(error) => panic!("the channel to the monitor: {error}"),
            }
        }
        news |= self.poll_programs() | self.poll_returning() | self.poll_guests() | self.poll_sharing();
        news | self.flush() | log::flush(&mut self.monitor)
    }

    /// Says something to an asker, as soon as there is room.
    fn say<B: Body>(&mut self, to: Asker, body: &B) {
        let header = Header { dst: to.core, request: to.request, ..Header::default() };
        self.waiting.push_back(encode(&header, body));
    }

    fn flush(&mut self) -> bool {
        let mut sent = false;
        while let Some(message) = self.waiting.front() {
            if self.monitor.try_send(message).is_err() {
                break;
            }
            self.waiting.pop_front();
            sent = true;
        }
        if sent {
            self.monitor.kick();
        }
        sent
    }
}

fn bundle(domain: &mut Domain) -> Option<Bundle<'static>> {
    let Some(cap) = domain.info.caps_for(Purpose::Bundle).next() else {
        error!("no bundle");
        return None;
    };
    let view = domain.map(cap.cptr, cap.len, R).inspect_err(|e| error!("bundle: {e}")).ok()?;
    #[expect(unsafe_code, reason = "the bundle is memory that the boot loader wrote")]
    // SAFETY: boot glue took the bundle's memory out of RAM; every domain that has it has it read-only.
    let bytes = unsafe { view.bytes() };
    // `init` of the island has checked all of it.
    Bundle::open_checked(bytes).inspect_err(|e| error!("bundle: {e}")).ok()
}
