//! Upcalls.
