//! From `_start` to the program: log, panics.
#![expect(unsafe_code, reason = "the one pointer that a spawner passes")]

use crate::cap::SELF;
use crate::dispatch;
use crate::domain::Domain;
use crate::info::Info;
use crate::program::{self, Status};
use crate::{clock, heap, log, more, thread};
use core::fmt::Write;
use core::panic::PanicInfo;
use core::time::Duration;
use skerry_abi::domain::MAGIC;

/// Bytes that the heap begins with unless [`main!`](crate::main!) says otherwise.
pub const DEFAULT_HEAP: usize = 1 << 20;

/// Runs the program. [`main!`](crate::main!) calls it.
///
/// # Safety
/// `info` is what a spawner passed: it points to a mapped, read-only [`Info`] that nobody changes any more.
pub unsafe fn start<S: Status>(info: *const u8, main: fn(Domain) -> S) -> ! {
    // SAFETY: the caller's promise; any bit pattern is an `Info`.
    let info: &'static Info = unsafe { &*info.cast() };
    clock::set_frequency(info.frequency);
    if info.magic != MAGIC {
        log::early_line(b"a domain was started without a DomainInfo");
        stop();
    }
    let level = info.arg("log").and_then(|text| text.parse().ok()).unwrap_or(3);
    log::init(info.core, info.name(), log::filter_from(level));
    let mut domain = Domain::take(info);
    more::init(&mut domain);
    program::init(&mut domain);
    program::exit(main(domain).status());
}

/// How long home may take to end a program of which another dispatcher panicked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says where and why, then stops the dispatcher.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    let mut line = log::Line::new();
    // A line that does not fit is cut.
    let _cut = match dispatch::is_scheduled().then(thread::name) {
        Some(name) => write!(line, "panic in thread '{name}': {info}"),
        None => write!(line, "panic: {info}"),
    };
    if thread::span::leave_to_home(line.as_bytes(), true) {
        dispatch::unscheduled();
        // Home says it, and ends the program. Whoever stops is missed at once, perhaps before that was heard.
        let until = clock::ticks() + clock::span(PATIENCE);
        while clock::ticks() < until {
            let _refused = SELF.wait(0, until);
        }
        stop();
    }
    end_for(line.as_bytes());
}

/// Says why the program ends, and ends it as a panic does.
pub(crate) fn end_for(why: &[u8]) -> ! {
    dispatch::unscheduled();
    program::complain(why);
    if let Some(lack) = heap::lack() {
        let mut line = log::Line::new();
        let _cut = write!(line, "the last time memory was lacking: {lack}");
        program::complain(line.as_bytes());
    }
    program::exit_after_panic();
}

/// Stops this dispatcher.
pub fn stop() -> ! {
    loop {
        // It cannot be refused; if it were, waiting for nothing is the next best.
        let _refused = SELF.stop();
        let _refused = SELF.wait(0, 0);
    }
}

/// Defines the program: `main!(main)` or `main!(main, heap = BYTES)`, where `main` is a `fn(Domain)`, or answers an
/// exit status (`u8`); when it returns, the dispatcher stops. `BYTES` is what the heap begins with; it grows.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        $crate::main!($main, heap = $crate::rt::DEFAULT_HEAP);
    };
    ($main:path, heap = $heap:expr) => {
        $crate::user_start!();

        #[global_allocator]
        static HEAP: $crate::heap::Heap = $crate::heap::Heap::new();
        static ARENA: $crate::heap::Arena<{ $heap }> = $crate::heap::Arena::new();

        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::rt::panicked(info)
        }

        #[expect(unsafe_code, reason = "called by `_start`, under a name that the linker knows")]
        #[unsafe(no_mangle)]
        extern "C" fn skerry_main(info: *const u8) -> ! {
            HEAP.init(&ARENA);
            // SAFETY: `_start` passes on what the spawner gave, which keeps to the boundary's rules.
            unsafe { $crate::rt::start(info, $main) }
        }
    };
}
