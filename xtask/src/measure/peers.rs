//! What one `true` costs under others, counted in the same machine and turn by turn with ours. Pure.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::figures::{self, Figures};

/// Ours and its peers, what each is asked for, and what that is.
const PEERS: &[(&str, &str, &str)] = &[
    ("cofferdam", "`cofferdam run --rm`", "a microVM, and a container in it"),
    ("crun", "`crun run`, a bundle", "a container on the host's kernel, no image, no engine"),
    ("podman", "`podman run --rm --network none`", "the same, by an engine with images"),
    ("docker", "`docker run --rm --network none`", "the same, by a daemon that runs already"),
    (
        "qemu-microvm",
        "QEMU `-M microvm`, our kernel",
        "a microVM without a container: its first program asks for the end",
    ),
];

/// What the script said, as a document.
///
/// # Errors
/// Where it said nothing of a peer.
pub fn document(text: &str) -> Result<Map<String, Value>> {
    let mut peers = Map::new();
    for (name, _, _) in PEERS {
        let figures = figures::named(text, &format!("peer {name}"))?;
        let peer = json!({
            "version": figures::line(text, &format!("version {name}"))?,
            "million_instructions": figures.0,
            "median": figures.median(),
            "spread": figures.spread(),
        });
        peers.insert((*name).to_owned(), peer);
    }
    Ok(Map::from_iter([("peers".to_owned(), Value::Object(peers))]))
}

/// README's table.
///
/// # Errors
/// Where the document lacks something.
pub fn table(document: &Value) -> Result<String> {
    let mut table = "\n| one `true`, exec to exit | version | million instructions: median (least to most) | what \
                     that is |\n|---|---|---|---|\n"
        .to_owned();
    for (name, asked, what) in PEERS {
        let peer = &document["peers"][*name];
        let figures = Figures::of(&peer["million_instructions"])?;
        let version = peer["version"].as_str().with_context(|| format!("no version of {name}"))?;
        table.push_str(&format!(
            "| {asked} | {version} | {:.1} ({:.1} to {:.1}) | {what} |\n",
            figures.median(),
            figures.least(),
            figures.most()
        ));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_absent_fails_the_measurement() {
        let said = |but: &str| {
            let here = PEERS.iter().filter(|(name, _, _)| *name != but);
            here.map(|(name, _, _)| {
                format!("version {name} 1.0\npeer {name} run 1: 4.0 ms, 2.0 M instructions\n")
            })
            .collect::<String>()
        };
        let whole = Value::Object(document(&said("")).unwrap());
        assert_eq!(
            table(&whole).unwrap().matches("| 1.0 | 2.0 (2.0 to 2.0) |").count(),
            PEERS.len()
        );
        assert!(document(&said("docker")).is_err());
    }
}
