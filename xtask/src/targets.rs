//! What is built for which target, with which flags. The one place that knows.
//!
//! Why domains of x86-64 use a Linux target: `docs/decisions/0001-hardware-floating-point.md`.

/// One cargo invocation: packages that share target and flags.
pub struct Target {
    /// The ISA, as the bundle names it.
    pub isa: &'static str,
    /// The Rust target.
    pub triple: &'static str,
    /// Flags for rustc, for this target only (never for build scripts or macros).
    pub flags: &'static [&'static str],
    /// Packages.
    pub packages: &'static [Package],
}

/// A package with one binary.
pub struct Package {
    /// Its name, which is also the binary's.
    pub name: &'static str,
    /// Its name in the bundle.
    pub member: &'static str,
    /// Whether it is a CPU driver; else a domain.
    pub cpu_driver: bool,
}

const fn board(name: &'static str, member: &'static str) -> Package {
    Package { name, member, cpu_driver: true }
}

const fn app(name: &'static str, member: &'static str) -> Package {
    Package { name, member, cpu_driver: false }
}

const APPS: [Package; 16] = [
    app("skerry-app-init", "init"),
    app("skerry-app-monitor", "monitor"),
    app("skerry-app-pci", "pci"),
    app("skerry-app-rng", "rng"),
    app("skerry-app-skb", "skb"),
    app("skerry-app-console", "console"),
    app("skerry-app-shell", "shell"),
    app("skerry-app-bench", "bench"),
    app("skerry-app-proc", "proc"),
    app("skerry-app-hello", "hello"),
    app("skerry-app-post", "post"),
    app("skerry-app-share", "share"),
    app("skerry-app-threads", "threads"),
    app("skerry-app-span", "span"),
    app("skerry-app-attack", "attack"),
    app("skerry-app-memory", "memory"),
];

/// Everything an image set is made of.
pub const TARGETS: [Target; 4] = [
    Target {
        isa: "x86_64",
        triple: "x86_64-unknown-none",
        flags: &["-Crelocation-model=static", "-Ccode-model=kernel"],
        packages: &[board("board-qemu-q35", "qemu-q35")],
    },
    Target {
        isa: "aarch64",
        triple: "aarch64-unknown-none-softfloat",
        flags: &["-Crelocation-model=static"],
        packages: &[board("board-qemu-virt", "qemu-virt")],
    },
    Target {
        isa: "x86_64",
        triple: "x86_64-unknown-linux-gnu",
        flags: &[
            "-Clinker=rust-lld",
            "-Clinker-flavor=ld.lld",
            "-Crelocation-model=pic",
            "-Ctarget-feature=+crt-static",
            "-Clink-arg=--no-dynamic-linker",
            "-Clink-arg=-znognustack",
            "-Clink-arg=-zmax-page-size=4096",
        ],
        packages: &APPS,
    },
    Target {
        isa: "aarch64",
        triple: "aarch64-unknown-none",
        flags: &[
            "-Crelocation-model=pic",
            "-Clink-arg=-pie",
            "-Clink-arg=--no-dynamic-linker",
            "-Clink-arg=-znognustack",
            "-Clink-arg=-zmax-page-size=4096",
        ],
        packages: &APPS,
    },
];
