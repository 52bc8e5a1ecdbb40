//! The operations, one file an object type.

pub(crate) mod cnode;
pub(crate) mod device;
pub(crate) mod dispatcher;
pub(crate) mod endpoint;
pub(crate) mod monitor;
pub(crate) mod reclaim;
pub(crate) mod retype;
pub(crate) mod vnode;
