//! `cargo xtask bench`: collects the figures that benchmarks print, one `name value unit` a line.

mod agree;
mod agreement;
mod entries;
mod guest;

use crate::rust::Rust;
use crate::shell::{Result, capture, cargo, progress};
use crate::{build, lines};
use skerry_images::Error;
use skerry_images::elf::text_bytes;
use std::process::ExitCode;

/// Packages with benchmarks that run on the host (`cargo bench`), and what their figures' names begin with.
const NATIVE: [(&str, &str); 2] = [("skerry-urpc", "urpc.native"), ("skerry-skb", "skb")];

/// What was measured so far: prints each figure that was asked for at once.
struct Figures<'a> {
    name: Option<&'a str>,
    printed: usize,
    failed: usize,
}

impl Figures<'_> {
    /// Whether a figure was asked for, or one whose name goes on after this.
    fn wants(&self, figure: &str) -> bool {
        self.name.is_none_or(|name| figure.starts_with(name) || name.starts_with(figure))
    }

    /// Prints a figure if it was asked for.
    fn add(&mut self, line: &str) {
        if self.name.is_none_or(|name| line.starts_with(name)) {
            println!("{line}");
            self.printed += 1;
        }
    }

    /// Says what could not be measured, and goes on.
    fn take(&mut self, what: &str, result: Result<()>) {
        if let Err(cause) = result {
            progress(format!("{what}: {cause}"));
            self.failed += 1;
        }
    }
}

/// Measures what has a name that starts with `name`, or everything.
pub fn bench(name: Option<&str>) -> Result<ExitCode> {
    let mut figures = Figures { name, printed: 0, failed: 0 };
    for (package, prefix) in NATIVE {
        if figures.wants(prefix) {
            let result = native(package, &mut figures);
            figures.take(prefix, result);
        }
    }
    if figures.wants(agreement::NAME) {
        let result = agreement::measure(&mut figures);
        figures.take(agreement::NAME, result);
    }
    let (guests, entries) = (guest::wanted(&figures), entries::wanted(&figures));
    let agree = agree::wanted(&figures);
    if guests || entries || agree || figures.wants("size.") {
        let rust = Rust::find()?;
        let images = build::build(rust, &[])?;
        let result = sizes(&mut figures);
        figures.take("size", result);
        if guests {
            guest::measure(&images, &mut figures)?;
        }
        if entries {
            let result = entries::measure(&images, &mut figures);
            figures.take("kernel.longest.fuzz", result);
        }
        if agree {
            agree::measure(&images, &mut figures)?;
        }
    }
    if figures.printed == 0 {
        progress("no figure has such a name");
    }
    Ok(if figures.printed == 0 || figures.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn native(package: &str, figures: &mut Figures) -> Result<()> {
    progress(format!("running the benchmarks of {package}"));
    let output = capture(cargo().args(["bench", "--quiet", "--package", package]))?;
    output.lines().filter(|line| is_figure(line)).for_each(|line| figures.add(line));
    Ok(())
}

/// `name value unit`.
fn is_figure(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    matches!(words[..], [name, value, _] if name.contains('.') && value.parse::<f64>().is_ok())
}

/// Bytes of the CPU drivers' `.text`, boot glue included; lines of their source.
fn sizes(figures: &mut Figures) -> Result<()> {
    for (isa, lines) in lines::cpu_drivers()? {
        figures.add(&format!("size.rust.{isa} {} lines", lines.rust));
        figures.add(&format!("size.asm.{isa} {} lines", lines.asm));
    }
    for (isa, path) in build::cpu_drivers() {
        let file = std::fs::read(&path).map_err(Error::file(&path))?;
        figures.add(&format!("size.text.{isa} {} bytes", text_bytes(&file)?));
    }
    Ok(())
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

    #[test]
    fn a_name_asks_for_all_that_it_begins() {
        let figures = |name| Figures { name, printed: 0, failed: 0 };
        assert!(figures(None).wants("boot"));
        assert!(figures(Some("urpc")).wants("urpc.xisa"));
        assert!(figures(Some("urpc.xisa.rtt_ns")).wants("urpc.xisa"));
        assert!(!figures(Some("urpc.xisa")).wants("urpc.native"));
    }
}
