//! `agreement`: what agreement costs on a simulated machine (figures 6 to 8 of the paper), with curves in `docs/evaluation/`.

use super::{Figures, is_figure};
use crate::shell::{Result, capture, progress, root};
use crate::sim;
use skerry_images::Error;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What the figures' names begin with.
pub const NAME: &str = "agreement";

/// The drawings: a file, its title, what the figures of its curves begin with, and the most cores of it.
const DRAWINGS: [(&str, &str, &str, u32); 4] = [
    ("figure6.svg", "Telling all cores (8x4-core AMD, simulated): cycles", "agreement.raw.", 32),
    ("figure6-1024.svg", "The same, 256 packages of four cores: cycles", "agreement.raw.", 1024),
    ("figure7.svg", "Unmap, end to end (8x4-core AMD, simulated): cycles", "agreement.unmap.", 32),
    ("figure8.svg", "Two-phase commit, one and twelve at a time: cycles each", "agreement.twopc.", 32),
];

/// A curve's name, and its points: cores, cycles.
type Curves = BTreeMap<String, Vec<(u32, f64)>>;

/// Measures, and draws.
pub fn measure(figures: &mut Figures) -> Result<()> {
    progress("simulating agreement");
    let output = capture(sim::command().arg("--figures"))?;
    let lines: Vec<&str> = output.lines().filter(|line| is_figure(line)).collect();
    lines.iter().for_each(|line| figures.add(line));
    let folder = root().join("docs/evaluation");
    std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
    for (file, title, prefix, most) in DRAWINGS {
        let path = folder.join(file);
        let drawing = draw(title, &curves(&lines, prefix, most));
        std::fs::write(&path, drawing).map_err(Error::file(&path))?;
    }
    Ok(())
}

/// The figures of one drawing.
fn curves(lines: &[&str], prefix: &str, most: u32) -> Curves {
    let mut curves = Curves::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let Some((rest, value)) = words[0].strip_prefix(prefix).zip(words[1].parse::<f64>().ok()) else {
            continue;
        };
        let (name, cores) = rest.rsplit_once('.').unwrap_or(("monitors", rest));
        if let Some(cores) = cores.parse().ok().filter(|cores| *cores <= most) {
            curves.entry(name.into()).or_default().push((cores, value));
        }
    }
    curves
}

/// The drawing's width and height, and the room around the curves.
const SIZE: (f64, f64) = (640.0, 400.0);
const EDGE: f64 = 60.0;
/// Lines across the drawing.
const STEPS: u32 = 4;
const COLOURS: [&str; 4] = ["#c0392b", "#2471a3", "#1e8449", "#7d3c98"];

/// Curves over cores, both axes from 0.
fn draw(title: &str, curves: &Curves) -> String {
    let points = || curves.values().flatten();
    let cores = points().map(|(cores, _)| *cores).max().unwrap_or(1);
    let top = points().map(|(_, value)| *value).fold(1.0, f64::max);
    let (width, height) = (SIZE.0 - 2.0 * EDGE, SIZE.1 - 2.0 * EDGE);
    let x = |at: f64| EDGE + width * at / f64::from(cores);
    let y = |at: f64| SIZE.1 - EDGE - height * at / top;
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {} {}' font-family='sans-serif' font-size='12'>\n\
         <rect width='100%' height='100%' fill='white'/>\n<text x='{EDGE}' y='24' font-size='14'>{title}</text>\n",
        SIZE.0, SIZE.1
    );
    for step in 0..=STEPS {
        let part = f64::from(step) / f64::from(STEPS);
        let (value, count) = (top * part, f64::from(cores) * part);
        let _ = writeln!(
            svg,
            "<path d='M{EDGE} {0:.1}H{1:.1}' stroke='#ddd'/><text x='6' y='{0:.1}'>{value:.0}</text>\
             <text x='{2:.1}' y='{3:.1}'>{count:.0}</text>",
            y(value),
            SIZE.0 - EDGE,
            x(count),
            SIZE.1 - EDGE + 18.0
        );
    }
    for (n, (name, points)) in curves.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let line: Vec<String> = points
            .iter()
            .map(|(cores, value)| format!("{:.1},{:.1}", x(f64::from(*cores)), y(*value)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline fill='none' stroke='{colour}' stroke-width='2' points='{}'/>\
             <text x='{}' y='{}' fill='{colour}'>{name}</text>",
            line.join(" "),
            EDGE + 12.0,
            EDGE + 16.0 * n as f64
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_curves_up_to_so_many_cores() {
        let lines = [
            "agreement.raw.unicast.2 7 cycles",
            "agreement.raw.unicast.64 9 cycles",
            "agreement.unmap.2 5 cycles",
        ];
        let all = curves(&lines, "agreement.raw.", 32);
        assert_eq!(all.get("unicast"), Some(&vec![(2, 7.0)]));
        assert_eq!(curves(&lines, "agreement.unmap.", 32).get("monitors"), Some(&vec![(2, 5.0)]));
        let drawing = draw("title", &all);
        assert!(drawing.contains("polyline") && drawing.contains("unicast") && drawing.ends_with("</svg>\n"));
    }
}
