//! What work on files costs in a sandbox, against the same outside. Pure.

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::figures::{self, Figures};

/// Where the script works, the outer file system first.
pub const PLACES: [&str; 4] = ["outside", "disk", "volume", "share"];
/// README's names of the others.
const INSIDE: [(&str, &str); 3] =
    [("disk", "the container's root"), ("volume", "a volume"), ("share", "a shared directory")];
/// What it does there, and README's name of it.
const WORK: &[(&str, &str)] = &[
    ("unpack", "XFS, 323 files of the kernel, unpacked by `tar` from a pipe, to the disk"),
    ("commit", "all of it committed by `git`, to the disk"),
    ("status", "`git status`"),
    ("look", "each file looked at (`find`)"),
    ("read", "each file read"),
    ("remove", "all of it removed (`rm -r`), to the disk"),
    ("write", "fio: 64 MiB in order written, to the disk"),
    ("again", "fio: 64 MiB in order read"),
    ("random", "fio: 1,024 times 4 KiB read at random"),
    ("synced", "fio: 128 times 4 KiB written at random, each to the disk"),
];

/// What the script said, as a document.
///
/// # Errors
/// Where it left something out.
pub fn document(text: &str) -> Result<Map<String, Value>> {
    figures::at_places(text, &PLACES, WORK)
}

/// README's table.
///
/// # Errors
/// Where the document lacks something.
pub fn table(document: &Value) -> Result<String> {
    let mut table = "\n| work on files | outside, million instructions |".to_owned();
    INSIDE
        .iter()
        .for_each(|(_, name)| table.push_str(&format!(" {name}: times as many (KVM exits) |")));
    table.push_str(&format!("\n|---|---|{}\n", "---|".repeat(INSIDE.len())));
    let median = |place: &str, work: &str, of: &str| {
        Figures::of(&document["places"][place][work][of])
            .with_context(|| format!("{place}, {work}"))
            .map(|figures| figures.median())
    };
    for (work, what) in WORK {
        let outside = median(PLACES[0], work, "million_instructions")?;
        table.push_str(&format!("| {what} | {outside:.0} |"));
        for (place, _) in INSIDE {
            let times = median(place, work, "million_instructions")? / outside;
            let exits = median(place, work, "kvm_exits")?;
            table.push_str(&format!(" {times:.1} ({exits:.0}) |"));
        }
        table.push('\n');
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_held_against_the_outside() {
        let said = |place: &str, million: f64, exits: u32| {
            let line = |work: &str| {
                format!(
                    "{place} {work} run 1: 1.0 ms, {million} M instructions, {exits} KVM exits\n"
                )
            };
            WORK.iter().map(|(work, _)| line(work)).collect::<String>()
        };
        let outside = said(PLACES[0], 100.0, 0);
        let whole = outside.clone()
            + &said("disk", 200.0, 7)
            + &said("volume", 150.0, 8)
            + &said("share", 1000.0, 9);
        let table = table(&Value::Object(document(&whole).unwrap())).unwrap();
        assert_eq!(table.matches("| 100 | 2.0 (7) | 1.5 (8) | 10.0 (9) |").count(), WORK.len());
        assert!(document(&outside).is_err());
        assert!(document(&whole.replace(", 8 KVM exits", "")).is_err());
    }
}
