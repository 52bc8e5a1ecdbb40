//! The address-space library and the heap, where they run: the program `memory` on each ISA.

use skerry_tests::boot_pair;
use skerry_tests::tables::{ask, check_exit, reply};

/// RAM for a large page, an array of half a MiB, and as much again.
const ENV: &str = "RAM=12M";

#[test]
fn memory_is_mapped_protected_and_given_back_on_both_isas() {
    let Some(system) = boot_pair(1, 1) else { return };
    for core in ["0.0", "1.0"] {
        let lines = ask(&system, &format!("run {core} {ENV} memory"));
        assert!(lines.len() >= 8 && lines.iter().all(|line| line.starts_with("ok ")), "{lines:#?}");
        for (what, last) in [("guard", "up to the end"), ("readonly", "read-only, 1")] {
            let reply = reply(&system, 0, &format!("run {core} memory {what}"));
            assert_eq!(reply.status, 1, "{:#?}", reply.lines);
            assert_eq!(reply.lines.first().map(String::as_str), Some(last));
            let end = reply.lines.last().map_or("", String::as_str);
            assert!(
                end.starts_with(&format!("run: process {core}:")) && end.contains(": fault Write at 0x"),
                "{end}"
            );
            assert_eq!(reply.lines.len(), 2, "{:#?}", reply.lines);
        }
        // It took nothing along.
        let again = ask(&system, &format!("run {core} {ENV} memory"));
        assert_eq!(again, lines);
    }
    check_exit(&system);
}
