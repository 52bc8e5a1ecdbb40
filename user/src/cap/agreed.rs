//! What a monitor has its CPU driver do in the space of a domain that asked for it, or whom others give something
//! (`docs/decisions/0015-agreement.md`).

use super::Kernel;
use crate::sys::invoke;
use skerry_abi::op::halves;
use skerry_abi::{CPtr, CapType, CoreId, Error, Op, PhysRange, Rights};

/// A slot, in the space of a root CNode; of the own one for null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The root.
    pub root: CPtr,
    /// The slot.
    pub at: CPtr,
}

impl Place {
    /// A slot of the own space.
    pub const fn own(at: CPtr) -> Self {
        Self { root: CPtr::NULL, at }
    }
}

impl Kernel {
    /// Makes a capability for an object of `owner`'s, or another for one of this core's.
    ///
    /// # Errors
    /// [`Error::Overlap`] if the memory is this core's own; [`Error::EmptySlot`]: it is, and nothing of the object is here.
    pub fn adopt_to(
        self,
        ty: CapType,
        rights: Rights,
        owner: CoreId,
        range: PhysRange,
        to: Place,
    ) -> Result<(), Error> {
        let what = u32::from(ty as u8) | u32::from(rights.bits()) << 8;
        let words = [halves(what, owner.raw()), range.base.0, range.len, halves(to.root.0, to.at.0), 0];
        invoke(self.0, Op::Adopt, words).map(drop)
    }

    /// Takes away some of what was made of an object and of its copies, as every core with a say has agreed. What is at `keep`
    /// stays, and what is in the own slot `anchor`, if that is not null. Answers whether there is more.
    ///
    /// # Errors
    /// What the CPU driver answers if nothing is at `keep`.
    pub fn revoke_keeping(
        self,
        ty: CapType,
        range: PhysRange,
        keep: Place,
        anchor: CPtr,
    ) -> Result<bool, Error> {
        let words =
            [u64::from(ty as u8), range.base.0, range.len, halves(keep.at.0, anchor.0), keep.root.0.into()];
        invoke(self.0, Op::RevokeAgreed, words).map(|more| more != 0)
    }
}
