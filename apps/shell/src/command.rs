//! What a line asks for.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use skerry_hal::{CoreId, IslandId};
use skerry_urpc::formats::device::MAX_RANDOM;
use skerry_urpc::formats::shell::MAX_PINGS;

/// Round trips of a `ping` that does not say how many.
pub const DEFAULT_PINGS: u32 = 100;
/// Bytes of an `entropy` that does not say how many.
pub const DEFAULT_RANDOM: u32 = 24;
/// Messages of a `stream` that does not say how many.
pub const DEFAULT_STREAM: u64 = 10_000;

/// What a line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Nothing.
    Empty,
    /// Help on all commands, or on one.
    Help(Option<String>),
    /// The table of cores.
    Cores,
    /// The table of islands.
    Islands,
    /// The table of memory.
    Memory,
    /// Round trips between two monitors.
    Ping {
        /// Who pings.
        from: CoreId,
        /// Who is pinged.
        to: CoreId,
        /// How often.
        count: u32,
    },
    /// A checked stream between two monitors.
    Stream {
        /// Who sends.
        from: CoreId,
        /// Who receives.
        to: CoreId,
        /// How many messages.
        count: u64,
    },
    /// Sets what is logged: 0 off, 1 error … 5 trace.
    Log(u8),
    /// Runs a benchmark.
    Bench(String),
    /// Starts a program.
    Spawn {
        /// Where.
        core: CoreId,
        /// Environment, name and arguments.
        text: String,
        /// Whether to show its output and to wait for its end.
        wait: bool,
    },
    /// Waits for a process, and shows its output from now on.
    Wait(Pid),
    /// Ends a process.
    Kill(Pid),
    /// The table of processes.
    Processes,
    /// The table of drivers.
    Drivers,
    /// Random bytes.
    Entropy {
        /// Of which island's device.
        island: IslandId,
        /// How many.
        bytes: u32,
    },
    /// Ends a driver, which is started anew.
    Restart {
        /// Of which island.
        island: IslandId,
        /// Its name.
        driver: String,
    },
    /// Asks the knowledge base.
    Ask(String),
    /// Gives the knowledge base rules: a name and a text; a name to take them away; nothing to list them.
    Rules(String),
    /// Does a command over and over, until it fails.
    Repeat {
        /// How often.
        count: u64,
        /// What; never another `Repeat`.
        command: Box<Command>,
    },
    /// Takes a core off line, or starts it again.
    Power {
        /// Which.
        core: CoreId,
        /// Which of the two.
        on: bool,
    },
    /// Turns everything off.
    Exit,
}

/// A process of the system: its core, and its number there. Spelt `ISLAND.LOCAL:NUMBER`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pid {
    /// Where it runs.
    pub core: CoreId,
    /// Its number there.
    pub number: u32,
}

/// One command: its name, its arguments, what it does.
pub struct Help {
    /// Its name.
    pub name: &'static str,
    /// Its arguments.
    pub usage: &'static str,
    /// What it does.
    pub text: &'static str,
}

const fn help(name: &'static str, usage: &'static str, text: &'static str) -> Help {
    Help { name, usage, text }
}

/// The arguments of what starts a program.
const START: &str = "CORE [--priority 0..7] [--budget PERCENT] [KEY=VALUE…] NAME [ARG…]";

/// All commands.
pub const COMMANDS: &[Help] = &[
    help("cores", "", "lists every core of the system"),
    help("islands", "", "lists every island and its links"),
    help(
        "mem",
        "",
        "lists the memory of every core that is up: its monitor's (this island's only), and what is for programs",
    ),
    help(
        "ping",
        "FROM TO [COUNT]",
        "measures round trips between two monitors; cores are spelt ISLAND.LOCAL",
    ),
    help("stream", "FROM TO [COUNT]", "sends checked messages from one monitor to another"),
    help("log", "LEVEL", "sets what is logged: off, error, warn, info, debug or trace"),
    help(
        "bench",
        "NAME",
        "runs a benchmark: syscall.null, urpc.msg, monitor.ping, urpc.xisa, irq.deliver, upcall, all (the first two and upcall), or conformance",
    ),
    help(
        "run",
        START,
        "starts a program on a core, shows its output, and ends with its exit status; the budget is the percentage of the core that it may take from others",
    ),
    help("spawn", START, "starts a program on a core, and tells its number"),
    help(
        "wait",
        "ISLAND.LOCAL:NUMBER",
        "shows the output of a process from now on, and ends with its exit status",
    ),
    help("kill", "ISLAND.LOCAL:NUMBER", "ends a process"),
    help("ps", "", "lists the processes of every core that is up"),
    help("drivers", "", "lists the drivers of every island's devices"),
    help(
        "entropy",
        "ISLAND [BYTES]",
        "shows random bytes from an island's device, and how many interrupts it took",
    ),
    help("restart", "ISLAND DRIVER", "ends a driver; it is started anew"),
    help("core", "off|on CORE", "takes a core off line on which no program runs, or starts it again"),
    help("skb", "QUERY", "asks this island's knowledge base, as in `skb core{local: L, node: N}, N > 0`"),
    help(
        "rules",
        "[NAME [TEXT]]",
        "gives this island's knowledge base rules, or takes them away, or lists all texts of rules",
    ),
    help("repeat", "COUNT COMMAND…", "does a command so often, until it fails"),
    help("help", "[COMMAND]", "explains the commands, or one of them"),
    help("exit", "", "turns every island off"),
];

/// Names of log levels, by number.
pub const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The line that explains one command.
pub fn explain(name: &str) -> Option<String> {
    let found = COMMANDS.iter().find(|help| help.name == name)?;
    let gap = if found.usage.is_empty() { "" } else { " " };
    Some(format!("{}{gap}{}: {}", found.name, found.usage, found.text))
}

/// Understands a line.
///
/// # Errors
/// One line for people, which names the way out.
pub fn parse(line: &str) -> Result<Command, String> {
    let mut words = line.split_ascii_whitespace();
    let Some(name) = words.next() else { return Ok(Command::Empty) };
    let args: Vec<&str> = words.collect();
    let usage = || match explain(name) {
        Some(text) => format!("{name}: wrong arguments; usage: {text}"),
        None => format!("{name}: unknown command; `help` lists the commands"),
    };
    let command = match (name, args.as_slice()) {
        ("help", []) => Command::Help(None),
        ("help", [about]) => Command::Help(Some((*about).to_string())),
        ("cores", []) => Command::Cores,
        // As it stands: blanks in strings count.
        ("skb", [_, ..]) => Command::Ask(after(line, name)),
        ("rules", _) => Command::Rules(after(line, name)),
        ("islands", []) => Command::Islands,
        ("mem", []) => Command::Memory,
        ("exit", []) => Command::Exit,
        ("ps", []) => Command::Processes,
        ("drivers", []) => Command::Drivers,
        ("entropy", [island]) => Command::Entropy { island: island_id(island)?, bytes: DEFAULT_RANDOM },
        ("entropy", [island, bytes]) => {
            Command::Entropy { island: island_id(island)?, bytes: count(bytes, MAX_RANDOM.into())? as u32 }
        }
        ("restart", [island, driver]) => {
            Command::Restart { island: island_id(island)?, driver: (*driver).to_string() }
        }
        ("core", [how @ ("off" | "on"), which]) => Command::Power { core: core(which)?, on: *how == "on" },
        ("wait", [pid]) => Command::Wait(process(pid)?),
        ("kill", [pid]) => Command::Kill(process(pid)?),
        ("run" | "spawn", [on, words @ ..]) if !words.is_empty() => {
            Command::Spawn { core: core(on)?, text: words.join(" "), wait: name == "run" }
        }
        ("repeat", [times, words @ ..]) if !words.is_empty() && words[0] != "repeat" => {
            let count = count(times, u64::MAX)?;
            Command::Repeat { count, command: Box::new(parse(&words.join(" "))?) }
        }
        ("bench", [name]) => Command::Bench((*name).to_string()),
        ("ping", [from, to, rest @ ..]) if rest.len() < 2 => Command::Ping {
            from: core(from)?,
            to: core(to)?,
            count: match rest {
                [text] => count(text, u64::from(MAX_PINGS))? as u32,
                _ => DEFAULT_PINGS,
            },
        },
        ("stream", [from, to, rest @ ..]) if rest.len() < 2 => Command::Stream {
            from: core(from)?,
            to: core(to)?,
            count: match rest {
                [text] => count(text, u64::MAX)?,
                _ => DEFAULT_STREAM,
            },
        },
        ("log", [level]) => match LEVELS.iter().position(|name| name == level) {
            Some(number) => Command::Log(number as u8),
            None => return Err(format!("log: `{level}` is no level; use one of {}", LEVELS.join(", "))),
        },
        _ => return Err(usage()),
    };
    Ok(command)
}

/// What stands after the command's name.
fn after(line: &str, name: &str) -> String {
    line.trim().get(name.len()..).unwrap_or_default().trim().to_string()
}

fn core(text: &str) -> Result<CoreId, String> {
    CoreId::parse(text).ok_or_else(|| {
        format!("`{text}` is no core; cores are spelt ISLAND.LOCAL, as in 0.1; `cores` lists them")
    })
}

fn island_id(text: &str) -> Result<IslandId, String> {
    let number = text.parse().ok().map(IslandId);
    number.ok_or_else(|| format!("`{text}` is no island; islands are numbers; `islands` lists them"))
}

fn process(text: &str) -> Result<Pid, String> {
    let parsed = text
        .split_once(':')
        .and_then(|(on, number)| Some(Pid { core: CoreId::parse(on)?, number: number.parse().ok()? }));
    parsed
        .ok_or_else(|| format!("`{text}` is no process; they are spelt ISLAND.LOCAL:NUMBER; `ps` lists them"))
}

fn count(text: &str, max: u64) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|n| (1..=max).contains(n))
        .ok_or_else(|| format!("`{text}` is no count; use a number from 1 to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_hal::IslandId;

    const fn id(island: u16, local: u16) -> CoreId {
        CoreId::new(IslandId(island), local)
    }

    #[test]
    fn commands_are_understood() {
        assert_eq!(parse("  "), Ok(Command::Empty));
        assert_eq!(parse("cores"), Ok(Command::Cores));
        assert_eq!(parse(" ping 0.0  1.3 "), Ok(Command::Ping { from: id(0, 0), to: id(1, 3), count: 100 }));
        assert_eq!(parse("ping 0.0 1.3 7"), Ok(Command::Ping { from: id(0, 0), to: id(1, 3), count: 7 }));
        let text = String::from("A=1 hello exit=3");
        assert_eq!(
            parse("run 0.1 A=1 hello  exit=3"),
            Ok(Command::Spawn { core: id(0, 1), text: text.clone(), wait: true })
        );
        assert_eq!(
            parse("spawn 1.1 A=1 hello exit=3"),
            Ok(Command::Spawn { core: id(1, 1), text, wait: false })
        );
        let kill = Box::new(Command::Kill(Pid { core: id(1, 0), number: 7 }));
        assert_eq!(parse("repeat 10 kill 1.0:7"), Ok(Command::Repeat { count: 10, command: kill }));
        assert_eq!(parse("kill 1.0:7"), Ok(Command::Kill(Pid { core: id(1, 0), number: 7 })));
        assert_eq!(parse("log warn"), Ok(Command::Log(2)));
        assert_eq!(parse("skb  p(\"a  b\"), X = 1 "), Ok(Command::Ask("p(\"a  b\"), X = 1".into())));
        assert_eq!(parse("rules mine p(1)."), Ok(Command::Rules("mine p(1).".into())));
        assert_eq!(parse("rules"), Ok(Command::Rules(String::new())));
        assert_eq!(parse("bench urpc.msg"), Ok(Command::Bench("urpc.msg".into())));
    }

    #[test]
    fn errors_name_the_way_out() {
        let error = |line: &str| parse(line).unwrap_err();
        assert_eq!(error("corse"), "corse: unknown command; `help` lists the commands");
        assert!(error("ping 0 1.0").contains("`0` is no core") && error("ping 0 1.0").contains("`cores`"));
        assert!(error("ping 0.0 1.0 none").contains("from 1 to"));
        assert!(error("ping 0.0 1.0 0").contains("from 1 to"));
        assert!(error("ping 0.0").contains("FROM TO [COUNT]"));
        assert!(error("ping 0.0 0.1 1 2").contains("usage"));
        assert!(error("log loud").contains("off, error, warn, info, debug, trace"));
        assert!(error("run 0.1").contains("usage") && error("run 1 hello").contains("`1` is no core"));
        assert!(
            error("repeat 2 repeat 2 cores").contains("usage") && error("repeat 2 corse").contains("unknown")
        );
        assert!(error("kill 7").contains("`7` is no process") && error("wait 0.0:x").contains("`ps`"));
        assert!(error("cores all").contains("usage") && error("skb").contains("usage"));
    }

    #[test]
    fn every_command_has_help_and_is_known() {
        for help in COMMANDS {
            assert!(explain(help.name).unwrap().contains(help.text));
            // Whether a question or a rule is one only the knowledge base knows.
            if ["skb", "rules"].contains(&help.name) {
                continue;
            }
            let error = parse(&format!("{} a b c d e", help.name)).unwrap_err();
            let named = ["usage", "is no core", "is no count"].iter().any(|text| error.contains(text));
            assert!(named, "{error}");
        }
        assert_eq!(explain("nothing"), None);
    }
}
