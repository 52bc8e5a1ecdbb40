//! Large and odd fleets, where there is time (`cargo xtask test full`).

use crate::{Run, fleet};
use skerry_images::fleet::{Board, Fleet, Size};

/// Whether there is.
fn full() -> bool {
    std::env::var_os("SKERRY_TEST_FULL").is_some()
}

/// Boots, and has every island's last core ping the next island's.
fn ring(fleet: &Fleet) -> Option<Run> {
    let run = Run::boot(fleet, &[])?;
    let islands = fleet.islands.len();
    let last = |index: usize| format!("{index}.{}", fleet.islands[index].cores - 1);
    for index in 0..islands {
        run.ping(0, &last(index), &last((index + 1) % islands), 20);
    }
    Some(run)
}

#[test]
fn one_arm_core_alone() {
    ring(&fleet(&[], &[1]));
}

#[test]
fn little_memory_and_the_older_interrupt_controller() {
    let mut small = fleet(&[2], &[2]);
    small.islands[1].board = Board::Virt { gic: 2 };
    for island in &mut small.islands {
        island.memory = Size(128 << 20);
    }
    ring(&small);
}

#[test]
fn eight_and_eight_and_three_and_five() {
    if full() {
        ring(&fleet(&[8], &[8]));
        ring(&fleet(&[3], &[5]));
    }
}

#[test]
fn two_x86_and_three_arm_islands_lose_one_of_each() {
    if !full() {
        return;
    }
    let Some(run) = ring(&fleet(&[1, 2], &[1, 2, 1])) else { return };
    for lost in [0, 3] {
        run.0.kill(lost).expect("it runs");
        for on in (0..5).filter(|on| run.0.alive(*on)) {
            run.wait_island(on, lost, "lost");
        }
    }
    let shell = run.0.first_alive().expect("three are left");
    assert_eq!(shell, 1);
    for (from, to) in [("1.1", "2.0"), ("2.0", "4.0"), ("4.0", "1.0")] {
        run.ping(shell, from, to, 20);
    }
    assert!(run.fails(shell, "ping 1.0 3.1").contains("the core is lost"));
}
