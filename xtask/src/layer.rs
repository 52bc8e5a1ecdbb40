//! Running one layer of tests: its output is shown, its results counted, its time bounded.

use crate::shell::{Result, progress};
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Results of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u32,
    /// Tests that failed.
    pub failed: u32,
    /// Tests that were not run.
    pub skipped: u32,
}

impl Counts {
    /// One failure, for a layer that broke.
    pub const BROKEN: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// Adds another layer's.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Counts what a line of output says, if it is a summary by libtest (`test result: …`) or by nextest
    /// (`Summary [ 3.4s] …`).
    fn line(&mut self, line: &str) {
        let line = strip_colours(line);
        let text = line.trim_start();
        if !text.starts_with("test result:") && !text.starts_with("Summary [") {
            return;
        }
        let words: Vec<&str> =
            text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u32>() else { continue };
            match pair[1] {
                "passed" => self.passed += number,
                "failed" | "timed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 { write!(f, ", {} skipped", self.skipped) } else { Ok(()) }
    }
}

fn strip_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain += before;
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

/// Runs a layer. One that breaks, or does not end within `budget`, counts as a failed test.
pub fn run(name: &str, command: &mut Command, budget: Duration) -> Result<Counts> {
    progress(format!("layer {name}, at most {} s", budget.as_secs()));
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let counts = Arc::new(Mutex::new(Counts::default()));
    let readers = [
        child.stdout.take().map(|pipe| follow(pipe, &counts)),
        child.stderr.take().map(|pipe| follow(pipe, &counts)),
    ];
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if start.elapsed() >= budget => break None,
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    if status.is_none() {
        // The group: cargo, the tests, and whatever they started.
        kill_group(child.id());
        child.wait()?;
    }
    for reader in readers.into_iter().flatten() {
        // A reader that panicked has counted too little; the status below still tells.
        let _ = reader.join();
    }
    let mut counts = *counts.lock().unwrap_or_else(PoisonError::into_inner);
    match status {
        None => {
            progress(format!("layer {name} did not end within {} s", budget.as_secs()));
            counts.failed += 1;
        }
        Some(status) if !status.success() && counts.failed == 0 => {
            progress(format!("layer {name} broke ({status})"));
            counts.failed += 1;
        }
        Some(_) => {}
    }
    progress(format!("layer {name}: {counts}, {:.0} s", start.elapsed().as_secs_f32()));
    Ok(counts)
}

/// Shows and counts a pipe's lines on a thread of its own.
fn follow(pipe: impl Read + Send + 'static, counts: &Arc<Mutex<Counts>>) -> std::thread::JoinHandle<()> {
    let counts = counts.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(std::io::Result::ok) {
            let line = String::from_utf8_lossy(&line);
            eprintln!("{line}");
            counts.lock().unwrap_or_else(PoisonError::into_inner).line(&line);
        }
    })
}

fn kill_group(leader: u32) {
    let pid = i32::try_from(leader).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // Fails only if all of them are gone.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_summaries_are_counted() {
        let mut counts = Counts::default();
        counts.line("test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 5 filtered out; finished in 0.1s");
        assert_eq!(counts, Counts { passed: 3, failed: 1, skipped: 2 });
        counts.line("\x1b[32;1m     Summary\x1b[0m [   3.469s] \x1b[1m12\x1b[0m tests run: \x1b[1m9\x1b[0m passed, \x1b[1m2\x1b[0m failed, \x1b[1m1\x1b[0m timed out, 4 skipped");
        assert_eq!(counts, Counts { passed: 12, failed: 4, skipped: 2 });
        counts.line("test some::test ... 7 passed");
        assert_eq!(counts.to_string(), "12 passed, 4 failed, 2 skipped");
    }

    #[test]
    fn a_hung_layer_fails() {
        let counts = run("hung", Command::new("sleep").arg("600"), Duration::from_millis(200)).unwrap();
        assert_eq!(counts, Counts::BROKEN);
    }

    #[test]
    fn a_broken_layer_fails_once() {
        let counts = run("broken", &mut Command::new("false"), Duration::from_secs(10)).unwrap();
        assert_eq!(counts, Counts::BROKEN);
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo 'test result: FAILED. 1 passed; 2 failed;'; exit 101"]);
        assert_eq!(run("failing", &mut failing, Duration::from_secs(10)).unwrap().failed, 2);
    }
}
