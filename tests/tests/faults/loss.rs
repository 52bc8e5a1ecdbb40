//! Islands that never appear, are killed, or are stopped and continued.

use crate::{BOUND_MS, HANG, Run, fleet};
use skerry_bundle::Bundle;
use skerry_images::pack::Packer;
use skerry_images::runner::System;
use skerry_tests::options;
use std::fs;
use std::time::Duration;

#[test]
fn an_island_that_never_appears_is_done_without() {
    let Some(run) = Run::boot(&fleet(&[2], &[2]), &[1]) else { return };
    run.says(0, "going on without island 1");
    assert_eq!(run.island(0, 1).0, "absent");
    assert!(run.fails(0, "ping 0.0 1.0").contains("the core is not up"));
    run.ping(0, "0.0", "0.1", 10);
}

#[test]
fn the_shell_is_offered_by_the_first_island_that_appears() {
    let Some(run) = Run::boot(&fleet(&[1], &[2]), &[0]) else { return };
    run.says(1, "going on without island 0");
    assert_eq!(run.island(1, 0).0, "absent");
    run.ping(1, "1.0", "1.1", 10);
    run.until("a prompt", || run.0.console_log(1).contains("skerry> ").then_some(()));
}

#[test]
fn an_island_killed_in_a_ping_storm_is_given_up() {
    let Some(run) = Run::boot(&fleet(&[2], &[2]), &[]) else { return };
    run.breaks_off(0, "ping 0.1 1.1 10000000", || run.0.kill(1).expect("it runs"));
    run.wait_island(0, 1, "lost");
    for core in ["1.0", "1.1"] {
        assert_eq!(run.core(0, core), "lost");
    }
    for command in ["ping 0.0 1.0", "ping 0.1 1.1", "ping 1.0 0.0", "stream 0.0 1.1"] {
        let line = run.fails(0, command);
        assert!(line.contains("the core is lost"), "{command}: {line}");
    }
    run.ping(0, "0.0", "0.1", 50);
    run.ping(0, "0.1", "0.0", 50);
}

#[test]
fn the_next_island_offers_the_shell_when_the_first_is_killed() {
    let Some(run) = Run::boot(&fleet(&[2], &[2]), &[]) else { return };
    assert!(!run.0.console_log(1).contains("skerry> "), "only one island offers it");
    run.breaks_off(1, "ping 0.1 1.1 10000000", || run.0.kill(0).expect("it runs"));
    assert_eq!(run.0.first_alive(), Some(1));
    run.wait_island(1, 0, "lost");
    run.until("a prompt", || run.0.console_log(1).contains("skerry> ").then_some(()));
    assert!(run.fails(1, "ping 1.0 0.0").contains("the core is lost"));
    run.ping(1, "1.0", "1.1", 50);
}

/// `island` stands still for `pause`, is given up, and comes back in a later epoch.
fn stop_and_continue(run: &Run, island: usize, pause: Duration) {
    let other = 1 - island;
    let (_, before) = run.island(other, island);
    run.0.stop(island).expect("it runs");
    std::thread::sleep(pause);
    run.wait_island(other, island, "lost");
    let line = run.fails(other, "ping 0.0 1.0 10");
    assert!(line.contains("the core is lost"), "{line}");
    run.0.cont(island).expect("it runs");
    run.says(island, &format!("rejoining in epoch {}", before + 1));
    let after = run.wait_island(other, island, "up");
    assert!(after > before, "back in epoch {after} after {before}");
    for on in [other, island] {
        run.wait_all_up(on);
        assert_eq!(run.island(on, island).1, after);
    }
    run.ping(other, "0.0", "1.0", 20);
    run.ping(island, "1.1", "0.1", 20);
}

#[test]
fn an_island_stopped_and_continued_comes_back_in_a_new_epoch() {
    let Some(run) = Run::boot(&fleet(&[2], &[2]), &[]) else { return };
    stop_and_continue(&run, 1, Duration::from_millis(BOUND_MS));
    // Longer than a core may be silent on its own island: nobody there may take the others for dead.
    stop_and_continue(&run, 0, Duration::from_millis(6 * BOUND_MS));
}

/// A folder of images as those that were built, but that the console driver is another program, which soon ends.
fn images_with_a_dying_console(built: &std::path::Path) -> std::io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    for entry in fs::read_dir(built)? {
        let entry = entry?;
        fs::copy(entry.path(), folder.path().join(entry.file_name()))?;
    }
    let path = folder.path().join("bundle.tar");
    let bytes = fs::read(&path)?;
    let bundle = Bundle::open(&bytes).expect("the bundle that was built");
    let mut packer = Packer::new();
    for member in bundle.members() {
        let from = if member.name == "console" { "hello" } else { member.name };
        let data = bundle.find(member.isa, from).expect("a program of each ISA");
        packer.add(member.isa, member.kind, member.name, data.to_vec());
    }
    fs::write(&path, packer.pack().expect("members as before"))?;
    Ok(folder)
}

/// With the driver's end, whatever it had not yet taken comes by the only way that is left, and so does all that is said after.
#[test]
fn lines_go_to_the_early_console_when_the_console_driver_dies() {
    let Some(mut options) = options() else { return };
    let folder = images_with_a_dying_console(&options.images).expect("images that can be copied");
    options.images = folder.path().into();
    for (killed, other) in [(1, 0), (0, 1)] {
        let run = Run(System::boot(&fleet(&[1], &[1]), &options).expect("QEMU starts"));
        let up = run.0.wait_up(HANG).unwrap_or_else(|cause| panic!("{cause}"));
        assert!(up.ends_with("system up, 2 cores on 2 islands"), "{up}");
        for island in [0, 1] {
            run.says(island, "the console driver has ended");
        }
        run.says(1, "island 0 joined");
        let lost = format!("island {killed} is lost");
        assert!(!run.0.console_log(other).contains(&lost), "before it was");
        run.0.kill(killed).expect("it runs");
        run.says(other, &lost);
    }
}
