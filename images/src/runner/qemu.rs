//! Finding QEMU, and the command line of an island.

use super::{Options, process};
use crate::error::{Error, Result};
use crate::fleet::{Board, Fleet, Island};
use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

/// The oldest version that runs a fleet.
pub const OLDEST: (u32, u32) = (7, 2);
/// PCI device number of an island's first window; the next ones follow.
pub const FIRST_DEVICE: usize = 0x10;
/// PCI device number of an island's source of random bytes.
pub const RANDOM_DEVICE: usize = 0x08;
/// TCP port of island 0's debugger stub; the next ones follow.
pub const FIRST_GDB_PORT: usize = 1234;

/// A QEMU that can be used.
#[derive(Clone, Debug)]
pub struct Qemu {
    /// Where it is.
    pub program: PathBuf,
    /// Its version.
    pub version: (u32, u32),
}

impl Qemu {
    /// Looks in the folders of `path` for the QEMU of an ISA.
    ///
    /// # Errors
    /// There is none, or it is too old.
    pub fn find(isa: &str, path: &OsStr) -> Result<Self> {
        let name = format!("qemu-system-{isa}");
        let help = "`cargo xtask doctor` says how to get it";
        let program = std::env::split_paths(path)
            .map(|dir| dir.join(&name))
            .find(|file| file.is_file())
            .ok_or_else(|| Error::Run(format!("{name} is not installed; {help}")))?;
        let output = Command::new(&program).arg("--version").output().map_err(Error::file(&program))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = parse_version(&text)
            .ok_or_else(|| Error::Run(format!("{}: no version in {text:?}; {help}", program.display())))?;
        if version < OLDEST {
            let ((major, minor), (old_major, old_minor)) = (version, OLDEST);
            return Err(Error::Run(format!(
                "{name} {major}.{minor} is too old: {old_major}.{old_minor} or newer is needed; {help}"
            )));
        }
        Ok(Self { program, version })
    }
}

/// `QEMU emulator version 10.0.2 (Debian …)` → (10, 0).
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split("version ").nth(1)?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The command that starts island `index`.
pub(super) fn command(fleet: &Fleet, index: usize, windows: &[File], options: &Options) -> Result<Command> {
    let island = &fleet.islands[index];
    let boot = options.images.join(island.board.name());
    let bundle = options.images.join("bundle.tar");
    for file in [&boot, &bundle] {
        std::fs::metadata(file).map_err(Error::file(file))?;
    }
    let mut qemu = Command::new(Qemu::find(island.board.isa(), &options.path)?.program);
    qemu.args(machine(island, options));
    qemu.args(memory(island));
    qemu.arg("-kernel").arg(boot).arg("-initrd").arg(bundle);
    qemu.args(["-append", &command_line(fleet, index, options)]);
    qemu.args(["-nodefaults", "-no-reboot", "-display", "none"]);
    qemu.args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
    // No pins and no ports: it is driven by messages and in memory, as all devices here.
    qemu.args(["-device", &format!("virtio-rng-pci,disable-legacy=on,bus=pcie.0,addr={RANDOM_DEVICE:#x}")]);
    for (device, link) in links(fleet, index) {
        let (size, path) = (fleet.links[link].size, process::path(&windows[link]));
        qemu.args([
            "-object",
            &format!("memory-backend-file,id=window{link},share=on,size={size},mem-path={path}"),
        ]);
        qemu.args(["-device", &format!("ivshmem-plain,memdev=window{link},bus=pcie.0,addr={device:#x}")]);
    }
    if options.gdb {
        qemu.args(["-gdb", &format!("tcp:127.0.0.1:{}", FIRST_GDB_PORT + index)]);
    }
    qemu.args(&options.qemu_args);
    Ok(qemu)
}

/// Device number and link number of an island's windows, in order.
fn links(fleet: &Fleet, index: usize) -> impl Iterator<Item = (usize, usize)> {
    let mine =
        fleet.links.iter().enumerate().filter(move |(_, l)| l.between.0 == index || l.between.1 == index);
    mine.enumerate().map(|(nth, (link, _))| (FIRST_DEVICE + nth, link))
}

fn machine(island: &Island, options: &Options) -> Vec<String> {
    let native = std::env::consts::ARCH == island.board.isa();
    let (accel, cpu) = match island.board {
        // QEMU's x2APIC reads the clock in a place where it cannot count instructions ("Bad icount read").
        Board::Q35 if options.icount => ("tcg,thread=single", "max,-x2apic"),
        Board::Virt { .. } if options.icount => ("tcg,thread=single", "max"),
        _ if options.kvm && native => ("kvm", "host"),
        _ => ("tcg,thread=multi", "max"),
    };
    let machine = match island.board {
        Board::Q35 => "q35".to_string(),
        Board::Virt { gic } => format!("virt,gic-version={gic}"),
    };
    let cores = island.cores.to_string();
    let mut args = vec!["-M", &machine, "-accel", accel, "-cpu", cpu, "-smp", &cores];
    if options.icount {
        args.extend(["-icount", "shift=0,sleep=off"]);
    }
    args.into_iter().map(String::from).collect()
}

/// Memory and, if there are several, NUMA nodes: cores and memory split evenly, every distance 20.
fn memory(island: &Island) -> Vec<String> {
    let Island { nodes, cores, memory, .. } = island;
    let mut args: Vec<String> = vec!["-m".into(), memory.to_string()];
    if *nodes == 1 {
        return args;
    }
    let mut add = |option: &str, value: String| args.extend([option.to_string(), value]);
    for node in 0..*nodes {
        let (first, last) = (node * cores / nodes, (node + 1) * cores / nodes - 1);
        add("-object", format!("memory-backend-ram,id=node{node},size={}", memory.0 / u64::from(*nodes)));
        add("-numa", format!("node,nodeid={node},memdev=node{node},cpus={first}-{last}"));
    }
    for a in 0..*nodes {
        for b in 0..*nodes {
            let distance = if a == b { 10 } else { 20 };
            add("-numa", format!("dist,src={a},dst={b},val={distance}"));
        }
    }
    args
}

/// What the island is told: who it is, and which device leads to whom.
fn command_line(fleet: &Fleet, index: usize, options: &Options) -> String {
    let peer = |(a, b): (usize, usize)| if a == index { b } else { a };
    let words: Vec<String> = links(fleet, index)
        .map(|(device, link)| format!("{device}:{}", peer(fleet.links[link].between)))
        .collect();
    let mut line = format!("island={index} bound_ms={} fleet={} epoch=1", fleet.bound_ms, fleet.name);
    if !words.is_empty() {
        line += &format!(" links={}", words.join(","));
    }
    if !options.append.is_empty() {
        line += &format!(" {}", options.append);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse_version("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds)"), Some((10, 0)));
        assert_eq!(parse_version("QEMU emulator version 7.2"), Some((7, 2)));
        assert_eq!(parse_version("something else"), None);
    }

    #[test]
    fn command_lines_name_device_and_peer() {
        let text = format!("links = \"all\"\n{}", "[[island]]\nboard = \"qemu-q35\"\ncores = 1\n".repeat(3));
        let fleet = Fleet::parse("three", &text).unwrap();
        let options = Options::new("/nowhere");
        assert_eq!(
            command_line(&fleet, 0, &options),
            "island=0 bound_ms=2000 fleet=three epoch=1 links=16:1,17:2"
        );
        assert_eq!(
            command_line(&fleet, 2, &options),
            "island=2 bound_ms=2000 fleet=three epoch=1 links=16:0,17:1"
        );
    }

    #[test]
    fn nodes_share_cores_and_memory() {
        let mut island = Fleet::default_fleet().unwrap().islands[0].clone();
        island.cores = 5;
        let args = memory(&island).join(" ");
        assert!(args.contains("node,nodeid=0,memdev=node0,cpus=0-1"), "{args}");
        assert!(args.contains("node,nodeid=1,memdev=node1,cpus=2-4"), "{args}");
        assert!(args.contains("dist,src=0,dst=1,val=20"), "{args}");
    }
}
