//! The runner, without a guest: a shell script stands in for QEMU, so that what the runner itself does is seen.

use skerry_images::fleet::Fleet;
use skerry_images::runner::{Options, System};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Says that it is up, shows its arguments, and answers machine requests.
const GUEST: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "QEMU emulator version ${VERSION:-10.0.2}"; exit; fi
echo "args: $*"
echo "skerry: system up, 2 cores on 2 islands"
while read -r line; do
    case "$line" in
        *exit) exit 0 ;;
        *hang) ;;
        *fail) printf '\002no such thing\n\0033\n' ;;
        *) printf 'a log line\n\002got: %s\n\002second\n\0030\n' "${line#?}" ;;
    esac
done
"#;

struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        Self::with_version("10.0.2")
    }

    fn with_version(version: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["bundle.tar", "qemu-q35", "qemu-virt"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        for isa in ["x86_64", "aarch64"] {
            let program = dir.path().join(format!("qemu-system-{isa}"));
            fs::write(&program, GUEST.replace("${VERSION:-10.0.2}", version)).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { dir }
    }

    fn options(&self) -> Options {
        let mut options = Options::new(self.dir.path());
        options.path = self.dir.path().into();
        options
    }

    fn boot(&self) -> System {
        System::boot(&Fleet::pair(1, 1).unwrap(), &self.options()).unwrap()
    }
}

fn message<T>(result: skerry_images::Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn requests_are_answered_and_logs_are_kept_apart() {
    let stage = Stage::new();
    let system = stage.boot();
    assert_eq!(system.wait_up(SOON).unwrap(), "skerry: system up, 2 cores on 2 islands");
    let reply = system.exec(1, "cores", SOON).unwrap();
    assert_eq!((reply.lines.as_slice(), reply.status), (&["got: cores".to_string(), "second".into()][..], 0));
    assert_eq!(system.exec(1, "fail", SOON).unwrap().status, 3);
    assert!(system.console_log(1).contains("a log line"));
    assert!(!system.console_log(1).contains("second"));
}

#[test]
fn each_island_is_told_who_it_is() {
    let stage = Stage::new();
    let system = stage.boot();
    let args = system.wait_line(1, "args:", SOON).unwrap();
    assert!(args.contains("island=1 bound_ms=2000 fleet=1+1 epoch=1 links=16:0"), "{args}");
    assert!(args.contains("ivshmem-plain,memdev=window0,bus=pcie.0,addr=0x10"), "{args}");
    assert!(args.contains("virt,gic-version=3"), "{args}");
}

#[test]
fn a_window_is_reached_by_its_path() {
    let stage = Stage::new();
    let system = stage.boot();
    let args = system.wait_line(0, "args:", SOON).unwrap();
    let path = args.split("mem-path=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_string();
    let mut other = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    assert_eq!(other.metadata().unwrap().len(), 16 << 20);
    other.write_all(b"hello").unwrap();
    let mut seen = [0; 5];
    system.window(0).unwrap().read_exact_at(&mut seen, 0).unwrap();
    assert_eq!(&seen, b"hello");
}

#[test]
fn a_hang_is_an_error_that_shows_the_consoles() {
    let stage = Stage::new();
    let system = stage.boot();
    system.wait_up(SOON).unwrap();
    let text = message(system.exec(0, "hang", Duration::from_millis(200)));
    assert!(text.contains("time is up") && text.contains("console of island x86"), "{text}");
}

#[test]
fn a_killed_island_is_noticed_and_the_next_one_takes_over() {
    let stage = Stage::new();
    let system = stage.boot();
    system.wait_up(SOON).unwrap();
    system.kill(0).unwrap();
    assert!(!system.alive(0) && system.alive(1));
    assert_eq!(system.first_alive(), Some(1));
    assert_eq!(system.powered_off(), None, "killed is not powered off");
    assert!(message(system.exec(0, "cores", SOON)).contains("island 0"));
    assert_eq!(system.exec(1, "cores", SOON).unwrap().status, 0);
}

#[test]
fn power_off_is_told_from_death() {
    let stage = Stage::new();
    let system = stage.boot();
    let text = message(system.exec(1, "exit", SOON));
    assert!(text.contains("QEMU ended") || text.contains("console"), "{text}");
    assert!(system.wait_end(1, SOON).unwrap().success());
    assert!(message(system.wait_end(0, Duration::ZERO)).contains("island 0 still runs"));
    assert_eq!(system.powered_off(), Some(1));
}

#[test]
fn a_stopped_island_answers_once_it_is_continued() {
    let stage = Stage::new();
    let system = stage.boot();
    system.wait_up(SOON).unwrap();
    system.stop(0).unwrap();
    assert!(system.alive(0));
    assert!(system.exec(0, "cores", Duration::from_millis(200)).is_err());
    system.cont(0).unwrap();
    assert_eq!(system.exec(0, "islands", SOON).unwrap().lines[0], "got: islands");
}

#[test]
fn nothing_outlives_the_system() {
    let stage = Stage::new();
    let system = stage.boot();
    let pids = system.process_ids();
    assert_eq!(pids.len(), 2);
    drop(system);
    assert!(pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
}

#[test]
fn absent_islands_are_not_started() {
    let stage = Stage::new();
    let mut options = stage.options();
    options.absent = vec![1];
    let system = System::boot(&Fleet::pair(1, 1).unwrap(), &options).unwrap();
    system.wait_up(SOON).unwrap();
    assert!(!system.alive(1));
    assert!(message(system.kill(1)).contains("island 1 was not started"));
}

#[test]
fn what_is_missing_is_named() {
    let fleet = Fleet::pair(1, 0).unwrap();
    let boot = |options: &Options| message(System::boot(&fleet, options));
    let stage = Stage::new();
    let mut options = stage.options();
    options.path = "/nonexistent".into();
    assert!(boot(&options).contains("qemu-system-x86_64 is not installed; `cargo xtask doctor`"));
    fs::remove_file(stage.dir.path().join("bundle.tar")).unwrap();
    assert!(boot(&stage.options()).contains("bundle.tar"));
    assert!(boot(&Stage::with_version("6.1.0").options()).contains("6.1 is too old: 7.2 or newer"));
    assert!(boot(&Stage::with_version("nothing").options()).contains("no version"));
}
