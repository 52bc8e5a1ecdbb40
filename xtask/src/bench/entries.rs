//! `kernel.longest.fuzz`: the longest kernel entry of a whole island while programs do their worst. QEMU counts, by a
//! plugin (`xtask/entries`), in the CPU driver that ships: system calls, faults, interrupts and ticks, of both cores.

use super::Figures;
use super::guest::{ISAS, NO_BOUND_MS, PATIENCE};
use crate::build::Images;
use crate::setup;
use crate::shell::{Result, cargo, fail, progress, root, run};
use skerry_images::Error;
use skerry_images::fleet::Fleet;
use skerry_images::runner::{Options, Reply, System};
use std::path::{Path, PathBuf};

/// The figure, before the ISA.
const NAME: &str = "kernel.longest.fuzz";
/// Where the programs run. The shell, the console and the drivers are on core 0.
const CORE: &str = "0.1";
/// Invocations of garbage, in three runs with a seed each.
const CALLS: u32 = 100_000;
const SEEDS: [u32; 3] = [1, 2, 3];

/// Whether a figure of this file was asked for.
pub fn wanted(figures: &Figures) -> bool {
    figures.wants(NAME)
}

/// Measures what was asked for.
pub fn measure(images: &Images, figures: &mut Figures) -> Result<()> {
    setup::qemu(&["x86_64", "aarch64"])?;
    let plugin = plugin()?;
    for (isa, x86, arm) in ISAS {
        let name = format!("{NAME}.{isa}");
        if figures.wants(&name) {
            let result = longest(images, &plugin, &name, (x86, arm), figures);
            figures.take(&name, result);
        }
    }
    Ok(())
}

fn longest(
    images: &Images,
    plugin: &Path,
    name: &str,
    (x86, arm): (u32, u32),
    figures: &mut Figures,
) -> Result<()> {
    let out = root().join("target").join(name);
    let mut fleet = Fleet::pair(x86, arm)?;
    fleet.bound_ms = NO_BOUND_MS;
    let mut options = Options::new(&images.dir);
    options.qemu_args = ["-plugin".into(), format!("{},out={}", plugin.display(), out.display())].into();
    progress(format!("counting every kernel entry on {}", fleet.islands[0].board.name()));
    let system = System::boot(&fleet, &options)?;
    system.wait_up(PATIENCE)?;
    let list = system.exec(0, &format!("run {CORE} attack list"), PATIENCE)?;
    let cases: Vec<&str> = list.lines.iter().filter_map(|line| line.split(' ').next()).collect();
    progress(format!("{} attacks, then {} times {CALLS} invocations of garbage", cases.len(), SEEDS.len()));
    for case in &cases {
        // How each of them ends is for the tests to say.
        let _ended = system.exec(0, &format!("run {CORE} RAM=192K attack {case}"), PATIENCE)?;
    }
    for seed in SEEDS {
        let Reply { lines, status } =
            system.exec(0, &format!("run {CORE} RAM=4M attack fuzz {CALLS} {seed}"), PATIENCE)?;
        if status != 0 {
            return fail(format!("`attack fuzz` with seed {seed}: {}", lines.join(" ")));
        }
    }
    drop(system);
    let (longest, entries, at) = read(&out)?;
    progress(format!("{entries} entries; the longest began at {at}"));
    figures.add(&format!("{name} {longest} instructions"));
    Ok(())
}

/// Builds the plugin; where cargo puts it.
pub fn plugin() -> Result<PathBuf> {
    run(
        cargo().args(["build", "--quiet", "--profile", "host", "--package", "skerry-entries"]),
        "building the plugin",
    )?;
    Ok(root().join("target/host/libskerry_entries.so"))
}

/// The plugin's line: the most instructions of an entry, how many entries there were, where that one began.
fn read(path: &Path) -> Result<(u64, u64, String)> {
    let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        [longest, entries, at] => Ok((longest.parse()?, entries.parse()?, at.into())),
        _ => fail(format!("{}: `{text}`: no entry was counted", path.display())),
    }
}
