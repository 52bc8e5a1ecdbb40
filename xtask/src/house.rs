//! The house rules that a search can check (`docs/house.md` says why each one is there).

use crate::shell::Result;
use std::path::{Path, PathBuf};

/// Lines at which a file must be split.
const LONGEST: usize = 600;

/// What a line of Rust must not hold, and where it may.
struct Rule {
    needle: &'static str,
    allowed_in: &'static [&'static str],
    instead: &'static str,
}

const ISA_ROOMS: &[&str] = &["arch", "boards"];

const RULES: [Rule; 9] = [
    Rule { needle: "target_arch", allowed_in: ISA_ROOMS, instead: "only arch/ and boards/ know the ISA" },
    Rule { needle: "asm!", allowed_in: ISA_ROOMS, instead: "only arch/ and boards/ hold assembly" },
    Rule {
        needle: "static mut ",
        allowed_in: &[],
        instead: "pass the state, or use a cell with an argument",
    },
    Rule { needle: "#[allow(", allowed_in: &[], instead: "#[expect(…, reason = \"…\")]" },
    Rule { needle: "#![allow(", allowed_in: &[], instead: "#![expect(…, reason = \"…\")]" },
    Rule { needle: "todo!(", allowed_in: &[], instead: "do it, or leave it out" },
    Rule { needle: "// TODO", allowed_in: &[], instead: "an issue" },
    Rule { needle: "// FIXME", allowed_in: &[], instead: "an issue" },
    Rule { needle: "/home/", allowed_in: &[], instead: "no paths of one machine" },
];

/// Every breach, as `file:line: what`.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for file in rust_files(root)? {
        let text = std::fs::read_to_string(&file)?;
        let shown = file.strip_prefix(root).unwrap_or(&file);
        // The rules' own text names what they forbid, and that of what counts assembly names that.
        if ["house.rs", "lines.rs"].iter().all(|name| shown != Path::new("xtask/src").join(name)) {
            check_file(shown, &text, &mut breaches);
        }
    }
    Ok(breaches)
}

/// Rust files, sorted; build output and version control left out.
pub fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    find(root, &mut files)?;
    Ok(files)
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                find(&path, files)?;
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn check_file(file: &Path, text: &str, breaches: &mut Vec<String>) {
    let mut breach = |line: usize, what: &str| breaches.push(format!("{}:{line}: {what}", file.display()));
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > LONGEST {
        breach(lines.len(), "longer than 600 lines: split it");
    }
    for (index, line) in lines.iter().enumerate() {
        for Rule { needle, allowed_in, instead } in &RULES {
            let is_comment = line.trim_start().starts_with("//") && !needle.starts_with("//");
            if holds(line, needle) && !is_comment && !allowed_in.iter().any(|room| file.starts_with(room)) {
                breach(index + 1, &format!("`{}`: {instead}", needle.trim()));
            }
        }
        if opens_unsafe(line) && !has_safety_comment(&lines, index) {
            breach(index + 1, "unsafe without a `// SAFETY:` that argues");
        }
    }
}

/// Whether the line holds the words, other than as part of a lifetime (`&'static mut T`).
fn holds(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| !line[..at].ends_with('\''))
}

/// Whether the line opens an unsafe block or implementation.
fn opens_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or(line);
    code.contains("unsafe {") || code.trim_start().starts_with("unsafe impl")
}

/// Whether the line, or the comment and the beginning of the statement before it, holds `SAFETY:`.
fn has_safety_comment(lines: &[&str], index: usize) -> bool {
    let mut above = lines[..index].iter().rev().take(12);
    lines[index].contains("SAFETY:")
        || above.any(|line| line.contains("SAFETY:") || line.contains("# Safety"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(file: &str, text: &str) -> Vec<String> {
        let mut breaches = Vec::new();
        check_file(Path::new(file), text, &mut breaches);
        breaches
    }

    #[test]
    fn the_isa_stays_in_its_rooms() {
        let text = "#[cfg(target_arch = \"x86_64\")]\nfn f() { asm!(\"\") }\n";
        assert_eq!(breaches("arch/x86_64/src/a.rs", text), [""; 0]);
        assert_eq!(breaches("user/src/a.rs", text).len(), 2);
        assert_eq!(breaches("user/src/a.rs", "// asm! is explained here\n"), [""; 0]);
    }

    #[test]
    fn a_lifetime_is_no_mutable_static() {
        assert_eq!(breaches("a.rs", "fn f(at: &'static mut u8) {}"), [""; 0]);
    }

    #[test]
    fn unsafe_needs_an_argument() {
        assert_eq!(
            breaches("a.rs", "let x = unsafe { f() };\n"),
            ["a.rs:1: unsafe without a `// SAFETY:` that argues"]
        );
        assert_eq!(breaches("a.rs", "// SAFETY: f is pure.\nlet x = unsafe { f() };\n"), [""; 0]);
    }

    #[test]
    fn long_files_and_loose_ends_are_found() {
        assert_eq!(breaches("a.rs", &"\n".repeat(601)), ["a.rs:601: longer than 600 lines: split it"]);
        for bad in ["static mut X: u8 = 0;", "#[allow(dead_code)]", "todo!()", "// TODO later", "// FIXME"] {
            assert_eq!(breaches("a.rs", bad).len(), 1, "{bad}");
        }
    }
}
