//! What was found: a line a case.

use alloc::string::String;
use skerry_user::println;
use skerry_user::thread::sched;

/// What a case says: nothing, or what it saw instead.
pub type Outcome = Result<(), String>;

/// How many went how.
#[derive(Default)]
pub struct Report {
    cases: u32,
    failed: u32,
}

impl Report {
    /// Runs a case and says how it went.
    pub fn case(&mut self, name: &str, case: fn() -> Outcome) {
        self.cases += 1;
        match case() {
            Ok(()) => println!("ok {name}"),
            Err(why) => {
                self.failed += 1;
                println!("FAILED {name}: {why}");
            }
        }
    }

    /// Says the last word; the exit status.
    pub fn end(self, whose: &str) -> u8 {
        println!("{whose}: {} cases, {} failed", self.cases, self.failed);
        u8::from(self.failed != 0 || self.cases == 0)
    }
}

/// For a case that is about the order in which threads run: it counts when none of them lost the core meanwhile.
pub fn undisturbed(case: fn() -> Outcome) -> Outcome {
    loop {
        let before = sched::upcalls();
        let outcome = case();
        if outcome.is_ok() || sched::upcalls() == before {
            return outcome;
        }
    }
}

/// `Err` with both values unless they are equal.
pub fn same<T: PartialEq + core::fmt::Debug>(found: T, expected: T) -> Outcome {
    if found == expected { Ok(()) } else { Err(alloc::format!("{found:?}, not {expected:?}")) }
}
