//! `cargo xtask bench`: collects the figures that benchmarks print, one `name value unit` a line.

use crate::build;
use crate::shell::{Result, capture, cargo, progress, root};
use skerry_images::Error;
use skerry_images::elf::text_bytes;
use std::process::ExitCode;

/// Packages with benchmarks that run on the host (`cargo bench`).
const NATIVE: &[&str] = &["skerry-urpc"];

/// Measures what has a name that starts with `name`, or everything.
pub fn bench(name: Option<&str>) -> Result<ExitCode> {
    let wanted = |figure: &str| name.is_none_or(|name| figure.starts_with(name));
    let mut printed = 0;
    let mut print = |line: &str| {
        println!("{line}");
        printed += 1;
    };
    for line in sizes()? {
        if wanted(&line) {
            print(&line);
        }
    }
    for package in NATIVE {
        if !root().join(package.trim_start_matches("skerry-")).join("benches").is_dir() {
            progress(format!("{package} has no benchmarks yet"));
            continue;
        }
        progress(format!("running the benchmarks of {package}"));
        let output = capture(cargo().args(["bench", "--quiet", "--package", package]))?;
        output.lines().filter(|line| is_figure(line) && wanted(line)).for_each(&mut print);
    }
    if printed == 0 {
        progress("no figure has such a name");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// `name value unit`.
fn is_figure(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    matches!(words[..], [name, value, _] if name.contains('.') && value.parse::<f64>().is_ok())
}

/// Bytes of the CPU drivers' `.text`, boot glue included.
fn sizes() -> Result<Vec<String>> {
    build::build(&[])?;
    let mut lines = Vec::new();
    for (isa, path) in build::cpu_drivers() {
        let file = std::fs::read(&path).map_err(Error::file(&path))?;
        lines.push(format!("size.text.{isa} {} bytes", text_bytes(&file)?));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_from_chatter() {
        assert!(is_figure("urpc.native.rtt_ratio 1.04 ratio"));
        assert!(!is_figure("running 3 tests"));
        assert!(!is_figure("urpc.native.rtt_ratio fast ratio"));
    }
}
