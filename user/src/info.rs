//! What a domain was told, read.

use core::ops::{Deref, DerefMut};
use skerry_abi::CoreId;
use skerry_abi::domain::{DomainInfo, ListedCap, Purpose};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A [`DomainInfo`], for domains: those that read it, and those that fill it in for their children.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Info(DomainInfo);

impl Deref for Info {
    type Target = DomainInfo;
    fn deref(&self) -> &DomainInfo {
        &self.0
    }
}

impl DerefMut for Info {
    fn deref_mut(&mut self) -> &mut DomainInfo {
        &mut self.0
    }
}

impl Info {
    /// An empty one for `core`.
    pub fn new(core: CoreId) -> Self {
        Self(DomainInfo::new(core))
    }

    /// The program's name.
    pub fn name(&self) -> &str {
        let len = self.name.iter().position(|b| *b == 0).unwrap_or(self.name.len());
        core::str::from_utf8(&self.name[..len]).unwrap_or("?")
    }

    /// The argument text; empty if it is not UTF-8.
    pub fn args(&self) -> &str {
        let bytes = self.args.get(..self.args_len as usize).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("")
    }

    /// The value of `key` in the argument text.
    pub fn arg<'a>(&'a self, key: &str) -> Option<&'a str> {
        self.args().split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The environment: words `KEY=VALUE` separated by spaces; empty if it is not UTF-8.
    pub fn env(&self) -> &str {
        let (args, env) = (self.args_len as usize, self.env_len as usize);
        let bytes = self.args.get(args..).and_then(|rest| rest.get(..env)).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("")
    }

    /// The value of `key` in the environment.
    pub fn var<'a>(&'a self, key: &str) -> Option<&'a str> {
        self.env().split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// Sets the environment, after the arguments were set. Answers `false`, changing nothing, if there is no room.
    #[must_use]
    pub fn set_env(&mut self, text: &str) -> bool {
        let start = self.args_len as usize;
        let room = self.args.get_mut(start..).and_then(|rest| rest.get_mut(..text.len()));
        let Some(room) = room else { return false };
        room.copy_from_slice(text.as_bytes());
        self.env_len = text.len() as u32;
        true
    }

    /// Sets the argument text. Answers `false`, changing nothing, if it is longer than [`MAX_ARGS`].
    #[must_use]
    pub fn set_args(&mut self, text: &str) -> bool {
        let Some(room) = self.args.get_mut(..text.len()) else { return false };
        room.copy_from_slice(text.as_bytes());
        (self.args_len, self.env_len) = (text.len() as u32, 0);
        true
    }

    /// The listed capabilities of one purpose.
    pub fn caps_for(&self, purpose: Purpose) -> impl Iterator<Item = &ListedCap> {
        self.caps.iter().filter(move |c| c.purpose == purpose as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_abi::domain::{MAX_ARGS, MAX_CAPS};
    use skerry_abi::{CPtr, IslandId};

    #[test]
    fn args_and_caps_are_found_again() {
        let mut info = Info::new(CoreId::new(IslandId(1), 2));
        assert!(info.set_args("island=1 bound_ms=2000 links=16:0,17:2"));
        assert_eq!(info.arg("bound_ms"), Some("2000"));
        assert_eq!(info.arg("bound"), None);
        assert!(!info.set_args(&"x".repeat(MAX_ARGS + 1)));
        assert!(info.set_env("CORE=1.2 RAM=4M"));
        assert_eq!((info.var("RAM"), info.var("RA"), info.arg("RAM")), (Some("4M"), None, None));
        assert!(!info.set_env(&"x".repeat(MAX_ARGS)));
        for n in 0..MAX_CAPS {
            assert!(info.list(Purpose::Ram, CPtr(20 + n as u32), 0, 4096, 0));
        }
        assert!(!info.list(Purpose::Ram, CPtr(1), 0, 0, 0));
        assert_eq!(info.caps_for(Purpose::Ram).count(), MAX_CAPS);
        assert_eq!(info.caps_for(Purpose::Device).count(), 0);
    }
}
