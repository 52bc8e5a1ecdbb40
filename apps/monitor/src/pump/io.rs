//! What the monitor sends through, and the island's output.

use super::link::LinkPort;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use skerry_abi::CoreId;
use skerry_monitor::{Action, Chan, Sink};
use skerry_urpc::formats::console::{End, Output, output};
use skerry_urpc::wire::{Body, Header, encode};
use skerry_urpc::{Message, RecvError, SendError, Transport};
use skerry_user::chan::{Chan as UserChan, PAGE_LAYOUT};
use skerry_user::{clock, log};

/// Messages for the console driver that wait for room; more lines are dropped, and counted.
const MAX_OUTPUT: usize = 512;

/// What lies behind a channel's number.
pub enum Port {
    /// Nothing.
    None,
    /// A channel in shared memory.
    Chan(UserChan),
    /// A link to another island.
    Link(Box<LinkPort>),
    /// The pump itself, as a client: what the monitor answers it.
    Own(VecDeque<Message>),
}

/// All ports.
pub struct Io {
    core: CoreId,
    /// By channel number.
    pub ports: Vec<Port>,
    /// What the monitor wants done.
    pub actions: VecDeque<Action>,
    /// The channel to the console driver.
    pub console: Option<UserChan>,
    waiting: VecDeque<Message>,
    /// The newest that were put into that channel, as many as it has slots.
    handed: VecDeque<Message>,
    dropped: u64,
}

impl Io {
    /// None yet.
    pub const fn new(core: CoreId) -> Self {
        Self {
            core,
            ports: Vec::new(),
            actions: VecDeque::new(),
            console: None,
            waiting: VecDeque::new(),
            handed: VecDeque::new(),
            dropped: 0,
        }
    }

    /// Puts a port behind a number.
    pub fn put(&mut self, chan: Chan, port: Port) {
        let index = usize::from(chan.0);
        while self.ports.len() <= index {
            self.ports.push(Port::None);
        }
        self.ports[index] = port;
    }

    /// The next message of a channel.
    #[inline(always)]
    pub fn recv(&mut self, chan: Chan) -> Result<Option<Message>, RecvError> {
        match self.ports.get_mut(usize::from(chan.0)) {
            Some(Port::Chan(port)) => {
                let found = port.try_recv();
                if let Ok(Some(_)) = found {
                    port.kick();
                }
                found
            }
            // A link's failure is for `poll_links` to find.
            Some(Port::Link(port)) => Ok(port.recv()),
            _ => Ok(None),
        }
    }

    /// Asks all peers to ring, or not to.
    pub fn arm(&mut self, on: bool) {
        for port in &mut self.ports {
            if let Port::Chan(chan) = port {
                if on { chan.arm_wake() } else { chan.disarm_wake() }
            }
        }
    }

    /// Whether output waits for room.
    pub fn has_backlog(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends one message to the console driver.
    pub fn say_to_console<B: Body>(&mut self, body: &B) {
        self.waiting.push_back(encode(&Header::default(), body));
    }

    /// The console driver has ended: lines go to the early console again, first of all those that it has not said it took. Some
    /// of them may come twice.
    #[cold]
    pub fn console_ended(&mut self) {
        let Some(console) = self.console.take() else { return };
        log::early_line(b"the console driver has ended");
        let taken = self.handed.len().saturating_sub(console.untaken());
        let mut line = Vec::new();
        for message in self.handed.drain(..).skip(taken).chain(self.waiting.drain(..)) {
            let Some(piece) = message.body::<Output>() else { continue };
            line.extend_from_slice(&piece.text[..usize::from(piece.len)]);
            if End::from_raw(piece.end) != End::More {
                log::early_line(&line);
                line.clear();
            }
        }
    }

    /// Writes a line.
    pub fn print(&mut self, line: &[u8]) {
        if self.console.is_none() {
            return log::early_line(line);
        }
        if self.waiting.len() >= MAX_OUTPUT {
            self.dropped += 1;
            return;
        }
        for piece in output(line, End::Line) {
            self.say_to_console(&piece);
        }
    }

    /// Writes a line of log: those of programs have a prefix, those of the monitors themselves get one.
    pub fn print_log(&mut self, core: CoreId, text: &str) {
        if text.starts_with('[') {
            return self.print(text.as_bytes());
        }
        let ms = clock::now_ns() / 1_000_000;
        let line = alloc::format!("[{:3}.{:03} {core} monitor] {text}", ms / 1000, ms % 1000);
        self.print(line.as_bytes());
    }

    /// Hands waiting output over, as far as there is room.
    pub fn flush_output(&mut self) {
        let Some(console) = &mut self.console else { return };
        let mut sent = false;
        while let Some(message) = self.waiting.front() {
            if console.try_send(message).is_err() {
                break;
            }
            if self.handed.len() == PAGE_LAYOUT.slots as usize {
                self.handed.pop_front();
            }
            self.handed.extend(self.waiting.pop_front());
            sent = true;
        }
        if sent {
            console.kick();
        }
        if self.waiting.is_empty() && self.dropped > 0 {
            let lines = core::mem::take(&mut self.dropped);
            self.print_log(self.core, &alloc::format!("{lines} lines were dropped here"));
        }
    }

    /// Whose monitor it is.
    pub const fn core(&self) -> CoreId {
        self.core
    }
}

impl Sink for Io {
    #[inline(always)]
    fn send(&mut self, chan: Chan, message: &Message) -> Result<(), SendError> {
        match self.ports.get_mut(usize::from(chan.0)) {
            Some(Port::Chan(port)) => {
                port.try_send(message)?;
                port.kick();
                Ok(())
            }
            Some(Port::Link(port)) => port.send(message),
            Some(Port::Own(queue)) => {
                queue.push_back(*message);
                Ok(())
            }
            _ => Err(SendError::Closed),
        }
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }
}
