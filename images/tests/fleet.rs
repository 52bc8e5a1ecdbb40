//! Fleet files: what can boot is read, what cannot is refused with the cause and the way out.

use skerry_images::fleet::{Board, Fleet, Size};

fn refusal(text: &str) -> String {
    Fleet::parse("test", text).expect_err(text).to_string()
}

/// One island with these lines.
fn island(lines: &str) -> String {
    format!("[[island]]\n{lines}\n")
}

/// `n` small PCs.
fn islands(n: usize) -> String {
    island("board = \"qemu-q35\"\ncores = 1").repeat(n)
}

#[test]
fn the_default_fleet_is_a_pc_and_an_arm_machine() {
    let fleet = Fleet::default_fleet().unwrap();
    assert_eq!(fleet.cores(), 8);
    assert_eq!(fleet.bound_ms, 2000);
    assert_eq!((fleet.islands[0].board, fleet.islands[0].nodes), (Board::Q35, 2));
    assert_eq!(fleet.islands[1].board, Board::Virt { gic: 3 });
    assert_eq!(fleet.links.len(), 1);
    assert_eq!(
        fleet.links_of(1).map(|(peer, link)| (peer, link.size)).collect::<Vec<_>>(),
        [(0, Size(16 << 20))]
    );
}

#[test]
fn pairs() {
    let fleet = Fleet::pair(1, 0).unwrap();
    assert_eq!((fleet.islands.len(), fleet.links.len(), fleet.islands[0].nodes), (1, 0, 1));
    assert_eq!(Fleet::pair(0, 1).unwrap().islands[0].board.isa(), "aarch64");
    assert_eq!(Fleet::pair(3, 5).unwrap().cores(), 8);
    assert!(Fleet::pair(0, 0).unwrap_err().to_string().contains("at least one"));
    assert!(Fleet::pair(256, 1).unwrap_err().to_string().contains("at most 255"));
}

#[test]
fn links_all_is_a_full_mesh() {
    let fleet = Fleet::parse("mesh", &format!("links = \"all\"\n{}", islands(5))).unwrap();
    assert_eq!(fleet.links.len(), 10);
    assert_eq!(fleet.links_of(2).map(|(peer, _)| peer).collect::<Vec<_>>(), [0, 1, 3, 4]);
}

#[test]
fn a_link_may_be_written_either_way_round() {
    let fleet = Fleet::parse("two", &format!("{}[[link]]\nbetween = [1, 0]", islands(2))).unwrap();
    assert_eq!(fleet.links[0].between, (0, 1));
}

#[test]
fn bad_islands_are_refused() {
    let q35 = |lines: &str| refusal(&island(&format!("board = \"qemu-q35\"\n{lines}")));
    let virt = |lines: &str| refusal(&island(&format!("board = \"qemu-virt\"\n{lines}")));
    for (message, words) in [
        (refusal(""), "no islands; write"),
        (q35("cores = 0"), "island 0: zero cores; give it at least 1"),
        (q35("cores = 256"), "at most 255"),
        (virt("cores = 9\ngic = 2"), "at most 8; gic = 3 allows more"),
        (virt("cores = 513"), "at most 512"),
        (virt("cores = 1\ngic = 4"), "there are 2 and 3"),
        (q35("cores = 1\ngic = 3"), "has no gic"),
        (refusal(&island("board = \"pdp-11\"\ncores = 1")), "unknown board \"pdp-11\"; there are"),
        (q35("cores = 2\nnodes = 3"), "every node needs a core"),
        (q35("cores = 2\nnodes = 0"), "at least one node"),
        (q35("cores = 1\nmemory = \"32M\""), "at least 64M"),
        (q35("cores = 4\nnodes = 4\nmemory = \"64M\""), "every node needs at least 32M"),
        (q35("cores = 1\nmemory = \"lots\""), "write it like \"512M\""),
        (q35("cores = 1\nname = \"a b\""), "use letters"),
        (q35("cores = -1"), "cores"),
        (q35("cores = 1\ncolour = 3"), "colour"),
        (q35(""), "cores"),
        (refusal("islands = ["), "TOML"),
        (format!("bound: {}", refusal(&format!("bound_ms = 0\n{}", islands(1)))), "2000 is the default"),
        (refusal(&format!("links = \"all\"\n{}", islands(18))), "at most 17"),
    ] {
        assert!(message.contains(words), "{message:?} lacks {words:?}");
    }
}

#[test]
fn bad_links_are_refused() {
    let link = |lines: &str| refusal(&format!("{}[[link]]\n{lines}\n", islands(2)));
    let ok = "[[link]]\nbetween = [0, 1]\n";
    for (message, words) in [
        (link("between = [1, 1]"), "from island 1 to itself"),
        (link("between = [0, 2]"), "no island 2; the last one is 1"),
        (link(&format!("between = [0, 1]\n{ok}")), "named twice"),
        (link("between = [1, 0]\n[[link]]\nbetween = [0, 1]"), "named twice"),
        (link("between = [0, 1]\nsize = \"4K\""), "no room for the channels; at least"),
        (link("between = [0, 1]\nsize = \"2G\""), "at most 256M"),
        (link("between = [0, 1]\nsize = \"3M\""), "power of two"),
        (refusal(&islands(2)), "or links = \"all\""),
        (refusal(&format!("{}{ok}", islands(3))), "between = [0, 2]"),
        (refusal(&format!("links = \"all\"\n{}{ok}", islands(2))), "keep one"),
        (refusal(&format!("links = \"none\"\n{}", islands(2))), "the only word is"),
    ] {
        assert!(message.contains(words), "{message:?} lacks {words:?}");
    }
}

#[test]
fn names_must_differ() {
    let text = island("board = \"qemu-q35\"\ncores = 1\nname = \"a\"").repeat(2);
    assert!(refusal(&text).contains("is taken"));
}
