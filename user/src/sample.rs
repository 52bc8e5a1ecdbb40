//! Places in a program by which who counts every core's instructions from outside (`xtask/entries`) knows what is measured. An
//! instruction each, that does nothing.

use skerry_arch::user::mark;

/// A loop that waits looks for news: if it finds none, and says so by [`relax`](crate::relax), the look was in vain.
#[inline(always)]
pub fn look() {
    mark::<1>();
}

/// A sample begins.
#[inline(always)]
pub fn begin() {
    mark::<2>();
}

/// It ends.
#[inline(always)]
pub fn end() {
    mark::<3>();
}
