use crate::cmdline::{Fault, MAX_LINKS};
use crate::*;
use proptest::prelude::*;

#[test]
fn the_runners_line_is_understood() {
    let line = b"island=1 bound_ms=5000 links=16:0,17:2 fleet=two-isles epoch=3 log=debug\0\0";
    let line = CommandLine::parse(line).unwrap();
    assert_eq!((line.island, line.epoch, line.bound_ms), (IslandId(1), Epoch(3), 5000));
    let links: Vec<_> = line.links().map(|link| (link.device, link.peer.0)).collect();
    assert_eq!(links, [(16, 0), (17, 2)]);
    assert_eq!((line.fleet, line.get("log"), line.get("lo")), (Some("two-isles"), Some("debug"), None));
}

#[test]
fn an_empty_line_is_a_lone_island() {
    for text in ["", " ", "\0\0", "links="] {
        let line = CommandLine::parse(text.as_bytes()).unwrap();
        assert_eq!((line.island, line.epoch, line.bound_ms), (IslandId(0), Epoch(1), 2000));
        assert_eq!(line.links().count(), 0);
    }
}

#[test]
fn an_error_names_the_word() {
    let many: Vec<_> = (0..=MAX_LINKS).map(|n| format!("{n}:{}", n + 1)).collect();
    let many = format!("links={}", many.join(","));
    for (text, word, fault) in [
        ("island=x", "island=x", Fault::Number),
        ("island=65536", "island=65536", Fault::Number),
        ("island=-1", "island=-1", Fault::Number),
        ("a=b island=1 island=2", "island=1", Fault::Twice),
        ("epoch=0", "epoch=0", Fault::Number),
        ("bound_ms=0", "bound_ms=0", Fault::Number),
        ("bound_ms=3600001", "bound_ms=3600001", Fault::Number),
        ("quiet island=1", "quiet", Fault::NoValue),
        ("links=16", "links=16", Fault::Link),
        ("links=32:1", "links=32:1", Fault::Link),
        ("links=1:1,", "links=1:1,", Fault::Link),
        ("links=16:", "links=16:", Fault::Link),
        ("links=16:1,16:2", "links=16:1,16:2", Fault::LinkTwice),
        ("links=16:1,17:1", "links=16:1,17:1", Fault::LinkTwice),
        ("links=16:2 island=2", "links=16:2", Fault::SelfLink),
        (&many, &many, Fault::TooManyLinks),
    ] {
        let error = CommandLine::parse(text.as_bytes()).unwrap_err();
        assert_eq!((error.word, error.fault), (word, fault), "{text}");
        assert!(error.to_string().contains(word));
    }
    assert_eq!(CommandLine::parse(b"island=\xff").unwrap_err().fault, Fault::NotText);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_line_makes_it_panic(bytes in any::<Vec<u8>>(), text in "[a-z_=:, 0-9]{0,60}") {
        let _ = CommandLine::parse(&bytes);
        let _ = CommandLine::parse(text.as_bytes());
        let text = format!("links={text} island=1");
        let _ = CommandLine::parse(text.as_bytes());
    }
}
