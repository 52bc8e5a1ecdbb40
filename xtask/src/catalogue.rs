//! Which tests there are, read from the sources: so that a filter runs, and builds, no more than what it names.
//!
//! A test's path is made of its file's place, the modules around it, and its own name, as libtest prints it. The sources
//! are formatted (`check` sees to it), so a module's indentation says where it ends.

use crate::house::rust_files;
use crate::shell::{Result, root};
use skerry_images::Error;
use std::collections::BTreeSet;
use std::path::{Component, Path};

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Its package.
    pub package: String,
    /// The file of `tests/` that it is in; `None`: it lies beside the code.
    pub target: Option<String>,
    /// Its modules and its name.
    pub path: String,
}

/// Every test of the workspace whose path contains `filter`.
pub fn matching(filter: &str) -> Result<Vec<Test>> {
    let (root, mut found) = (root(), Vec::new());
    for file in rust_files(&root)? {
        let Some(place) = file.strip_prefix(&root).ok().and_then(Place::of) else { continue };
        let manifest = root.join(&place.folder).join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&file).map_err(Error::file(&file))?;
        let paths: Vec<String> = tests_in(&text, &place.modules);
        if !paths.iter().any(|path| path.contains(filter)) {
            continue;
        }
        let manifest = std::fs::read_to_string(&manifest).map_err(Error::file(&manifest))?;
        let package = package_name(&manifest);
        let of = |path| Test { package: package.clone(), target: place.target.clone(), path };
        found.extend(paths.into_iter().filter(|path| path.contains(filter)).map(of));
    }
    Ok(found)
}

/// The packages of some tests, each once.
pub fn packages<'a>(tests: impl Iterator<Item = &'a Test>) -> BTreeSet<&'a str> {
    tests.map(|test| test.package.as_str()).collect()
}

fn package_name(manifest: &str) -> String {
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    name.unwrap_or_default().into()
}

/// Where a file belongs.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// The package's folder.
    folder: String,
    target: Option<String>,
    modules: Vec<String>,
}

impl Place {
    /// `None`: no file that holds tests.
    fn of(file: &Path) -> Option<Self> {
        let mut words: Vec<&str> = file
            .components()
            .filter_map(|part| if let Component::Normal(name) = part { name.to_str() } else { None })
            .collect();
        // The last: `tests/` has a `tests/` and a `src/`, and a module may be called `tests`.
        let at = words
            .iter()
            .position(|word| *word == "src")
            .or_else(|| words.iter().rposition(|word| *word == "tests"))?;
        let name = words.pop()?.strip_suffix(".rs")?;
        let mut modules: Vec<String> = words.get(at + 1..)?.iter().map(ToString::to_string).collect();
        if !["lib", "main", "mod"].contains(&name) {
            modules.push(name.into());
        }
        let beside = words[at] == "src";
        let target = if beside { None } else { (!modules.is_empty()).then(|| modules.remove(0)) };
        Some(Self { folder: words[..at].join("/"), target, modules })
    }
}

/// The paths of the tests in a file's text.
fn tests_in(text: &str, modules: &[String]) -> Vec<String> {
    let (mut found, mut is_test) = (Vec::new(), false);
    // Modules around the line, each with the indentation of what closes it.
    let mut around: Vec<(usize, &str)> = Vec::new();
    for line in text.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if code.starts_with('}') {
            around.retain(|(of, _)| *of < indent);
        }
        if code == "#[test]" {
            is_test = true;
        } else if let Some(name) = code.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
            around.push((indent, name));
        } else if let Some(rest) = code.strip_prefix("fn ").filter(|_| is_test) {
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let outer = modules.iter().map(String::as_str).chain(around.iter().map(|(_, name)| *name));
            found.push(outer.chain([name]).collect::<Vec<_>>().join("::"));
            is_test = false;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_has_the_path_that_libtest_prints() {
        let own = matching("catalogue::tests::a_test_has_the_path").unwrap();
        let path = "catalogue::tests::a_test_has_the_path_that_libtest_prints".into();
        assert_eq!(own, [Test { package: "xtask".into(), target: None, path }]);
        let fleet = matching("domains_that_spin_hold_nobody_up").unwrap();
        assert_eq!((fleet[0].package.as_str(), fleet[0].target.as_deref()), ("skerry-tests", Some("share")));
        assert_eq!(matching("no test is called so").unwrap(), []);
    }

    #[test]
    fn files_are_modules() {
        let place =
            |file: &str| Place::of(Path::new(file)).map(|p| (p.folder, p.target, p.modules.join("::")));
        let found = |folder: &str, target: Option<&str>, modules: &str| {
            Some((folder.into(), target.map(Into::into), modules.into()))
        };
        assert_eq!(place("urpc/src/lib.rs"), found("urpc", None, ""));
        assert_eq!(place("monitor/src/ops/proc/tests.rs"), found("monitor", None, "ops::proc::tests"));
        assert_eq!(place("skb/src/tests/mod.rs"), found("skb", None, "tests"));
        assert_eq!(place("tests/tests/attacks/fuzz.rs"), found("tests", Some("attacks"), "fuzz"));
        assert_eq!(place("tests/tests/attacks/main.rs"), found("tests", Some("attacks"), ""));
        assert_eq!(place("tests/src/cli.rs"), found("tests", None, "cli"));
        assert_eq!(place("boards/qemu-q35/build.rs"), None);
    }

    #[test]
    fn modules_inside_a_file_end_where_they_end() {
        let text = "mod a {\n    mod b {\n        #[test]\n        #[should_panic]\n        fn one() {}\n    }\n    #[test]\n    fn two() {\n    }\n    proptest! {\n        #[test]\n        fn three(x in 0..1) {}\n    }\n}\nfn none() {}\n#[test]\nfn four() {}\n";
        assert_eq!(tests_in(text, &["m".into()]), ["m::a::b::one", "m::a::two", "m::a::three", "m::four"]);
    }
}
