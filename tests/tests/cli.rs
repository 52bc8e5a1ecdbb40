//! `cargo xtask` as people and scripts use it: what it prints where, how it ends, and what it leaves behind.

use skerry_tests::HANG;
use skerry_tests::cli::{Done, children, interrupt, is_running, run, run_with_path, start, wait_until};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::symlink;
use std::process::Child;

/// The smallest fleet.
const SMALL: [&str; 5] = ["run", "--x86-cores", "1", "--arm-cores", "0"];

fn small(more: &[&str]) -> Option<Done> {
    run(&[&SMALL[..], more].concat())
}

#[test]
fn exec_prints_only_what_the_commands_print() {
    let Some(done) = small(&["--timeout", "90", "--exec", "cores; islands"]) else { return };
    assert!(done.success, "{done:?}");
    let lines: Vec<&str> = done.out.lines().collect();
    assert_eq!(lines[0], "core isa island node state channels", "{done:?}");
    assert!(lines[1].starts_with("0.0 x86_64 0 0 up "), "{done:?}");
    assert_eq!(lines[2..], ["island isa state epoch cores up links", "0 x86_64 up 1 1 1 -"], "{done:?}");
}

#[test]
fn exec_fails_with_the_first_command_that_fails() {
    let Some(done) = small(&["--timeout", "90", "--exec", "nonsense; cores"]) else { return };
    assert!(!done.success, "{done:?}");
    assert_eq!(done.out, "nonsense: unknown command; `help` lists the commands\n", "and nothing after it");
    assert_eq!(done.complaint(), "xtask: `nonsense` failed with status 2");
}

#[test]
fn time_runs_out() {
    let Some(done) = small(&["--timeout", "0", "--exec", "cores"]) else { return };
    assert!(!done.success && done.out.is_empty(), "{done:?}");
    assert!(done.err.contains("time is up"), "{done:?}");
    let Some(done) = small(&["--timeout", "1"]) else { return };
    assert!(!done.success, "{done:?}");
    assert_eq!(done.complaint(), "xtask: time is up");
}

#[test]
fn bad_options_are_refused_in_one_line() {
    let island = "[[island]]\nboard = \"qemu-q35\"\ncores = 1\n";
    let two = island.repeat(2);
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let board = file("board.toml", "[[island]]\nboard = \"pdp-11\"\ncores = 1\n");
    let itself = file("itself.toml", &format!("{two}[[link]]\nbetween = [1, 1]\n"));
    let link = "[[link]]\nbetween = [0, 1]\n";
    let twice = file("twice.toml", &format!("{two}{link}{link}"));
    let tiny = file("tiny.toml", &format!("{two}{link}size = \"8K\"\n"));
    let absent = dir.path().join("absent.toml").display().to_string();
    let pair = |x86, arm| vec!["run", "--x86-cores", x86, "--arm-cores", arm];
    for (args, words) in [
        (pair("0", "0"), "at least one"),
        (pair("300", "1"), "at most 255"),
        (pair("many", "1"), "many"),
        (vec!["run", "--fleet", &board], "unknown board \"pdp-11\""),
        (vec!["run", "--fleet", &itself], "from island 1 to itself"),
        (vec!["run", "--fleet", &twice], "named twice"),
        (vec!["run", "--fleet", &tiny], "no room for the channels; at least 16K"),
        (vec!["run", "--fleet", &absent], "absent.toml: No such file"),
        (vec!["run", "--fleet", &tiny, "--arm-cores", "1"], "the file says"),
        (vec!["run", "--kvm", "maybe"], "auto, on or off"),
        (vec!["run", "--turbo"], "--turbo"),
        (vec!["sail"], "unknown command `sail`; `cargo xtask help`"),
    ] {
        let Some(done) = run(&args) else { return };
        assert!(!done.success && done.out.is_empty(), "{args:?}: {done:?}");
        assert_eq!(done.err.lines().count(), 1, "{args:?}: {}", done.err);
        assert!(done.complaint().contains(words), "{args:?}: {} lacks {words:?}", done.err);
    }
}

#[test]
fn every_command_explains_itself() {
    for command in ["run", "build", "test", "check", "bench", "doctor", "help"] {
        let Some(done) = run(&[command, "--help"]) else { return };
        assert!(done.success && done.out.starts_with(&format!("cargo xtask {command}")), "{done:?}");
    }
}

/// Without QEMU, and without a packager that could get it: what is missing, and how to get it.
#[test]
fn a_missing_qemu_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in ["rustc", "rustup", "cargo"] {
        let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
        if let Some(found) = found {
            symlink(found, dir.path().join(program)).expect("a link");
        }
    }
    let Some(done) = run_with_path(dir.path(), &[&SMALL[..], &["--exec", "cores"]].concat()) else { return };
    assert!(!done.success && done.out.is_empty(), "{done:?}");
    assert!(done.err.contains("qemu-system-x86_64 is not installed"), "{done:?}");
    assert!(done.err.contains("qemu-system-x86"), "{done:?}");
    let Some(done) = run_with_path(dir.path(), &["doctor"]) else { return };
    assert!(!done.success && done.out.contains("MISSING  QEMU for x86_64"), "{done:?}");
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let Some(child) = start(&["run", "--x86-cores", "1", "--arm-cores", "1", "--timeout", "120"]) else {
        return;
    };
    interrupted(child, "skerry: system up");
}

#[test]
fn an_interrupt_ends_commands_too() {
    let exec = ["--timeout", "120", "--exec", "ping 0.0 0.0 1000000; ping 0.0 0.0 1000000"];
    let Some(child) = start(&[&SMALL[..], &exec].concat()) else { return };
    interrupted(child, "booting fleet");
}

/// Waits for `line` on either output, interrupts, and sees everything end.
fn interrupted(mut child: Child, line: &str) {
    let (send, lines) = std::sync::mpsc::channel();
    let out: Box<dyn std::io::Read + Send> = Box::new(child.stdout.take().expect("a pipe"));
    let err: Box<dyn std::io::Read + Send> = Box::new(child.stderr.take().expect("a pipe"));
    for pipe in [out, err] {
        let send = send.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe.take(1 << 20)).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
    }
    loop {
        let next = lines.recv_timeout(HANG).unwrap_or_else(|_| panic!("no line `{line}`"));
        if next.contains(line) {
            break;
        }
    }
    wait_until("QEMU", HANG, || !children(&child).is_empty());
    let islands = children(&child);
    interrupt(&child);
    wait_until("the end of xtask", HANG, || child.try_wait().expect("a child").is_some());
    wait_until("the end of QEMU", HANG, || !islands.iter().any(|&id| is_running(id)));
}
