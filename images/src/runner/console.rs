//! What an island prints. Lines that begin with 0x02 are output of a machine request, one that begins with 0x03 ends
//! it; all others are for people.

use super::Reply;
use std::io::{Read, Write as _};
use std::process::ChildStdout;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// First byte of a line of a request's output.
const OUTPUT: u8 = 2;
/// First byte of the line that ends a request's output, with its exit status.
const STATUS: u8 = 3;

/// An island's console.
pub struct Console {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    partial: Vec<u8>,
    output: Vec<String>,
    requests: usize,
    replies: Vec<Reply>,
    ended: bool,
}

impl Console {
    /// Reads `pipe` to its end on a thread of its own, and shows it on `screen`.
    pub fn follow(mut pipe: ChildStdout, name: &str, screen: &Arc<Screen>) -> Arc<Self> {
        let console = Arc::new(Self { state: Mutex::default(), changed: Condvar::new() });
        let (ours, screen, name) = (console.clone(), screen.clone(), name.to_string());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                ours.take(&buffer[..count], &name, &screen);
            }
            ours.lock().ended = true;
            ours.changed.notify_all();
        });
        console
    }

    fn take(&self, bytes: &[u8], name: &str, screen: &Screen) {
        let mut state = self.lock();
        for &byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut state.partial);
                    state.line(&line, name, screen);
                }
                b'\r' => {}
                // The log of another core may have been written half when an answer began: it ends here.
                OUTPUT | STATUS if !state.partial.is_empty() => {
                    let line = std::mem::replace(&mut state.partial, vec![byte]);
                    state.line(&line, name, screen);
                }
                _ => state.partial.push(byte),
            }
        }
        if !matches!(state.partial.first(), None | Some(&OUTPUT | &STATUS)) {
            screen.partial(name, &String::from_utf8_lossy(&state.partial));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for a line that contains `text`, past or future.
    pub fn wait_line(&self, text: &str, deadline: Instant) -> Result<String, String> {
        let mut seen = 0;
        self.wait(deadline, |state| {
            let found = state.lines[seen..].iter().find(|line| line.contains(text)).cloned();
            seen = state.lines.len();
            found
        })
    }

    /// A number to wait for the next request's reply with. Requests are answered in order, so that a reply that comes
    /// after its request was given up is not taken for the next one's.
    pub fn begin_request(&self) -> usize {
        let mut state = self.lock();
        state.requests += 1;
        state.requests - 1
    }

    /// Waits for the reply to a request.
    pub fn wait_reply(&self, request: usize, deadline: Instant) -> Result<Reply, String> {
        self.wait(deadline, |state| state.replies.get(request).cloned())
    }

    /// All lines, and the unfinished one.
    pub fn text(&self) -> String {
        self.tail(usize::MAX)
    }

    /// The last `count` lines.
    pub fn tail(&self, count: usize) -> String {
        let state = self.lock();
        let mut text = state.lines[state.lines.len().saturating_sub(count)..].join("\n");
        if !state.partial.is_empty() {
            text += "\n";
            text += &String::from_utf8_lossy(&state.partial);
        }
        text
    }

    fn wait<T>(&self, deadline: Instant, mut found: impl FnMut(&State) -> Option<T>) -> Result<T, String> {
        let mut state = self.lock();
        loop {
            if let Some(found) = found(&state) {
                return Ok(found);
            }
            if state.ended {
                return Err("its QEMU ended".into());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("time is up".into());
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn line(&mut self, line: &[u8], name: &str, screen: &Screen) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match line {
            [OUTPUT, rest @ ..] => self.output.push(text(rest)),
            [STATUS, rest @ ..] => {
                // What follows is the other half of such a line.
                let rest = text(rest);
                let word = rest.trim_start();
                let end = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
                let status = word[..end].parse().unwrap_or(-1);
                self.replies.push(Reply { lines: std::mem::take(&mut self.output), status });
            }
            _ => {
                self.lines.push(text(line));
                screen.line(name, &text(line));
            }
        }
    }
}

/// Standard output, shared by all consoles: whole lines, each behind its island's name, and prompts as they come.
pub struct Screen {
    show: bool,
    open: Mutex<Option<Open>>,
}

/// An unfinished line on the screen.
struct Open {
    name: String,
    shown: String,
}

impl Screen {
    /// A screen, or none.
    pub fn new(show: bool) -> Self {
        Self { show, open: Mutex::new(None) }
    }

    /// Shows a finished line.
    pub fn line(&self, name: &str, text: &str) {
        self.put(name, text, true);
    }

    fn partial(&self, name: &str, text: &str) {
        self.put(name, text, false);
    }

    fn put(&self, name: &str, text: &str, finished: bool) {
        if !self.show {
            return;
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stdout().lock();
        let rest = open.as_ref().filter(|o| o.name == name).and_then(|o| text.strip_prefix(&o.shown));
        // Standard output that is gone is no reason to stop the fleet.
        let _ = match (rest, &*open) {
            (Some(rest), _) => write!(out, "{rest}"),
            (None, Some(o)) if o.name == name => write!(out, "\r[{name}] {text}\x1b[K"),
            (None, Some(_)) => write!(out, "\n[{name}] {text}"),
            (None, None) => write!(out, "[{name}] {text}"),
        };
        let _ = if finished { writeln!(out) } else { out.flush() };
        *open = (!finished).then(|| Open { name: name.into(), shown: text.into() });
    }
}
