//! Lines of the CPU driver, as `docs/benchmarks.md` defines them: of Rust, blank lines, comments and tests left out; of
//! assembly, those in the strings of `asm!` and `global_asm!`.

use crate::shell::{Result, root};
use skerry_images::Error;
use std::path::{Path, PathBuf};

/// Rust lines that a CPU driver of one ISA may have (`docs/decisions/0007-capabilities.md`).
pub const MOST_RUST: usize = 6_000;
/// Lines of assembly.
pub const MOST_ASM: usize = 300;
/// Bytes of `.text`.
pub const MOST_TEXT: u64 = 48_000;

/// What every CPU driver is made of.
const SHARED: [&str; 4] = ["arch/hal", "cpu-driver/abi", "cpu-driver/caps", "cpu-driver/kernel"];
/// ISA, and the folders of its own.
const ISAS: [(&str, [&str; 2]); 2] =
    [("x86_64", ["arch/x86_64", "boards/qemu-q35"]), ("aarch64", ["arch/aarch64", "boards/qemu-virt"])];
/// In an ISA's folder, what is for domains.
const FOR_DOMAINS: [&str; 2] = ["user.rs", "attack.rs"];

/// Lines of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Rust.
    pub rust: usize,
    /// Assembly.
    pub asm: usize,
}

/// The CPU driver of each ISA.
pub fn cpu_drivers() -> Result<Vec<(&'static str, Lines)>> {
    let mut all = Vec::new();
    for (isa, own) in ISAS {
        let mut sum = Lines::default();
        for folder in SHARED.iter().chain(&own) {
            let mut files = Vec::new();
            find(&root().join(folder).join("src"), &mut files)?;
            for file in files {
                let text = std::fs::read_to_string(&file).map_err(Error::file(&file))?;
                let lines = count(&text);
                sum.rust += lines.rust;
                sum.asm += lines.asm;
            }
        }
        all.push((isa, sum));
    }
    Ok(all)
}

/// The Rust files that count: no tests, nothing for domains.
fn find(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(Error::file(dir))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" {
                find(&path, files)?;
            }
        } else if name.ends_with(".rs")
            && !name.ends_with("tests.rs")
            && !FOR_DOMAINS.contains(&name.as_str())
        {
            files.push(path);
        }
    }
    Ok(())
}

/// Counts a file.
pub fn count(text: &str) -> Lines {
    let mut scan = Scan { rest: text, ..Scan::default() };
    while let Some(next) = scan.rest.chars().next() {
        scan.step(next);
    }
    scan.end_line();
    scan.lines
}

/// Where the scan is.
#[derive(Default)]
struct Scan<'a> {
    rest: &'a str,
    lines: Lines,
    /// The line has Rust on it that counts.
    rust: bool,
    /// Brackets that are open.
    depth: usize,
    /// The depth outside of the assembly that is open.
    asm: Option<usize>,
    /// The depth outside of the test that is open, and whether its body has begun.
    test: Option<(usize, bool)>,
}

impl<'a> Scan<'a> {
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn end_line(&mut self) {
        self.lines.rust += usize::from(self.rust);
        self.rust = false;
    }

    fn step(&mut self, next: char) {
        if self.rest.starts_with("//") {
            self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if let Some(quote) = string_start(self.rest) {
            self.string(quote);
        } else if self.rest.starts_with("#[cfg(test)]") && self.test.is_none() {
            self.test = Some((self.depth, false));
            self.take("#[cfg(test)]".len());
        } else if let Some(len) = char_literal(self.rest) {
            self.take(len);
            self.rust |= self.test.is_none();
        } else {
            let asm = ["asm!(", "concat!("].iter().any(|start| self.rest.starts_with(start));
            if asm && self.asm.is_none() {
                self.asm = Some(self.depth);
            }
            let in_test = self.test.is_some();
            match next {
                '\n' => self.end_line(),
                '(' | '[' | '{' => self.open(next),
                ')' | ']' | '}' => self.close(),
                ';' if self.test == Some((self.depth, false)) => self.test = None,
                _ => {}
            }
            // A comma alone belongs to the string before it.
            self.rust |= !in_test && !next.is_whitespace() && next != ',';
            self.take(next.len_utf8());
        }
    }

    fn open(&mut self, bracket: char) {
        if let Some((depth, begun)) = &mut self.test
            && *depth == self.depth
            && bracket == '{'
        {
            *begun = true;
        }
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.asm == Some(self.depth) {
            self.asm = None;
        }
        if self.test == Some((self.depth, true)) {
            self.test = None;
        }
    }

    /// Takes a string literal that starts and ends with these.
    fn string(&mut self, (start, end): (&str, &str)) {
        self.take(start.len());
        let mut len = 0;
        while !self.rest[len..].starts_with(end) && len < self.rest.len() {
            let escape = end == "\"" && self.rest[len..].starts_with('\\');
            len += if escape { 1 } else { 0 };
            len += self.rest[len..].chars().next().map_or(0, char::len_utf8);
        }
        let body = self.take(len);
        self.take(end.len().min(self.rest.len()));
        if self.test.is_some() {
            return;
        }
        if self.asm.is_some() {
            let code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
            self.lines.asm += body.split('\n').flat_map(|line| line.split("\\n")).filter(code).count();
        } else {
            // A literal of several lines counts as as many.
            self.rust = true;
            for line in body.split('\n').skip(1) {
                self.end_line();
                self.rust = !line.trim().is_empty();
            }
        }
    }
}

/// How a string literal that begins here starts and ends.
fn string_start(text: &str) -> Option<(&'static str, &'static str)> {
    [("r##\"", "\"##"), ("r#\"", "\"#"), ("r\"", "\""), ("b\"", "\""), ("\"", "\"")]
        .into_iter()
        .find(|(start, _)| text.starts_with(start))
}

/// Bytes of a character literal that begins here. A lifetime is none.
fn char_literal(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let first = body.chars().next()?;
    let len = if first == '\\' { 1 + body[1..].find('\'').max(Some(1))? } else { first.len_utf8() };
    body[len..].starts_with('\'').then_some(len + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_comments_and_tests_do_not_count() {
        let text = "//! Doc.\n\nfn f(c: char) -> bool {\n    // why\n    c == '\"' || c == '\\'' // both\n}\n\n\
                    #[cfg(test)]\nmod tests {\n    fn g() {}\n}\nfn h<'a>(x: &'a str) {}\n";
        assert_eq!(count(text), Lines { rust: 4, asm: 0 });
        assert_eq!(count("#[cfg(test)]\nmod tests;\nfn f() {}\n").rust, 1);
        assert_eq!(
            count("impl A {\n    #[cfg(test)]\n    fn t(&self) -> [u8; 2] {\n        []\n    }\n}\n").rust,
            2
        );
        assert_eq!(count("const A: &str = \"one // no comment\n    two\";\n").rust, 2);
    }

    #[test]
    fn assembly_is_what_stands_in_its_strings() {
        let one = "unsafe { asm!(\"dsb sy\", \"isb\", options(nostack)) };\n";
        assert_eq!(count(one), Lines { rust: 1, asm: 2 });
        let global =
            "global_asm!(\n    r#\"\n    .text\n    // why\n\n1:  b 1b // here\n\"#,\n    a = const 3,\n);\n";
        assert_eq!(count(global), Lines { rust: 3, asm: 2 });
        assert_eq!(
            count("global_asm!(\n    \"cli\",\n    \"hlt\",\n);\nfn f() {}\n"),
            Lines { rust: 3, asm: 2 }
        );
    }

    #[test]
    fn the_cpu_drivers_are_within_their_bounds() {
        for (isa, lines) in cpu_drivers().unwrap() {
            assert!(lines.rust > 1000 && lines.asm > 100, "{isa}: {lines:?}");
            assert!(lines.rust <= MOST_RUST && lines.asm <= MOST_ASM, "{isa}: {lines:?}");
        }
    }
}
