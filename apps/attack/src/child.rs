//! A dispatcher that this domain makes, to be ended by what it does.

use core::time::Duration;
use skerry_abi::dispatcher::{State, event};
use skerry_abi::{Error, PAGE_SIZE};
use skerry_hal::FaultKind;
use skerry_user::cap::{CNode, Configure, Dispatcher, Frame, SELF, VNode};
use skerry_user::{Domain, clock};

/// Raised when a child has ended.
pub const DEATH: u64 = 1 << (event::FIRST_USER + 4);

/// One that runs, or has run.
pub struct Child {
    pub dispatcher: Dispatcher,
}

impl Child {
    /// Starts one in these spaces, at `[entry, stack, argument]`.
    pub fn start(
        domain: &mut Domain,
        root: CNode,
        vspace: VNode,
        [entry, stack, arg]: [u64; 3],
    ) -> Result<Self, Error> {
        let (page, view) = domain.zeroed(PAGE_SIZE, None)?;
        domain.unmap(view);
        let dispatcher = Dispatcher(domain.mem.dispatcher()?.cap);
        let death = Some(domain.mem.endpoint(SELF, DEATH)?);
        let page = Frame(page.cap);
        dispatcher.configure(&Configure { root, vspace, page, death, entry, stack, arg })?;
        dispatcher.start()?;
        Ok(Self { dispatcher })
    }

    /// Waits for its end; what it died of.
    pub fn end(&self) -> Result<Option<FaultKind>, Error> {
        while self.dispatcher.state()? != State::Dead as u64 {
            SELF.wait(DEATH, clock::ticks() + clock::span(Duration::from_millis(50)))?;
        }
        self.dispatcher.fault()
    }
}
