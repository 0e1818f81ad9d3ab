//! What a guest's network costs, under others too, counted in the same machine and turn by turn with ours. Pure.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::figures::{self, Figures};
use super::plot::{self, Panel};

/// Where the picture is kept, beside the results.
pub const PICTURE: &str = "tests/reference-host/network-cost.svg";

/// Who carries the network, README's name of it, and whether that is a process whose memory and calls are looked at.
const PEERS: [(&str, &str, bool); 5] = [
    ("loopback", "loopback, no guest", false),
    (OURS, "`cofferdam`", true),
    ("passt", "QEMU, passt", true),
    ("slirp", "QEMU, slirp", true),
    ("slirp4netns", "slirp4netns, no guest", true),
];
const OURS: &str = "cofferdam";

/// What is counted in each round, README's name of it, and in what it is said.
const COUNTED: [(&str, &str, Unit); 12] = [
    ("out", "a MiB out, by one stream", Unit::Million),
    ("in", "a MiB in, by one stream", Unit::Million),
    ("out8", "a MiB out, by eight", Unit::Million),
    ("in8", "a MiB in, by eight", Unit::Million),
    ("udp-out", "a datagram out", Unit::Million),
    ("udp-in", "a datagram in", Unit::Million),
    ("latency", "a byte there and back: median", Unit::Microseconds),
    ("p99", "the same, 99th percentile", Unit::Microseconds),
    ("connection", "connections in a second", Unit::PerSecond),
    ("flows-out", "a MiB out, by one stream", Unit::Million),
    ("flows-latency", "a byte there and back: median", Unit::Microseconds),
    ("flows-connection", "connections in a second", Unit::PerSecond),
];
/// Those of them that are counted again with flows open.
const WITH_FLOWS: &str = "flows-";
/// Whose are not: libslirp keeps them, as it keeps slirp's.
const WITHOUT_FLOWS: &str = "slirp4netns";
const WAYS: [&str; 2] = ["out", "in"];
const UDP: [&str; 2] = ["udp-out", "udp-in"];
/// By the clock so many times what was worked is worth a word.
const MOST_WAITING: f64 = 1.2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Million,
    Microseconds,
    PerSecond,
}

impl Unit {
    /// What is said of so many million instructions, each 2 ns.
    fn of(self, million: f64) -> f64 {
        match self {
            Self::Million => million,
            Self::Microseconds => 2000.0 * million,
            Self::PerSecond => 500.0 / million,
        }
    }

    fn said(self, million: f64) -> String {
        let value = self.of(million);
        if self == Self::Million { format!("{value:.3}") } else { format!("{value:.0}") }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Million => "million instructions",
            Self::Microseconds => "counted µs",
            Self::PerSecond => "of the counted clock",
        }
    }
}

/// What the script said, as a document.
///
/// # Errors
/// Where it left something out.
pub fn document(text: &str) -> Result<Map<String, Value>> {
    let number = |of: &str| -> Result<f64> { Ok(figures::line(text, of)?.parse()?) };
    let mut peers = Map::new();
    for (name, _, is_process) in PEERS {
        let mut peer = Map::new();
        peer.insert("version".to_owned(), json!(figures::line(text, &format!("version {name}"))?));
        for (what, _, _) in COUNTED.into_iter().filter(|it| is_counted(name, it.0)) {
            let what_of = format!("{name} {what}");
            let mut counted = Map::new();
            counted.insert(
                "million_instructions".to_owned(),
                json!(figures::named(text, &what_of)?.0),
            );
            counted.insert("counted_us".to_owned(), json!(clock(text, &what_of)));
            if let Ok(exits) = figures::exits(text, &what_of) {
                counted.insert("kvm_exits".to_owned(), json!(exits));
            }
            peer.insert(what.to_owned(), Value::Object(counted));
        }
        for way in UDP {
            peer.insert(format!("{way}-lost"), json!(lost(text, &format!("{name} {way}"))?));
        }
        if name != WITHOUT_FLOWS {
            peer.insert("flows".to_owned(), json!(number(&format!("{name} flows"))?));
        }
        if is_process {
            let fresh = figures::line(text, &format!("{name} fresh"))?;
            let (pss, private) = fresh.split_once(' ').context("no two sizes")?;
            let (pss, private): (f64, f64) = (pss.parse()?, private.parse()?);
            let (mut calls, mut copied) = (Map::new(), Map::new());
            for way in WAYS {
                calls.insert(way.to_owned(), json!(number(&format!("{name} calls {way}"))?));
                copied.insert(way.to_owned(), json!(number(&format!("{name} copied {way}"))?));
            }
            let mut process = json!({
                "pss_kib": pss, "private_kib": private,
                "system_calls_per_mib": calls, "mib_copied_per_mib": copied,
            });
            if name != WITHOUT_FLOWS {
                process["bytes_per_flow"] = json!(number(&format!("{name} flow"))?);
            }
            peer.insert("process".to_owned(), process);
        }
        peers.insert(name.to_owned(), Value::Object(peer));
    }
    let whole = json!({
        "open_files": number("ulimit")?,
        "iperf3": figures::line(text, "version iperf3")?,
        "peers": peers,
    });
    whole.as_object().cloned().context("it is an object")
}

fn is_counted(peer: &str, what: &str) -> bool {
    peer != WITHOUT_FLOWS || !what.starts_with(WITH_FLOWS)
}

/// `NAME run 1: 81.2 us, …`: the time by the clock.
fn clock(text: &str, name: &str) -> Vec<f64> {
    let of_line = |line: &str| {
        let (_, rest) = line.strip_prefix(name)?.strip_prefix(" run ")?.split_once(": ")?;
        rest.split_once(" us,")?.0.parse().ok()
    };
    text.lines().filter_map(of_line).collect()
}

/// `NAME run 1 lost of sent 3/2500`, of all runs together: how many of how many.
fn lost(text: &str, name: &str) -> Result<[u64; 2]> {
    let (mut sum, mut count) = ([0; 2], 0);
    for line in text.lines() {
        let rest = line.strip_prefix(name).and_then(|it| it.strip_prefix(" run "));
        let Some((_, numbers)) = rest.and_then(|it| it.split_once(" lost of sent ")) else {
            continue;
        };
        let (lost, sent) =
            numbers.split_once('/').with_context(|| format!("no loss in {line:?}"))?;
        sum = [sum[0] + lost.parse::<u64>()?, sum[1] + sent.parse::<u64>()?];
        count += 1;
    }
    ensure!(count > 0, "nothing of what {name} lost");
    Ok(sum)
}

/// What was counted of a peer.
fn counted(document: &Value, peer: &str, what: &str) -> Result<Figures> {
    Figures::of(&document["peers"][peer][what]["million_instructions"])
        .with_context(|| format!("{peer}, {what}"))
}

/// README's table, and its picture.
///
/// # Errors
/// Where the document lacks something.
pub fn table(document: &Value) -> Result<String> {
    let mut table = "\n| from within to this place, and back |".to_owned();
    for (name, label, _) in PEERS {
        let version = document["peers"][name]["version"].as_str().context("no version")?;
        table.push_str(&format!(" {label} {version} |"));
    }
    table.push_str(&format!("\n|---|{}\n", "---|".repeat(PEERS.len())));
    for (what, label, unit) in COUNTED {
        let with = if what.starts_with(WITH_FLOWS) { ", beside the flows" } else { "" };
        row(&mut table, &format!("{label}, {}{with}", unit.name()), |name, _| {
            if !is_counted(name, what) {
                return Ok(String::new());
            }
            let said = unit.said(counted(document, name, what)?.median());
            let waits = waits(document, name, what)?;
            let lost = &document["peers"][name][format!("{what}-lost")];
            Ok(match (lost[0].as_u64(), lost[1].as_u64()) {
                (Some(lost), Some(sent)) if lost > 0 => format!("{said} ({lost} of {sent} lost)"),
                _ => said + &waits,
            })
        })?;
    }
    rows_of_processes(&mut table, document)?;
    Ok(table + &sentences(document)? + &format!("\n![What a guest's network costs]({PICTURE})\n"))
}

/// What is said of a MiB that takes clearly longer than there is work: datagrams are paced.
fn waits(document: &Value, peer: &str, what: &str) -> Result<String> {
    let us = Figures::of(&document["peers"][peer][what]["counted_us"])?.median();
    let work_us = 2000.0 * counted(document, peer, what)?.median();
    let is_long = !UDP.contains(&what) && us > MOST_WAITING * work_us;
    Ok(if is_long { format!(" (in {:.1} ms)", us / 1000.0) } else { String::new() })
}

fn row(table: &mut String, label: &str, cell: impl Fn(&str, bool) -> Result<String>) -> Result<()> {
    table.push_str(&format!("| {label} |"));
    for (name, _, is_process) in PEERS {
        table.push_str(&format!(" {} |", cell(name, is_process)?));
    }
    table.push('\n');
    Ok(())
}

fn rows_of_processes(table: &mut String, document: &Value) -> Result<()> {
    let of = |name: &str, pointer: &str| -> Result<f64> {
        let value = document["peers"][name].pointer(pointer).and_then(Value::as_f64);
        value.with_context(|| format!("no {pointer} of {name}"))
    };
    row(table, "flows that were open (TCP, idle)", |name, _| {
        let flows = || of(name, "/flows").map(|it| format!("{it:.0}"));
        if name == WITHOUT_FLOWS { Ok(String::new()) } else { flows() }
    })?;
    let both = |table: &mut String, label: &str, [first, second]: [&str; 2], digits: usize| {
        row(table, label, |name, is_process| {
            let both =
                || Ok(format!("{:.digits$}, {:.digits$}", of(name, first)?, of(name, second)?));
            if is_process { both() } else { Ok(String::new()) }
        })
    };
    let calls = ["/process/system_calls_per_mib/out", "/process/system_calls_per_mib/in"];
    both(table, "system calls for a MiB, out, in", calls, 0)?;
    let copied = ["/process/mib_copied_per_mib/out", "/process/mib_copied_per_mib/in"];
    both(table, "MiB copied by them for a MiB, out, in", copied, 1)?;
    row(table, "KVM exits for a MiB, out, in", |name, _| {
        let exits = |way: &str| Figures::of(&document["peers"][name][way]["kvm_exits"]);
        Ok(format!("{:.0}, {:.0}", exits("out")?.median(), exits("in")?.median()))
    })?;
    let memory = ["/process/pss_kib", "/process/private_kib"];
    both(table, "memory of its process when fresh, KiB: PSS, private", memory, 0)?;
    row(table, "memory for an idle flow, bytes", |name, is_process| {
        if is_process && name != WITHOUT_FLOWS {
            Ok(format!("{:.0}", of(name, "/process/bytes_per_flow")?))
        } else {
            Ok(String::new())
        }
    })
}

/// What is said below the table: how far runs lie apart, and what ours is against others.
fn sentences(document: &Value) -> Result<String> {
    let (mut furthest, mut where_) = (0.0, String::new());
    let mut runs = 0;
    for (name, _, _) in PEERS {
        for (what, _, _) in COUNTED.into_iter().filter(|it| is_counted(name, it.0)) {
            let figures = counted(document, name, what)?;
            let apart = figures.spread() / figures.median();
            runs = figures.0.len();
            if apart > furthest {
                (furthest, where_) = (apart, format!("`{what}` of {name}"));
            }
        }
    }
    let times = |peer: &str, what: &str| -> Result<String> {
        let ratio =
            counted(document, peer, what)?.median() / counted(document, OURS, what)?.median();
        Ok(format!("{ratio:.1}"))
    };
    let against = |peer: &str| -> Result<String> {
        let [out, inwards, connection] = ["out", "in", "connection"].map(|what| times(peer, what));
        Ok(format!("{peer} {} times, {} and {}", out?, inwards?, connection?))
    };
    Ok(format!(
        "\nMedians of {runs}; the dearest and the cheapest run are at most {:.0} % apart ({where_}). For a MiB out, one in, and a connection, {} as much as `cofferdam`; {}.\n\
         At most {:.0} files open (`ulimit -n`); iperf3 {}.\n",
        100.0 * furthest,
        against("slirp")?,
        against("passt")?,
        document["open_files"].as_f64().context("no bound of files")?,
        document["iperf3"].as_str().context("no iperf3")?,
    ))
}

/// The picture.
///
/// # Errors
/// Where the document lacks something.
pub fn picture(document: &Value) -> Result<String> {
    let panel = |title, names: &[&str]| -> Result<Panel> {
        let mut groups = Vec::new();
        for (what, label, unit) in COUNTED.iter().filter(|(what, _, _)| names.contains(what)) {
            let mut bars = Vec::new();
            for (name, _, _) in PEERS {
                bars.push(unit.of(counted(document, name, what)?.median()));
            }
            groups.push(((*label).to_owned(), bars));
        }
        Ok(Panel { title, groups })
    };
    let mut flat = panel("with the idle flows open, times as much as without", &[])?;
    for (what, label, _) in COUNTED.iter().filter(|(what, _, _)| what.starts_with(WITH_FLOWS)) {
        let without = what.trim_start_matches(WITH_FLOWS);
        let mut bars = Vec::new();
        for (name, _, _) in PEERS {
            bars.push(if is_counted(name, what) {
                let with = counted(document, name, what)?.median();
                with / counted(document, name, without)?.median()
            } else {
                0.0
            });
        }
        let label = if without == "connection" { "a connection" } else { label };
        flat.groups.push((label.to_owned(), bars));
    }
    let panels = [
        panel(
            "million instructions, less is better",
            &["out", "in", "out8", "in8", "udp-out", "udp-in"],
        )?,
        panel("counted µs, less is better", &["latency", "p99"])?,
        panel("connections in a counted second, more is better", &["connection"])?,
        flat,
    ];
    let labels = PEERS.map(|(_, label, _)| label.replace('`', ""));
    Ok(plot::bars(&labels, &panels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> String {
        let of_peer = |(name, _, is_process): &(&str, &str, bool)| {
            let million = if *name == OURS { 2.0 } else { 8.0 };
            let mut said = format!("version {name} 1.0\n");
            if *name != WITHOUT_FLOWS {
                said += &format!("{name} flows 10000\n{name} flow 512\n");
            }
            for (what, _, _) in COUNTED.into_iter().filter(|it| is_counted(name, it.0)) {
                said += &format!(
                    "{name} {what} run 1: {:.1} us, {million} M instructions, 7.0 KVM exits\n",
                    2000.0 * million
                );
            }
            for way in UDP {
                said += &format!(
                    "{name} {way} run 1 lost of sent 1/500\n{name} {way} run 2 lost of sent 2/500\n"
                );
            }
            if *is_process {
                said += &format!("{name} fresh 900 800\n");
                for way in WAYS {
                    said += &format!("{name} calls {way} 90.0\n{name} copied {way} 2.000\n");
                }
            }
            said
        };
        format!(
            "ulimit 65536\nversion iperf3 3.12\n{}",
            PEERS.iter().map(of_peer).collect::<String>()
        )
    }

    #[test]
    fn everything_that_is_counted_is_in_the_table_and_ours_is_held_against_others() {
        let document = Value::Object(document(&said()).unwrap());
        let table = table(&document).unwrap();
        let in_flows =
            COUNTED.iter().filter(|it| it.2 == Unit::Million && !it.0.starts_with("udp"));
        assert_eq!(table.matches("| 8.000 | 2.000 | 8.000 |").count(), in_flows.count(), "{table}");
        assert_eq!(table.matches("2.000 (3 of 1000 lost)").count(), UDP.len(), "{table}");
        assert!(table.contains("|  | 900, 800 | 900, 800 |"), "{table}");
        assert!(table.contains("slirp 4.0 times, 4.0 and 4.0 as much"), "{table}");
        assert_eq!(Unit::PerSecond.said(2.0), "250");
        let picture = picture(&document).unwrap();
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
    }

    #[test]
    fn what_is_left_out_fails_the_measurement() {
        for what in ["cofferdam in8 run", "passt udp-in run", "slirp calls in", "slirp flow "] {
            let lines = said();
            let less = lines.lines().filter(|line| !line.starts_with(what));
            assert!(document(&less.collect::<Vec<_>>().join("\n")).is_err(), "{what}");
        }
    }
}
