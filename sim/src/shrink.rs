//! A failing plan made small: what it fails without is left out, in halves, then quarters, then one by one.

use crate::faults::KINDS;
use crate::plan::Plan;
use crate::run;

/// Runs that making one plan small may take.
const MOST: u32 = 600;

/// A plan that fails too, with less in it.
pub fn shrink(plan: &Plan) -> Plan {
    let mut best = plan.clone();
    let mut left = MOST;
    let mut fails = |plan: &Plan| {
        left = left.saturating_sub(1);
        left > 0 && run(plan).is_err()
    };
    loop {
        let before = size(&best);
        for (kind, _) in KINDS {
            let kinds = best.kinds.without(kind);
            let less = Plan { kinds, ..best.clone() };
            if kinds != best.kinds && fails(&less) {
                best = less;
            }
        }
        best.faults = thin(&best.faults, |some| fails(&Plan { faults: some.to_vec(), ..best.clone() }));
        best.ops = thin(&best.ops, |some| fails(&Plan { ops: some.to_vec(), ..best.clone() }));
        if size(&best) == before {
            return best;
        }
    }
}

fn size(plan: &Plan) -> (usize, usize, String) {
    (plan.faults.len(), plan.ops.len(), plan.kinds.to_string())
}

/// Leaves out of `all` what it fails without.
fn thin<T: Clone>(all: &[T], mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut best = all.to_vec();
    let mut piece = best.len();
    while piece > 0 {
        let mut at = 0;
        while at < best.len() {
            let less: Vec<T> = [&best[..at], &best[(at + piece).min(best.len())..]].concat();
            if fails(&less) {
                best = less;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Kinds;
    use crate::mutants;

    #[test]
    fn what_a_failure_does_not_need_is_left_out() {
        let all: Vec<u32> = (0..100).collect();
        let mut runs = 0;
        let small = thin(&all, |some| {
            runs += 1;
            some.contains(&17) && some.contains(&80)
        });
        assert_eq!(small, [17, 80]);
        assert!(runs < 60, "{runs}");
    }

    #[test]
    fn a_failing_plan_becomes_small_and_still_fails_when_it_is_read_back() {
        let mut plan = Plan::on("2+2", 1, Kinds::ALL);
        plan.mutant = Some(mutants::named("answer-dropped").unwrap());
        while run(&plan).is_ok() {
            plan = Plan { mutant: plan.mutant, ..Plan::on("2+2", plan.seed + 1, Kinds::ALL) };
        }
        let small = shrink(&plan);
        assert!(small.ops.len() + small.faults.len() <= 3, "{small}");
        assert!(run(&Plan::parse(&small.to_string()).unwrap()).is_err(), "{small}");
    }
}
