//! From TOML to a [`Fleet`].

use super::{
    Board, DEFAULT_BOUND_MS, DEFAULT_MEMORY, DEFAULT_WINDOW, Fleet, FleetError, Island, Link, Size, bad,
    check,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FleetText {
    bound_ms: Option<u32>,
    links: Option<String>,
    #[serde(default)]
    island: Vec<IslandText>,
    #[serde(default)]
    link: Vec<LinkText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IslandText {
    name: Option<String>,
    board: String,
    cores: u32,
    nodes: Option<u32>,
    memory: Option<String>,
    gic: Option<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkText {
    between: (usize, usize),
    size: Option<String>,
}

impl Fleet {
    /// Reads and checks a fleet file. `name` is what the fleet is to be called.
    ///
    /// # Errors
    /// What is wrong, where, and what would be right.
    pub fn parse(name: &str, text: &str) -> Result<Self, FleetError> {
        let text: FleetText = toml::from_str(text).map_err(|cause| FleetError(cause.to_string()))?;
        let islands = text.island.into_iter().enumerate().map(|(index, island)| island.read(index));
        let mut fleet = Self {
            name: name.into(),
            bound_ms: text.bound_ms.unwrap_or(DEFAULT_BOUND_MS),
            islands: islands.collect::<Result<_, _>>()?,
            links: text.link.into_iter().map(LinkText::read).collect::<Result<_, _>>()?,
        };
        match text.links.as_deref() {
            None => {}
            Some("all") if fleet.links.is_empty() => fleet.links = full_mesh(fleet.islands.len()),
            Some("all") => return bad("both `links = \"all\"` and [[link]]: keep one of them".into()),
            Some(other) => {
                return bad(format!("links = \"{other}\" means nothing; the only word is \"all\""));
            }
        }
        check::check(&fleet)?;
        Ok(fleet)
    }
}

/// A link for every pair.
fn full_mesh(islands: usize) -> Vec<Link> {
    (0..islands)
        .flat_map(|a| (a + 1..islands).map(move |b| Link { between: (a, b), size: DEFAULT_WINDOW }))
        .collect()
}

impl IslandText {
    fn read(self, index: usize) -> Result<Island, FleetError> {
        let board = match (self.board.as_str(), self.gic) {
            ("qemu-q35", None) => Board::Q35,
            ("qemu-q35", Some(_)) => {
                return bad(format!("island {index}: a qemu-q35 has no gic; remove the line"));
            }
            ("qemu-virt", gic @ (None | Some(2 | 3))) => Board::Virt { gic: gic.unwrap_or(3) },
            ("qemu-virt", Some(gic)) => {
                return bad(format!("island {index}: gic = {gic}; there are 2 and 3"));
            }
            (other, _) => {
                return bad(format!(
                    "island {index}: unknown board \"{other}\"; there are \"qemu-q35\" and \"qemu-virt\""
                ));
            }
        };
        let memory = read_size(self.memory, DEFAULT_MEMORY, &format!("island {index}: memory"))?;
        let name = self.name.unwrap_or_else(|| format!("{index}"));
        Ok(Island { name, board, cores: self.cores, nodes: self.nodes.unwrap_or(1), memory })
    }
}

impl LinkText {
    fn read(self) -> Result<Link, FleetError> {
        let (a, b) = self.between;
        let size = read_size(self.size, DEFAULT_WINDOW, &format!("link {a}-{b}: size"))?;
        Ok(Link { between: (a.min(b), a.max(b)), size })
    }
}

fn read_size(text: Option<String>, default: Size, what: &str) -> Result<Size, FleetError> {
    let Some(text) = text else { return Ok(default) };
    Size::parse(&text)
        .ok_or_else(|| FleetError(format!("{what} = \"{text}\" is no size; write it like \"512M\"")))
}
