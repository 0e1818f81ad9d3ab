//! What a job with Docker costs by `cofferdam docker`, against a dockerd without a sandbox. Pure.

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::figures::{self, Figures};

/// Where the script has it done.
pub const PLACES: [&str; 2] = ["native", "sandbox"];
/// What it has done, and README's name of it.
const WORK: &[(&str, &str)] = &[
    ("start", "from nothing to the first answer of `docker version`"),
    ("import", "an image of busybox, imported"),
    ("container", "a container that does nothing"),
    ("nothing", "a build of one step that does nothing, by BuildKit"),
    ("steps", "the same of ten steps"),
    ("context", "a build that copies 16 MiB"),
    ("work", "a build whose step hashes 256 MiB"),
    ("old-nothing", "the first of them, by the old builder"),
    ("old-steps", "the second"),
    ("old-context", "the third"),
    ("old-work", "the fourth"),
    ("save", "an image saved, to nobody"),
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
    let mut table = "\n| with Docker | a dockerd of the same version, million instructions | `cofferdam docker` | times as many | KVM exits |\n\
        |---|---|---|---|---|\n"
        .to_owned();
    let median = |place: &str, work: &str, of: &str| {
        Figures::of(&document["places"][place][work][of])
            .with_context(|| format!("{place}, {work}"))
            .map(|figures| figures.median())
    };
    let row = |what: &str, [native, sandbox, exits]: [f64; 3]| {
        format!("| {what} | {native:.0} | {sandbox:.0} | {:.2} | {exits:.0} |\n", sandbox / native)
    };
    let of = |work: &str| -> Result<[f64; 3]> {
        Ok([
            median(PLACES[0], work, "million_instructions")?,
            median(PLACES[1], work, "million_instructions")?,
            median(PLACES[1], work, "kvm_exits")?,
        ])
    };
    for (work, what) in WORK {
        table.push_str(&row(what, of(work)?));
    }
    // What the programs of a step do: all else is in a step that does nothing, too.
    let (all, rest) = (of("work")?, of("nothing")?);
    let own = [0, 1, 2].map(|index| all[index] - rest[index]);
    table.push_str(&row("that step's own work: hashing, and what it reads", own));
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_held_against_none() {
        let said = |place: &str, of: &dyn Fn(&str) -> f64| {
            let line = |work: &str| {
                format!("{place} {work} run 1: 1.0 ms, {} M instructions, 7 KVM exits\n", of(work))
            };
            WORK.iter().map(|(work, _)| line(work)).collect::<String>()
        };
        let native = said("native", &|work| if work == "work" { 300.0 } else { 100.0 });
        let sandbox = said("sandbox", &|work| if work == "work" { 370.0 } else { 150.0 });
        let table = table(&Value::Object(document(&(native.clone() + &sandbox)).unwrap())).unwrap();
        assert_eq!(table.matches("| 100 | 150 | 1.50 | 7 |").count(), WORK.len() - 1, "{table}");
        assert!(table.ends_with("| 200 | 220 | 1.10 | 0 |\n"), "{table}");
        assert!(document(&native).is_err());
    }
}
