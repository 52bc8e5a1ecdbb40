//! `cargo xtask doctor`: what is installed, what is missing, how to get it.

use crate::apt;
use crate::build::images_dir;
use crate::rust::{WITHOUT_RUSTUP, missing_targets};
use crate::shell::{Result, capture, root, tool};
use skerry_images::runner::qemu::Qemu;
use skerry_images::runner::{Options, probe};
use std::process::{Command, ExitCode};

/// One line for each thing; fails if something is missing that `run` needs, even if it can get it.
pub fn doctor() -> Result<ExitCode> {
    let mut healthy = true;
    let mut line = |needed: bool, what: &str, state: std::result::Result<String, String>| {
        match (&state, needed) {
            (Ok(text), _) => println!("ok       {what}: {text}"),
            (Err(text), true) => println!("MISSING  {what}: {text}"),
            (Err(text), false) => println!("optional {what}: {text}"),
        }
        healthy &= state.is_ok() || !needed;
    };
    line(true, "Rust", version("rustc"));
    let missing = missing_targets();
    let targets = if missing.is_empty() {
        Ok("all there".to_string())
    } else if tool("rustup").is_some() {
        Err(format!("rustup target add {}   (or let `cargo xtask run` do it)", missing.join(" ")))
    } else {
        Err(format!("{}; {WITHOUT_RUSTUP}", missing.join(" ")))
    };
    line(true, "Rust targets", targets);
    let path = std::env::var_os("PATH").unwrap_or_default();
    for isa in ["x86_64", "aarch64"] {
        let found = Qemu::find(isa, &path)
            .map_err(|cause| format!("{cause}; type:\n    {}", apt::plan().commands.join("\n    ")));
        line(
            true,
            &format!("QEMU for {isa}"),
            found.map(|q| format!("{} at {}", dotted(q.version), q.program.display())),
        );
    }
    line(
        false,
        "KVM",
        probe::kvm(&Options::new(images_dir()))
            .map(|()| "works".into())
            .map_err(|cause| format!("not used: {cause}")),
    );
    line(false, "rustfmt", version("rustfmt").map_err(|_| "rustup component add rustfmt".into()));
    line(false, "clippy", version("cargo-clippy").map_err(|_| "rustup component add clippy".into()));
    line(
        false,
        "nextest",
        version("cargo-nextest").map_err(|_| "cargo install --locked cargo-nextest".into()),
    );
    line(false, "cargo-deny", version("cargo-deny").map_err(|_| "cargo install --locked cargo-deny".into()));
    let miri = capture(Command::new("cargo").args(["+nightly", "miri", "--version"]));
    line(
        false,
        "Miri",
        miri.map(|text| text.trim().into())
            .map_err(|_| "rustup toolchain add nightly -c miri,rust-src".into()),
    );
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn version(program: &str) -> std::result::Result<String, String> {
    let text = capture(Command::new(program).current_dir(root()).arg("--version"))
        .map_err(|cause| cause.to_string())?;
    Ok(text.lines().next().unwrap_or_default().to_string())
}

fn dotted((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}
