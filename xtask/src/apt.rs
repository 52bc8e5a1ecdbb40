//! Packages of a Debian-like distribution; of QEMU the newest that it has, which is in its backports.

use crate::shell::{Result, capture, progress, run, tool};
use std::path::Path;
use std::process::Command;

/// Packages that hold both QEMUs.
const PACKAGES: &str = "qemu-system-x86 qemu-system-arm";
/// Where the source of backports is written if it is not there yet.
const LIST: &str = "/etc/apt/sources.list.d/skerry-backports.list";

/// What would be done.
pub struct Plan {
    /// Shell commands, in order.
    pub commands: Vec<String>,
    /// Whether this process may run them.
    pub can_run: bool,
}

impl Plan {
    /// How packages that are in the machine's own suites are installed.
    pub fn to_install(packages: &str) -> Self {
        if tool("apt-get").is_none() {
            let text = format!("(no apt-get here) {packages}");
            return Self { commands: vec![text], can_run: false };
        }
        let install = format!("apt-get install -y --no-install-recommends {packages}");
        Self::new(vec!["apt-get update".into(), install])
    }

    /// Commands that need root.
    fn new(mut commands: Vec<String>) -> Self {
        let root = capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
        if !root {
            commands = vec![format!("sudo sh -c \"{}\"", commands.join(" && "))];
        }
        Self { commands, can_run: root }
    }

    /// Does it.
    pub fn run(&self) -> Result<()> {
        for command in &self.commands {
            progress(format!("running: {command}"));
            let mut shell = Command::new("sh");
            shell.args(["-c", command]).env("DEBIAN_FRONTEND", "noninteractive");
            run(&mut shell, command)?;
        }
        Ok(())
    }
}

/// How QEMU is installed on this machine.
pub fn plan() -> Plan {
    if tool("apt-get").is_none() {
        let text = format!(
            "(no apt-get here) install QEMU 7.2 or newer for x86_64 and aarch64 yourself, as in: {PACKAGES}"
        );
        return Plan { commands: vec![text], can_run: false };
    }
    let sources = sources();
    let codename = std::fs::read_to_string("/etc/os-release").ok().and_then(|text| codename(&text));
    let backports = codename.and_then(|codename| backports(&sources, &codename));
    let mut commands = Vec::new();
    let install = match backports {
        None => format!("apt-get install -y --no-install-recommends {PACKAGES}"),
        Some(Backports { suite, line }) => {
            if let Some(line) = line {
                commands.push(format!("echo '{line}' > {LIST}"));
            }
            format!("apt-get install -y --no-install-recommends -t {suite} {PACKAGES}")
        }
    };
    commands.push("apt-get update".into());
    commands.push(install);
    Plan::new(commands)
}

/// A suite with newer packages.
#[derive(Debug, PartialEq, Eq)]
struct Backports {
    suite: String,
    /// The source line to add, unless it is there already.
    line: Option<String>,
}

/// All apt sources as one-line entries: options, URI, suite, components.
fn sources() -> Vec<Source> {
    let mut files = vec![Path::new("/etc/apt/sources.list").to_path_buf()];
    let dir = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    files.extend(dir.map(|entry| entry.path()));
    let parse = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => one_line(&text),
            Some("sources") => deb822(&text),
            _ => Vec::new(),
        }
    };
    files.iter().flat_map(parse).collect()
}

/// One archive and suite.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    signed_by: Option<String>,
    uri: String,
    suite: String,
    components: String,
}

/// `deb [signed-by=…] URI SUITE COMPONENT…` (sources.list(5)).
fn one_line(text: &str) -> Vec<Source> {
    let parse = |line: &str| {
        let mut rest = line.trim().strip_prefix("deb ")?.trim();
        let mut signed_by = None;
        if let Some((options, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            signed_by =
                options.split_whitespace().find_map(|o| o.strip_prefix("signed-by=")).map(String::from);
            rest = after.trim();
        }
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?.into(), words.next()?.into());
        Some(Source { signed_by, uri, suite, components: words.collect::<Vec<_>>().join(" ") })
    };
    text.lines().filter_map(parse).collect()
}

/// Stanzas of `Key: value` lines (sources.list(5), "deb822-style").
fn deb822(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |key: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(str::trim).map(String::from))
        };
        let off = field("Enabled").is_some_and(|value| value == "no");
        let (Some(types), Some(uris), Some(suites)) = (field("Types"), field("URIs"), field("Suites")) else {
            continue;
        };
        if off || !types.split_whitespace().any(|kind| kind == "deb") {
            continue;
        }
        for uri in uris.split_whitespace() {
            for suite in suites.split_whitespace() {
                found.push(Source {
                    signed_by: field("Signed-By"),
                    uri: uri.into(),
                    suite: suite.into(),
                    components: field("Components").unwrap_or_default(),
                });
            }
        }
    }
    found
}

/// The backports of the suite this machine runs, from the same archive as that suite.
fn backports(sources: &[Source], codename: &str) -> Option<Backports> {
    let suite = format!("{codename}-backports");
    if sources.iter().any(|source| source.suite == suite) {
        return Some(Backports { suite, line: None });
    }
    let base = sources.iter().find(|source| source.suite == codename)?;
    let options = base.signed_by.as_ref().map(|path| format!("[signed-by={path}] ")).unwrap_or_default();
    let line = format!("deb {options}{} {suite} {}", base.uri, base.components);
    Some(Backports { suite, line: Some(line) })
}

fn codename(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"').to_string()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb deb-src
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/k.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
";

    #[test]
    fn backports_come_from_the_machines_own_archive() {
        let line = "deb [signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian bookworm-backports main contrib";
        let expected = Backports { suite: "bookworm-backports".into(), line: Some(line.into()) };
        assert_eq!(backports(&deb822(DEB822), "bookworm"), Some(expected));
    }

    #[test]
    fn one_line_sources_do_as_well() {
        let text = "# deb http://old x main\ndeb http://mirror.example/ubuntu noble main universe\ndeb-src http://m noble main\n";
        let found = backports(&one_line(text), "noble").unwrap();
        assert_eq!(found.line.unwrap(), "deb http://mirror.example/ubuntu noble-backports main universe");
    }

    #[test]
    fn backports_that_are_there_are_not_added() {
        let text =
            format!("{DEB822}\nTypes: deb\nURIs: http://b\nSuites: bookworm-backports\nComponents: main\n");
        assert_eq!(backports(&deb822(&text), "bookworm").unwrap().line, None);
        let off = text.replace("Suites: bookworm-backports", "Enabled: no\nSuites: bookworm-backports");
        assert!(backports(&deb822(&off), "bookworm").unwrap().line.is_some());
    }

    #[test]
    fn an_unknown_archive_has_no_backports() {
        assert_eq!(backports(&deb822(DEB822), "trixie"), None);
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n").as_deref(), Some("bookworm"));
        assert_eq!(codename("ID=arch\n"), None);
    }
}
