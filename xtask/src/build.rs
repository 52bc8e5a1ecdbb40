//! Building the image set.

use crate::rust::Rust;
use crate::shell::{Result, progress, root, run};
use crate::targets::{Package, TARGETS, Target};
use skerry_bundle::{Bundle, Kind};
use skerry_images::pack::{Packer, describe};
use skerry_images::{Error, arm_image, elf, first};
use std::path::{Path, PathBuf};

/// Where the built files are.
pub struct Images {
    /// Holds `bundle.tar` and, for each board, the file that its boot loader starts.
    pub dir: PathBuf,
}

impl Images {
    /// The bundle.
    pub fn bundle(&self) -> PathBuf {
        self.dir.join("bundle.tar")
    }

    /// The bundle's members as one line each.
    pub fn describe(&self) -> Result<String> {
        let path = self.bundle();
        let bytes = std::fs::read(&path).map_err(Error::file(&path))?;
        let bundle = Bundle::open(&bytes).map_err(|cause| cause.to_string())?;
        Ok(format!("{}\n{}", path.display(), describe(&bundle)))
    }
}

/// Where images are built to.
pub fn images_dir() -> PathBuf {
    root().join("target/images")
}

/// Builds `only` these packages, or all, and packs whatever is built.
pub fn build(rust: Rust, only: &[String]) -> Result<Images> {
    let images = Images { dir: images_dir() };
    std::fs::create_dir_all(&images.dir).map_err(Error::file(&images.dir))?;
    let mut packer = Packer::new();
    for target in &TARGETS {
        let wanted: Vec<&Package> = target.packages.iter().filter(|p| has_code(p)).collect();
        let named: Vec<&Package> =
            wanted.iter().copied().filter(|p| only.is_empty() || only.iter().any(|o| o == p.name)).collect();
        if !named.is_empty() {
            compile(rust, target, &named)?;
        }
        for package in wanted {
            let path = linked(target, package);
            if path.exists() {
                add(&mut packer, target, package, &path, &images.dir)?;
            }
        }
    }
    let path = images.bundle();
    std::fs::write(&path, packer.pack()?).map_err(Error::file(&path))?;
    Ok(images)
}

/// Whether the package is more than a placeholder.
pub fn has_code(package: &Package) -> bool {
    let dir = if package.cpu_driver { "boards" } else { "apps" };
    std::fs::read_to_string(root().join(dir).join(package.member).join("src/main.rs"))
        .is_ok_and(|text| text.contains("no_main"))
}

/// One cargo invocation for all packages of a target: what they share is compiled once.
fn compile(rust: Rust, target: &Target, packages: &[&Package]) -> Result<()> {
    progress(format!("building {} for {}", names(packages), target.triple));
    let mut cargo = rust.cargo_for("build", target);
    for package in packages {
        cargo.args(["--package", package.name]);
    }
    run(&mut cargo, &format!("building for {}", target.triple))
}

/// ISA and linked file of every CPU driver that has been built.
pub fn cpu_drivers() -> Vec<(&'static str, PathBuf)> {
    let files =
        TARGETS.iter().flat_map(|target| target.packages.iter().map(move |package| (target, package)));
    let drivers = files.filter(|(_, package)| package.cpu_driver && has_code(package));
    drivers
        .map(|(target, package)| (target.isa, linked(target, package)))
        .filter(|(_, path)| path.exists())
        .collect()
}

/// Where cargo puts a package's program.
fn linked(target: &Target, package: &Package) -> PathBuf {
    root().join("target").join(target.triple).join("release").join(package.name)
}

fn names(packages: &[&Package]) -> String {
    packages.iter().map(|p| p.member).collect::<Vec<_>>().join(", ")
}

fn add(packer: &mut Packer, target: &Target, package: &Package, path: &Path, dir: &Path) -> Result<()> {
    let file = std::fs::read(path).map_err(Error::file(path))?;
    // Debuggers read the linked file. Of a CPU driver the monitors read the symbols: where another core enters.
    let file = elf::strip(&file, package.cpu_driver)?;
    if package.cpu_driver {
        let boot = dir.join(package.member);
        let image = if target.isa == "aarch64" { arm_image::from_elf(&file)? } else { file.clone() };
        std::fs::write(&boot, image).map_err(Error::file(&boot))?;
    }
    // What a core starts with, its CPU driver loads: `init` on an island's first core, the monitor on all others.
    match package.member {
        "init" => packer.add(target.isa, Kind::Data, "init", first::lay_out(&file)?),
        "monitor" => packer.add(target.isa, Kind::Data, "first", first::lay_out(&file)?),
        _ => {}
    }
    if package.member != "init" {
        let kind = if package.cpu_driver { Kind::CpuDriver } else { Kind::Domain };
        packer.add(target.isa, kind, package.member, file);
    }
    Ok(())
}
