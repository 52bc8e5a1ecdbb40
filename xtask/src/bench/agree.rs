//! `agreement.unmap` and `agreement.twopc` in QEMU: what every core of an island executes for an operation that
//! `apps/share` asks for, an unprivileged program, by the monitors that ship. A plugin (`xtask/entries`) counts, in samples that
//! begin and end where the program says so; what monitors look for in vain meanwhile is left out.

use super::guest::{ISAS, NO_BOUND_MS, PATIENCE};
use super::{Figures, entries};
use crate::build::Images;
use crate::setup;
use crate::shell::{Result, fail, progress, root};
use skerry_images::Error;
use skerry_images::fleet::Fleet;
use skerry_images::runner::{Options, System};
use std::path::{Path, PathBuf};

/// Cores of the large island.
const CORES: u32 = 16;
/// Monitors that poll for so long never block between two samples.
const POLLING: &str = "poll_ns=1000000";
/// Retypes under way at a time, as in `apps/share`.
const DEEP: u64 = 16;

/// Whether any figure of this file was asked for.
pub fn wanted(figures: &Figures) -> bool {
    ["agreement.unmap.", "agreement.twopc."].iter().any(|name| figures.wants(name))
}

/// Whether figures of a kind were asked for, on this ISA too if a whole name was given.
fn wants(figures: &Figures, kind: &str, isa: &str) -> bool {
    let other = |name: &str| ISAS.iter().any(|(other, ..)| *other != isa && name.ends_with(other));
    figures.wants(&format!("agreement.{kind}.")) && !figures.name.is_some_and(other)
}

/// Measures what was asked for.
pub fn measure(images: &Images, figures: &mut Figures) -> Result<()> {
    setup::qemu(&["x86_64", "aarch64"])?;
    let plugin = entries::plugin()?;
    for (isa, x86, arm) in ISAS {
        let island = |cores: u32| Fleet::pair(x86 / 2 * cores, arm / 2 * cores);
        if wants(figures, "unmap", isa) {
            let result = island(CORES).map_err(Into::into).and_then(|fleet| {
                unmap(&mut Counted::boot(images, &plugin, &fleet, POLLING)?, isa, figures)?;
                busy(&mut Counted::boot(images, &plugin, &fleet, "")?, isa, figures)
            });
            figures.take(&format!("agreement.unmap on {isa}"), result);
        }
        if wants(figures, "twopc", isa) {
            let result = island(2)
                .map_err(Into::into)
                .and_then(|fleet| retype(&mut Counted::boot(images, &plugin, &fleet, "")?, isa, figures));
            figures.take(&format!("agreement.twopc on {isa}"), result);
        }
    }
    Ok(())
}

/// A page that 1 core and more forget, all monitors polling.
fn unmap(island: &mut Counted, isa: &str, figures: &mut Figures) -> Result<()> {
    for cores in [1, 2, 4, 8, CORES] {
        let samples = island.run(&format!("run 0.0 share unmap cores={cores}"))?;
        figures.instructions(&format!("unmap.initiator.{cores}.{isa}"), &samples, Sample::own);
        match cores {
            1 => figures.instructions(&format!("unmap.local.{isa}"), &samples, Sample::others),
            CORES => figures.each_other(&format!("unmap.remote.{isa}"), &samples),
            _ => {}
        }
    }
    Ok(())
}

/// The same where every other core runs a domain that never gives it up.
fn busy(island: &mut Counted, isa: &str, figures: &mut Figures) -> Result<()> {
    for core in 1..CORES {
        island.exec(&format!("spawn 0.{core} share busy"))?;
    }
    let samples = island.run(&format!("run 0.0 share unmap cores={CORES}"))?;
    figures.each_other(&format!("unmap.remote_busy.{isa}"), &samples);
    figures.instructions(&format!("unmap.total{CORES}.{isa}"), &samples, |sample| {
        sample.own() + sample.others()
    });
    Ok(())
}

/// RAM that two cores hold is retyped, a page at a time and many: per operation and core.
fn retype(island: &mut Counted, isa: &str, figures: &mut Figures) -> Result<()> {
    island.exec("spawn 0.1 share hold")?;
    let holds = island.system.wait_line(0, "share: holds ", PATIENCE)?;
    let to = holds.rsplit(' ').next().unwrap_or_default().trim();
    let samples = island.run(&format!("run 0.0 share retype to={to}"))?;
    let (single, deep) = samples.split_at(samples.len() / 2);
    for (name, samples, operations) in [("single", single, 1), ("pipelined", deep, DEEP)] {
        let each = |sample: &Sample| (sample.own() + sample.others()) / (2 * operations);
        figures.instructions(&format!("twopc.{name}.{isa}"), samples, each);
    }
    Ok(())
}

/// What each core executed; the first word is the core that measured.
struct Sample(Vec<u64>);

impl Sample {
    fn own(&self) -> u64 {
        self.0.get(self.0[0] as usize + 1).copied().unwrap_or(0)
    }

    fn each_other(&self) -> impl Iterator<Item = u64> {
        let me = self.0[0] as usize;
        self.0[1..].iter().enumerate().filter(move |(core, _)| *core != me).map(|(_, count)| *count)
    }

    fn others(&self) -> u64 {
        self.each_other().sum()
    }
}

impl Figures<'_> {
    /// The median of what `of` says of the samples.
    fn instructions(&mut self, name: &str, samples: &[Sample], of: impl Fn(&Sample) -> u64) {
        self.median(name, samples.iter().map(of).collect());
    }

    /// The median of what each core but the one that measured did in each sample.
    fn each_other(&mut self, name: &str, samples: &[Sample]) {
        self.median(name, samples.iter().flat_map(Sample::each_other).collect());
    }

    fn median(&mut self, name: &str, mut all: Vec<u64>) {
        all.sort_unstable();
        if let Some(median) = all.get(all.len() / 2) {
            self.add(&format!("agreement.{name} {median} instructions"));
        }
    }
}

/// An island whose instructions the plugin counts.
struct Counted {
    system: System,
    out: PathBuf,
    /// Lines of `out` that were read.
    read: usize,
}

impl Counted {
    fn boot(images: &Images, plugin: &Path, fleet: &Fleet, append: &str) -> Result<Self> {
        let out = root().join("target/agreement.samples");
        let mut fleet = fleet.clone();
        fleet.bound_ms = NO_BOUND_MS;
        let mut options = Options::new(&images.dir);
        options.icount = true;
        options.append = append.into();
        options.qemu_args =
            ["-plugin".into(), format!("{},samples={}", plugin.display(), out.display())].into();
        progress(format!(
            "counting what {} cores of {} execute",
            fleet.cores(),
            fleet.islands[0].board.name()
        ));
        let system = System::boot(&fleet, &options)?;
        system.wait_up(PATIENCE)?;
        Ok(Self { system, out, read: 0 })
    }

    fn exec(&self, command: &str) -> Result<()> {
        let reply = self.system.exec(0, command, PATIENCE)?;
        if reply.status != 0 {
            return fail(format!("`{command}`: {}", reply.lines.join(" ")));
        }
        Ok(())
    }

    /// Runs a program; the samples that it took.
    fn run(&mut self, command: &str) -> Result<Vec<Sample>> {
        self.exec(command)?;
        let text = std::fs::read_to_string(&self.out).map_err(Error::file(&self.out))?;
        let words = |line: &str| line.split(' ').map(str::parse).collect::<std::result::Result<_, _>>();
        let fresh: std::result::Result<Vec<Vec<u64>>, _> = text.lines().skip(self.read).map(words).collect();
        self.read = text.lines().count();
        let samples: Vec<Sample> = fresh?.into_iter().map(Sample).collect();
        if samples.is_empty() {
            return fail(format!("`{command}`: nothing was counted"));
        }
        Ok(samples)
    }
}
