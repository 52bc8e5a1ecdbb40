//! Step 1: the bundle is mapped, and all of it verified once.

use skerry_abi::CPtr;
use skerry_abi::domain::Purpose;
use skerry_bundle::Bundle;
use skerry_user::Domain;
use skerry_user::logging::{error, info};
use skerry_user::spawn::Child;
use skerry_user::vspace::R;

/// A verified bundle, and the frame it lies in.
pub struct Verified {
    /// Its members.
    pub bundle: Bundle<'static>,
    /// Its frame.
    pub frame: CPtr,
    /// Physical address and bytes of the frame.
    pub range: (u64, u64),
}

/// Maps and checks the bundle.
pub fn open(domain: &mut Domain) -> Option<Verified> {
    let Some(cap) = domain.info.caps_for(Purpose::Bundle).next() else {
        error!("bundle: the boot loader left none");
        return None;
    };
    let view = match domain.map(cap.cptr, cap.len, R) {
        Ok(view) => view,
        Err(error) => {
            error!("bundle: cannot be mapped: {error}");
            return None;
        }
    };
    #[expect(unsafe_code, reason = "the bundle is memory that the boot loader wrote")]
    // SAFETY: boot glue took the bundle's memory out of RAM; whoever gets this frame from us gets it read-only.
    let bytes = unsafe { view.bytes() };
    match Bundle::open(bytes) {
        Ok(bundle) => {
            info!("bundle: {} members, {} KiB, verified", bundle.members().count(), cap.len >> 10);
            Some(Verified { bundle, frame: cap.cptr, range: (cap.base, cap.len) })
        }
        Err(error) => {
            error!("bundle: {error}");
            None
        }
    }
}

impl Verified {
    /// Makes a domain of a member. What fails is reported.
    pub fn child(&self, domain: &mut Domain, name: &str, args: &str) -> Option<Child> {
        let file = self.bundle.find(skerry_user::ISA.name(), name);
        let file = file.inspect_err(|error| error!("{name}: {error}")).ok()?;
        Child::load(domain, name, file, args).inspect_err(|error| error!("{name}: {error}")).ok()
    }
}
