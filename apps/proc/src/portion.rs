//! What of its core's time a program may have: `--priority N --budget PERCENT` before its environment.
//!
//! Who is ready and has the highest priority runs; those of one priority take turns. A budget is a part of each
//! [`PERIOD`]: when it is used up, the program has what nobody else wants. Above the servers' own priority a program
//! must have one, or a loop would take the core from monitor and process server for good.

use core::fmt;
use core::time::Duration;

/// The highest priority.
pub const HIGHEST: u8 = 7;
/// The priority of monitor and servers, and of programs unless they say otherwise.
pub const USUAL: u8 = 3;
/// The largest budget above it, in percent.
pub const MOST_ABOVE: u8 = 50;
/// What a budget is a part of.
pub const PERIOD: Duration = Duration::from_millis(100);

/// What of its core's time a program may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Portion {
    priority: u8,
    /// Percent of each period; `None`: no limit.
    budget: Option<u8>,
}

impl Default for Portion {
    fn default() -> Self {
        Self { priority: USUAL, budget: None }
    }
}

/// Why a portion is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadPortion<'a> {
    /// No such option.
    Unknown(&'a str),
    /// The option has no value, or one outside of 0 to [`HIGHEST`], or 1 to 100.
    Value(&'a str, Option<&'a str>),
    /// Above [`USUAL`], and no budget of at most [`MOST_ABOVE`].
    NeedsBudget(u8),
}

impl fmt::Display for BadPortion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(option) => {
                write!(f, "{option}: no such option; use --priority N or --budget PERCENT")
            }
            Self::Value(option, value) => {
                let (first, last) = if *option == PRIORITY { (0, HIGHEST) } else { (1, 100) };
                write!(f, "{option} {}: use a number from {first} to {last}", value.unwrap_or("(nothing)"))
            }
            Self::NeedsBudget(priority) => write!(
                f,
                "{PRIORITY} {priority}: above {USUAL}, the servers' own, use a {BUDGET} of at most {MOST_ABOVE}"
            ),
        }
    }
}

const PRIORITY: &str = "--priority";
const BUDGET: &str = "--budget";

impl Portion {
    /// Takes the options off the front of `words`.
    ///
    /// # Errors
    /// [`BadPortion`].
    pub fn take<'a>(
        words: &mut core::iter::Peekable<impl Iterator<Item = &'a str>>,
    ) -> Result<Self, BadPortion<'a>> {
        let mut portion = Self::default();
        while let Some(option) = words.next_if(|word| word.starts_with("--")) {
            if ![PRIORITY, BUDGET].contains(&option) {
                return Err(BadPortion::Unknown(option));
            }
            let value = words.next();
            let number = value.and_then(|text| text.parse::<u8>().ok());
            match number {
                Some(n) if option == PRIORITY && n <= HIGHEST => portion.priority = n,
                Some(n) if option == BUDGET && (1..=100).contains(&n) => portion.budget = Some(n),
                _ => return Err(BadPortion::Value(option, value)),
            }
        }
        portion.checked()
    }

    fn checked<'a>(self) -> Result<Self, BadPortion<'a>> {
        if self.priority > USUAL && self.budget.is_none_or(|percent| percent > MOST_ABOVE) {
            return Err(BadPortion::NeedsBudget(self.priority));
        }
        Ok(self)
    }

    /// What another core's server passes on: see [`Self::words`].
    ///
    /// # Errors
    /// [`BadPortion::NeedsBudget`], and for what is none at all too.
    pub fn of_words((priority, budget): (u8, u8)) -> Result<Self, BadPortion<'static>> {
        let portion = Self { priority, budget: (budget != 0).then_some(budget) };
        if priority <= HIGHEST && budget <= 100 {
            portion.checked()
        } else {
            Err(BadPortion::NeedsBudget(priority))
        }
    }

    /// Priority and percent (0: no limit), for another core's server.
    pub fn words(self) -> (u8, u8) {
        (self.priority, self.budget.unwrap_or(0))
    }

    /// The priority.
    pub const fn priority(self) -> u32 {
        self.priority as u32
    }

    /// Budget and period, where a period is so many ticks; 0: no limit.
    pub const fn budget(self, period: u64) -> (u64, u64) {
        match self.budget {
            Some(percent) => (period * percent as u64 / 100, period),
            None => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn take(text: &str) -> Result<(Portion, Option<&str>), BadPortion<'_>> {
        let mut words = text.split(' ').peekable();
        Portion::take(&mut words).map(|portion| (portion, words.next()))
    }

    #[test]
    fn options_come_first() {
        let portion = |priority, budget| Portion { priority, budget };
        assert_eq!(take("hello --budget 5"), Ok((Portion::default(), Some("hello"))));
        assert_eq!(take("--priority 0 A=1"), Ok((portion(0, None), Some("A=1"))));
        assert_eq!(take("--budget 50 --priority 7 x"), Ok((portion(7, Some(50)), Some("x"))));
        assert_eq!(take("--budget 100"), Ok((portion(3, Some(100)), None)));
    }

    #[test]
    fn what_is_passed_on_is_checked_again() {
        for text in ["--priority 0 A=1", "--budget 50 --priority 7 x", "--budget 100", "x"] {
            let (portion, _) = take(text).unwrap();
            assert_eq!(Portion::of_words(portion.words()), Ok(portion), "{text}");
        }
        for bad in [(8, 10), (3, 101), (4, 0), (4, 51)] {
            assert!(Portion::of_words(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn errors_name_the_way_out() {
        let error = |text: &str| take(text).unwrap_err().to_string();
        for bad in ["0", "101", "-1", "x", "300", "5%"] {
            assert_eq!(
                error(&std::format!("--budget {bad} a")),
                std::format!("--budget {bad}: use a number from 1 to 100")
            );
        }
        assert_eq!(error("--priority 8 a"), "--priority 8: use a number from 0 to 7");
        assert_eq!(error("--priority"), "--priority (nothing): use a number from 0 to 7");
        assert_eq!(error("--nice 3 a"), "--nice: no such option; use --priority N or --budget PERCENT");
        let needs = "--priority 4: above 3, the servers' own, use a --budget of at most 50";
        assert_eq!(
            (error("--priority 4 a"), error("--priority 4 --budget 51 a")),
            (needs.into(), needs.into())
        );
    }

    #[test]
    fn a_budget_is_a_part_of_the_period() {
        let portion = |text| take(text).unwrap().0;
        assert_eq!(portion("--budget 20 a").budget(1_000_000), (200_000, 1_000_000));
        assert_eq!((portion("a").budget(1_000_000), portion("a").priority()), ((0, 0), 3));
    }
}
