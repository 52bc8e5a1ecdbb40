//! Invocations of garbage in a guest: the CPU driver does not panic, and others go on.

use super::{CORE, others_go_on};
use skerry_tests::tables::check_exit;
use skerry_tests::{HANG, boot_pair};
use std::time::Duration;

/// Invocations; and where there is time for the long version.
const CALLS: (u64, u64) = (50_000, 1_000_000);
/// After this long for each thousand of them, it hangs.
const PATIENCE: Duration = Duration::from_secs(5);

fn fuzz(x86: u32, arm: u32) {
    let Some(system) = boot_pair(x86, arm) else { return };
    let calls = if std::env::var_os("SKERRY_TEST_FULL").is_some() { CALLS.1 } else { CALLS.0 };
    let command = format!("run {CORE} RAM=4M attack fuzz {calls} 1");
    let patience = HANG + PATIENCE * (calls / 1000) as u32;
    let reply = system.exec(0, &command, patience).unwrap_or_else(|cause| panic!("{cause}"));
    assert_eq!(reply.status, 0, "{reply:?}");
    let figure = |name: &str| {
        let line =
            reply.lines.iter().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{reply:?}"));
        line.split(' ').nth(1).and_then(|value| value.parse::<u64>().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    eprintln!("{}", reply.lines.join("\n"));
    assert!(figure("fuzz.calls") >= calls);
    // Garbage that is never taken goes no further than the first check.
    assert!(figure("fuzz.taken") * 50 >= calls, "{reply:?}");
    others_go_on(&system);
    check_exit(&system);
}

#[test]
fn garbage_on_x86() {
    fuzz(2, 0);
}

#[test]
fn garbage_on_arm() {
    fuzz(0, 2);
}
