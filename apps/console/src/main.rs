//! `console`: drives the serial console. Lines of several clients go out whole; what is typed goes to the shell.
#![no_std]
#![no_main]

extern crate alloc;

mod driver;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::poll_fn;
use core::pin::pin;
use core::task::{Poll, Waker};
use core::time::Duration;
use driver::Uart;
use skerry_abi::domain::{Purpose, slot};
use skerry_app_console::backlog::Backlog;
use skerry_app_console::edit::{Editor, Line as Entered};
use skerry_app_console::screen::{Pieces, Screen};
use skerry_skb::{CommandLine, Console, Store};
use skerry_urpc::formats::console::{End, Offer, Output, input};
use skerry_urpc::wire::{Header, encode};
use skerry_user::cap::Irq;
use skerry_user::chan::{AsyncChan, Chan, Peer};
use skerry_user::exec::Executor;
use skerry_user::interrupt::{Line, Trigger};
use skerry_user::logging::warn;
use skerry_user::lrpc::Rings;
use skerry_user::vspace::R;
use skerry_user::{Domain, Error, clock, log};

skerry_user::main!(main);

/// Event of the UART's line.
const STRUCK: u64 = skerry_user::spawn::CHANNEL_EVENT << 1;
/// How often the UART is looked at if it cannot interrupt; else only when it does.
const POLL: Duration = Duration::from_millis(4);
/// How long the transmitter may take nothing before what is to be written is dropped.
const PATIENCE: Duration = Duration::from_secs(2);

struct State {
    uart: Uart,
    editor: Editor,
    screen: Screen,
    backlog: Backlog,
    /// Clients that wait for room.
    clients: Vec<Waker>,
    /// Who serves the device, and has to know when the transmitter is full.
    server: Option<Waker>,
}

impl State {
    /// Lets `f` say what to write beside what is typed.
    fn write(&mut self, f: impl FnOnce(&mut Screen, &[u8], &mut Vec<u8>)) {
        let mut out = Vec::new();
        f(&mut self.screen, self.editor.typed(), &mut out);
        self.backlog.push(&out, clock::ticks());
        self.transmit();
        if !self.backlog.is_empty()
            && let Some(server) = self.server.take()
        {
            self.uart.interrupt_on(true, true);
            server.wake();
        }
    }

    /// Writes the driver's own log lines, like any other's.
    fn own_lines(&mut self) {
        let dropped = self.backlog.dropped();
        if dropped > 0 {
            warn!("the UART took nothing for {} s: {dropped} bytes are lost", PATIENCE.as_secs());
        }
        while let Some((_, text)) = log::drain() {
            self.write(|screen, typed, out| screen.line(text.as_bytes(), End::Line, typed, out));
        }
    }

    /// Gives the transmitter what it has room for.
    fn transmit(&mut self) {
        let Self { uart, backlog, .. } = self;
        backlog.send(clock::ticks(), clock::span(PATIENCE), |bytes| uart.write(bytes));
        if backlog.has_room() {
            self.clients.drain(..).for_each(Waker::wake);
        }
    }

    /// A byte was typed: writes what is to be seen of it; the line that it ends.
    fn typed(&mut self, byte: u8) -> Option<Entered> {
        let before = self.editor.typed().to_vec();
        let (mut out, mut echo) = (Vec::new(), Vec::new());
        let entered = self.editor.feed(byte, &mut echo);
        if !echo.is_empty() {
            self.screen.typing(&before, &mut out);
            out.extend_from_slice(&echo);
        }
        self.backlog.push(&out, clock::ticks());
        if entered.as_ref().is_some_and(|line| !line.machine) {
            self.screen.entered();
        }
        entered
    }
}

fn main(mut domain: Domain) {
    let console = fact(&mut domain);
    // From now on the device is this domain's alone.
    log::queue(true);
    let uart = Uart::open(&mut domain, console.as_ref()).unwrap_or_else(|error| {
        warn!("the UART cannot be used: {error}; no input");
        Uart::Early
    });
    let line = match console.as_ref().and_then(|console| console.line) {
        Some(number) => bind(&mut domain, &uart, number).inspect_err(|e| warn!("line {number}: {e}")).ok(),
        None => None,
    };
    if line.is_none() {
        warn!("no interrupts from the UART: it is looked at every {} ms", POLL.as_millis());
    }
    let exec = Executor::new();
    let state = Rc::new(RefCell::new(State {
        uart,
        editor: Editor::default(),
        screen: Screen::default(),
        backlog: Backlog::default(),
        clients: Vec::new(),
        server: None,
    }));
    state.borrow_mut().own_lines();
    let mut shell = None;
    for peer in [Peer::Monitor, Peer::Shell] {
        let Some(chan) = Chan::listed(&mut domain, peer) else { continue };
        let chan = Rc::new(AsyncChan::new(chan, &exec));
        if peer == Peer::Shell {
            shell = Some(chan.clone());
        }
        spawn(&exec, serve(chan, state.clone(), peer));
    }
    spawn(&exec, device(exec.clone(), state, shell, line));
    exec.run();
}

fn spawn(exec: &Executor, task: impl Future<Output = ()> + 'static) {
    if exec.spawn(task).is_err() {
        warn!("too many tasks");
    }
}

/// The console, as the facts have it.
fn fact(domain: &mut Domain) -> Option<Console> {
    let cmdline = CommandLine::parse(domain.info.args().as_bytes()).ok()?;
    let cap = domain.info.caps_for(Purpose::Facts).next()?;
    let view = domain.map(cap.cptr, cap.len, R).ok()?;
    let mut bytes = alloc::vec![0; cap.detail.min(cap.len) as usize];
    view.read(0, &mut bytes);
    let mut store = Store::default();
    store.read_from(&bytes).ok()?;
    store.island(cmdline.island).console()
}

/// Has the UART's line delivered.
fn bind(domain: &mut Domain, uart: &Uart, number: u32) -> Result<Line, Error> {
    // Quiet before it is bound: were the line up already, its edge would never be seen.
    uart.interrupt_on(false, false);
    let mut rings = Rings::new(domain)?;
    let line = Line::bind(domain, &mut rings, Irq(slot::IRQS), (number, Trigger::Wire), STRUCK)?;
    uart.interrupt_on(true, false);
    Ok(line)
}

/// Writes what a client sends.
async fn serve(chan: Rc<AsyncChan>, state: Rc<RefCell<State>>, peer: Peer) {
    let mut pieces = Pieces::default();
    while let Ok(message) = chan.recv().await {
        if let Some(piece) = message.body::<Output>() {
            if let Some((line, end)) = pieces.take(&piece) {
                state.borrow_mut().write(|screen, typed, out| screen.line(&line, end, typed, out));
            }
        } else if let Some(offer) = message.body::<Offer>()
            && peer == Peer::Monitor
        {
            state.borrow_mut().write(|screen, typed, out| screen.offer(offer.on != 0, typed, out));
        }
        poll_fn(|cx| {
            let mut state = state.borrow_mut();
            if state.backlog.has_room() {
                return Poll::Ready(());
            }
            state.clients.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Serves the device: reads what is typed, writes what is left to be written.
async fn device(
    exec: Executor,
    state: Rc<RefCell<State>>,
    shell: Option<Rc<AsyncChan>>,
    mut line: Option<Line>,
) {
    loop {
        news(&exec, &state, line.is_none()).await;
        if let Some(line) = &mut line {
            line.take();
        }
        // Before it is read empty, so that what comes after interrupts again.
        state.borrow().uart.clear_interrupt();
        loop {
            let Some(byte) = state.borrow().uart.read() else { break };
            let entered = state.borrow_mut().typed(byte);
            if let (Some(line), Some(shell)) = (entered, &shell) {
                for piece in input(&line.text, line.machine) {
                    // The shell may be gone; then nobody reads what is typed.
                    let _gone = shell.send(&encode(&Header::default(), &piece)).await;
                }
            }
        }
        let mut state = state.borrow_mut();
        state.transmit();
        state.own_lines();
        if let Some(line) = &line {
            state.uart.interrupt_on(true, !state.backlog.is_empty());
            line.ack();
        }
    }
}

/// Waits until the device interrupts, or is to be looked at without.
async fn news(exec: &Executor, state: &RefCell<State>, polled: bool) {
    let poll = polled.then(|| clock::ticks() + clock::span(POLL));
    poll_fn(|cx| {
        let mut state = state.borrow_mut();
        state.server = Some(cx.waker().clone());
        let full = state.backlog.deadline(clock::span(PATIENCE));
        match full.into_iter().chain(poll).min() {
            Some(until) => pin!(exec.event_until(STRUCK, until)).poll(cx),
            None => pin!(exec.event(STRUCK)).poll(cx),
        }
        .map(drop)
    })
    .await;
}
