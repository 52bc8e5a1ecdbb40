//! Programs on cores of the other ISA, and endpoints there, while an island dies.

use crate::{Run, fleet};

/// What a request may end with whose island dies: which of them depends on who hears first, and of what.
const TYPED: [&str; 4] =
    ["the core is lost", "changed meanwhile", "no route to the core", "no answer within the bound"];

#[test]
fn programs_of_both_isas_send_to_each_other() {
    let Some(run) = Run::boot(&fleet(&[2], &[2]), &[]) else { return };
    for (server, sender, isas) in
        [("1.1", "0.1", ["x86_64", "aarch64"]), ("0.0", "1.0", ["aarch64", "x86_64"])]
    {
        let pid = run.ok(0, &format!("spawn {server} post serve=box count=300")).remove(0);
        let lines = run.ok(0, &format!("run {sender} post send=box core={server} count=300"));
        assert_eq!(lines[0], format!("box of {server}: found from an {} core", isas[0]));
        assert_eq!(lines[1], format!("box of {server}: 300 messages sent"));
        // Its status is 0 only if all of them came, in order.
        run.ok(0, &format!("wait {pid}"));
    }
    let none = run.exec(0, "run 0.1 post send=box core=1.7");
    assert!(none.status != 0 && none.lines[0].contains("no such core"), "{none:?}");
}

#[test]
fn a_sender_hears_that_the_island_of_its_endpoint_is_gone() {
    let Some(run) = Run::boot(&fleet(&[2], &[2]), &[]) else { return };
    // The ARM island dies; the simulator has either one die.
    run.ok(0, "spawn 1.0 post serve=box count=100000000");
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| run.exec(0, "run 0.1 post send=box core=1.0 count=100000000"));
        std::thread::sleep(crate::UNDER_WAY * 3);
        run.0.kill(1).expect("it runs");
        let reply = sender.join().expect("an answer");
        assert_eq!(reply.status, 3, "{:?}", reply.lines);
        let last = reply.lines.last().expect("a reason");
        assert!(last.starts_with("box of 1.0: gone after "), "{last}");
    });
    // Its proxy is free again, and the name is not there.
    let lines = run.exec(0, "run 0.1 post send=box core=1.0").lines;
    assert!(lines[0].contains("the core is lost"), "{lines:?}");
}

/// Spawns on `target` from island `asker` until one of the two dies in the middle.
fn dies_in_the_middle_of_spawns(asker: usize, target: usize, dies: usize) {
    let Some(run) = Run::boot(&fleet(&[2], &[2]), &[]) else { return };
    let (run, other) = (&run, 1 - dies);
    if dies == target {
        std::thread::scope(|scope| {
            let spawns = scope.spawn(move || {
                (0..10_000).find_map(|n| {
                    let reply = run.exec(asker, &format!("run {target}.{} hello quiet", n % 2));
                    (reply.status != 0).then_some(reply.lines)
                })
            });
            std::thread::sleep(crate::UNDER_WAY);
            run.0.kill(dies).expect("it runs");
            let lines = spawns.join().expect("an end").expect("one of them fails");
            let last = lines.last().expect("a reason");
            assert!(TYPED.iter().any(|text| last.contains(text)), "{last}");
        });
    } else {
        // What the dead asker has begun is seen, and can be ended.
        std::thread::scope(|scope| {
            let asked = scope
                .spawn(move || run.0.exec(asker, &format!("run {target}.1 hello spin"), skerry_tests::HANG));
            run.until("it runs", || {
                let lines = run.ok(target, "ps");
                lines.iter().any(|line| line.contains("hello") && line.contains("running")).then_some(())
            });
            run.0.kill(dies).expect("it runs");
            let _no_answer = asked.join();
        });
        run.wait_island(other, dies, "lost");
        let row = run.row(other, "ps", &format!("{target}.1:1"));
        assert_eq!(row[3], "running", "{row:?}");
        run.ok(other, &format!("kill {target}.1:1"));
    }
    run.wait_island(other, dies, "lost");
    run.ok(other, &format!("run {other}.0 hello"));
    run.ok(other, &format!("run {other}.1 hello"));
}

#[test]
fn the_target_s_island_dies_in_the_middle_of_spawns() {
    dies_in_the_middle_of_spawns(0, 1, 1);
    dies_in_the_middle_of_spawns(1, 0, 0);
}

#[test]
fn a_program_whose_asker_s_island_died_is_seen_and_can_be_ended() {
    dies_in_the_middle_of_spawns(0, 1, 0);
}
