//! What an island prints. Lines that begin with 0x02 are output of a machine request, one that begins with 0x03 ends
//! it; all others are for people.

use super::Reply;
use std::io::{IsTerminal as _, Read, Write};
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
            ours.end(&name, &screen);
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

    /// Nothing more comes: what stands in the last line is all of it.
    fn end(&self, name: &str, screen: &Screen) {
        let mut state = self.lock();
        state.ended = true;
        let line = std::mem::take(&mut state.partial);
        if !line.is_empty() {
            state.line(&line, name, screen);
        }
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

/// Where all consoles are shown: whole lines, each behind its island's name. On a terminal prompts are shown as they
/// come, and shown again when a line of another island came between; elsewhere a line is written once, when it is whole.
pub struct Screen {
    /// Nowhere if `None`.
    out: Mutex<Option<Shown>>,
    terminal: bool,
}

struct Shown {
    out: Box<dyn Write + Send>,
    open: Option<Open>,
}

/// An unfinished line on the screen.
struct Open {
    name: String,
    shown: String,
}

impl Screen {
    /// Standard output, or nothing.
    pub fn new(show: bool) -> Self {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        if show { Self::on(stdout, terminal) } else { Self { out: Mutex::new(None), terminal } }
    }

    fn on(out: impl Write + Send + 'static, terminal: bool) -> Self {
        Self { out: Mutex::new(Some(Shown { out: Box::new(out), open: None })), terminal }
    }

    /// Shows a finished line.
    pub fn line(&self, name: &str, text: &str) {
        self.put(name, text, true);
    }

    fn partial(&self, name: &str, text: &str) {
        if self.terminal {
            self.put(name, text, false);
        }
    }

    fn put(&self, name: &str, text: &str, finished: bool) {
        let mut shown = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Shown { out, open }) = shown.as_mut() else { return };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is looked at while it is written.
    #[derive(Clone, Default)]
    struct Sheet(Arc<Mutex<Vec<u8>>>);

    impl Write for Sheet {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is shown of lines that two islands write piece by piece.
    fn shown(terminal: bool) -> String {
        let sheet = Sheet::default();
        let screen = Screen::on(sheet.clone(), terminal);
        let console = || Console { state: Mutex::default(), changed: Condvar::new() };
        let (a, b) = (console(), console());
        for (console, name, bytes) in
            [(&a, "a", "one\ntw"), (&b, "b", "thr"), (&a, "a", "o\n"), (&b, "b", "ee\n"), (&a, "a", "> ")]
        {
            console.take(bytes.as_bytes(), name, &screen);
        }
        a.end("a", &screen);
        let bytes = sheet.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_written_once_where_nothing_can_be_taken_back() {
        assert_eq!(shown(false), "[a] one\n[a] two\n[b] three\n[a] > \n");
    }

    #[test]
    fn a_terminal_shows_what_is_unfinished() {
        assert_eq!(shown(true), "[a] one\n[a] tw\n[b] thr\n[a] two\n[b] three\n[a] > \n");
    }
}
