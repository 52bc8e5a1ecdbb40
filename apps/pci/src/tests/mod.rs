//! Tests of this library, on a made-up machine.

mod hostile;
mod machine;
mod msix;
mod scan;
