//! On which cores a program runs: `--cores N`, or `--cores 0.1,0.0,…`, before its environment. The first is the one that it is
//! started on.

use alloc::vec::Vec;
use core::fmt;
use skerry_hal::CoreId;
use skerry_user::thread::common::MAX_DISPATCHERS;

/// The option.
pub const CORES: &str = "--cores";
const MOST: usize = MAX_DISPATCHERS as usize;

/// What the option says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cores<'a> {
    /// So many of the island's.
    Number(u16),
    /// These.
    List(&'a str),
}

/// Why these are no cores for a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadCores<'a> {
    /// Neither a number nor a list.
    Value(Option<&'a str>),
    /// The first is not the one that the program is started on.
    First(CoreId),
    /// Of another island: there is no memory that both have.
    Island(CoreId),
}

impl fmt::Display for BadCores<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => {
                let value = value.unwrap_or("(nothing)");
                write!(f, "{CORES} {value}: use a number from 2 to {MOST}, or so many cores, as in 0.0,0.1")
            }
            Self::First(core) => write!(f, "{CORES}: the first must be {core}, where the program is started"),
            Self::Island(core) => write!(f, "{CORES}: core {core} is another island's"),
        }
    }
}

impl<'a> Cores<'a> {
    /// From the option's value.
    ///
    /// # Errors
    /// [`BadCores::Value`].
    pub fn new(value: Option<&'a str>) -> Result<Self, BadCores<'a>> {
        let bad = BadCores::Value(value);
        let text = value.ok_or(bad)?;
        if let Ok(number) = text.parse::<u16>() {
            return if (2..=MOST).contains(&number.into()) { Ok(Self::Number(number)) } else { Err(bad) };
        }
        let count = text.split(',').count();
        let sound = (2..=MOST).contains(&count) && text.split(',').all(|core| CoreId::parse(core).is_some());
        if sound { Ok(Self::List(text)) } else { Err(bad) }
    }

    /// The cores, of which `own` is the first. Where a number was said, those that follow are the island's first.
    ///
    /// # Errors
    /// [`BadCores`].
    pub fn of(&self, own: CoreId) -> Result<Vec<CoreId>, BadCores<'a>> {
        let island = own.island();
        match *self {
            Self::Number(count) => {
                let others = (0..count).filter(|local| *local != own.local()).take(usize::from(count) - 1);
                Ok([own].into_iter().chain(others.map(|local| CoreId::new(island, local))).collect())
            }
            Self::List(text) => {
                let cores: Vec<CoreId> = text.split(',').filter_map(CoreId::parse).collect();
                if cores.first() != Some(&own) {
                    return Err(BadCores::First(own));
                }
                match cores.iter().find(|core| core.island() != island) {
                    Some(core) => Err(BadCores::Island(*core)),
                    None => Ok(cores),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_hal::IslandId;

    const fn core(local: u16) -> CoreId {
        CoreId::new(IslandId(0), local)
    }

    #[test]
    fn a_number_takes_the_first_cores_and_the_own_one_before_all() {
        let of = |text, own| Cores::new(Some(text)).unwrap().of(core(own)).unwrap();
        assert_eq!(of("3", 0), [core(0), core(1), core(2)]);
        assert_eq!(of("3", 1), [core(1), core(0), core(2)]);
        assert_eq!(of("2", 7), [core(7), core(0)]);
        assert_eq!(of("0.2,0.0,0.2", 2), [core(2), core(0), core(2)], "twice is twice");
    }

    #[test]
    fn what_cannot_be_is_named() {
        for bad in [None, Some("1"), Some("17"), Some("0.1"), Some("0.0,x"), Some("")] {
            assert_eq!(Cores::new(bad), Err(BadCores::Value(bad)));
        }
        let of = |text, own| Cores::new(Some(text)).unwrap().of(core(own));
        assert_eq!(of("0.1,0.0", 0), Err(BadCores::First(core(0))));
        let other = CoreId::new(IslandId(1), 0);
        assert_eq!(of("0.0,1.0", 0), Err(BadCores::Island(other)));
    }
}
