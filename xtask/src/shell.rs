//! Running other programs, and saying so.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What the commands answer; the error is for people to read.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An error with this text.
pub fn fail<T>(text: impl Into<String>) -> Result<T> {
    Err(text.into().into())
}

/// Says on standard error what is about to take time.
pub fn progress(text: impl std::fmt::Display) {
    eprintln!("xtask: {text}");
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}

/// `cargo`, the one that runs this program, in the workspace's root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs to the end; an exit status other than 0 is an error that names `what`.
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().map_err(|cause| format!("{what}: {cause}"))?;
    if status.success() { Ok(()) } else { fail(format!("{what} failed ({status})")) }
}

/// Runs to the end and answers standard output; nothing is shown.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return fail(format!("{:?} failed ({})", command.get_program(), output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where a program is, if it is in `PATH`.
pub fn tool(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|file| file.is_file())
}
