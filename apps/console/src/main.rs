//! `console`: drives the serial console. Lines of several clients go out whole; what is typed goes to the shell.
#![no_std]
#![no_main]

extern crate alloc;

mod driver;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;
use driver::Uart;
use skerry_abi::domain::{Purpose, slot};
use skerry_app_console::edit::Editor;
use skerry_app_console::screen::{Pieces, Screen};
use skerry_skb::{CommandLine, Console, Store};
use skerry_urpc::formats::console::{Offer, Output, input};
use skerry_urpc::wire::{Header, encode};
use skerry_user::cap::{Irq, SELF};
use skerry_user::chan::{AsyncChan, Chan, Peer};
use skerry_user::exec::Executor;
use skerry_user::logging::warn;
use skerry_user::vspace::R;
use skerry_user::{Domain, clock};

skerry_user::main!(main);

/// Event of the UART's line.
const RECEIVED: u64 = skerry_user::spawn::CHANNEL_EVENT << 1;
/// How often the UART is looked at if it cannot interrupt; else only when it does.
const POLL: Duration = Duration::from_millis(4);

struct State {
    uart: Uart,
    editor: Editor,
    screen: Screen,
}

impl State {
    /// Lets `f` say what to write beside what is typed.
    fn write(&mut self, f: impl FnOnce(&mut Screen, &[u8], &mut Vec<u8>)) {
        let mut out = Vec::new();
        f(&mut self.screen, self.editor.typed(), &mut out);
        self.uart.write(&out);
    }
}

fn main(mut domain: Domain) {
    let console = fact(&mut domain);
    let uart = Uart::open(&mut domain, console.as_ref()).unwrap_or_else(|error| {
        warn!("the UART cannot be used: {error}; no input");
        Uart::Early
    });
    let line = bind(&mut domain, &uart, console.as_ref());
    if line.is_none() {
        warn!("no interrupts from the UART: it is looked at every {} ms", POLL.as_millis());
    }
    let exec = Executor::new();
    let state = Rc::new(RefCell::new(State { uart, editor: Editor::default(), screen: Screen::default() }));
    let mut shell = None;
    for peer in [Peer::Monitor, Peer::Shell] {
        let Some(chan) = Chan::listed(&mut domain, peer) else { continue };
        let chan = Rc::new(AsyncChan::new(chan, &exec));
        if peer == Peer::Shell {
            shell = Some(chan.clone());
        }
        spawn(&exec, serve(chan, state.clone(), peer));
    }
    spawn(&exec, receive(exec.clone(), state, shell, line));
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

/// Has the UART's line delivered; which it is, if that worked.
fn bind(domain: &mut Domain, uart: &Uart, console: Option<&Console>) -> Option<u32> {
    let line = console?.line?;
    // Quiet before it is bound: were the line up already, its edge would never be seen.
    uart.interrupt_on_receive(false);
    let endpoint = domain.mem.endpoint(SELF, RECEIVED).ok()?;
    Irq(slot::IRQS).bind(line, endpoint).ok()?;
    uart.interrupt_on_receive(true);
    Some(line)
}

/// Writes what a client sends.
async fn serve(chan: Rc<AsyncChan>, state: Rc<RefCell<State>>, peer: Peer) {
    let mut pieces = Pieces::default();
    while let Ok(message) = chan.recv().await {
        let mut state = state.borrow_mut();
        if let Some(piece) = message.body::<Output>() {
            if let Some((line, end)) = pieces.take(&piece) {
                state.write(|screen, typed, out| screen.line(&line, end, typed, out));
            }
        } else if let Some(offer) = message.body::<Offer>()
            && peer == Peer::Monitor
        {
            state.write(|screen, typed, out| screen.offer(offer.on != 0, typed, out));
        }
    }
}

/// Reads what is typed.
async fn receive(exec: Executor, state: Rc<RefCell<State>>, shell: Option<Rc<AsyncChan>>, irq: Option<u32>) {
    loop {
        match irq {
            Some(_) => exec.event(RECEIVED).await,
            None => exec.event_until(RECEIVED, clock::ticks() + clock::span(POLL)).await,
        };
        // Before it is read empty, so that what comes after interrupts again.
        state.borrow().uart.clear_interrupt();
        loop {
            let Some(byte) = state.borrow().uart.read() else { break };
            let entered = {
                let mut state = state.borrow_mut();
                let mut out = Vec::new();
                let state = &mut *state;
                let before = state.editor.typed().to_vec();
                let mut echo = Vec::new();
                let entered = state.editor.feed(byte, &mut echo);
                if !echo.is_empty() {
                    state.screen.typing(&before, &mut out);
                    out.extend_from_slice(&echo);
                }
                state.uart.write(&out);
                if entered.as_ref().is_some_and(|line| !line.machine) {
                    state.screen.entered();
                }
                entered
            };
            if let (Some(line), Some(shell)) = (entered, &shell) {
                for piece in input(&line.text, line.machine) {
                    // The shell may be gone; then nobody reads what is typed.
                    let _gone = shell.send(&encode(&Header::default(), &piece)).await;
                }
            }
        }
        if let Some(line) = irq {
            // It was bound, and nobody else can unbind it.
            let _refused = Irq(slot::IRQS).ack(line);
        }
    }
}
