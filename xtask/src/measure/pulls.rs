//! What an image costs from a registry to its first program's end, again, and in the store, against peers. Pure.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::figures::{self, Figures};

/// Ours first.
const ENGINES: &[&str] = &["cofferdam", "podman", "umoci"];
/// Those of `tests/real-images/make` that are measured, and what they are.
const IMAGES: &[(&str, &str)] = &[
    ("base", "Debian, one layer"),
    ("hundred", "the same in a hundred layers"),
    ("nginx", "with nginx, two layers"),
    ("postgres", "with PostgreSQL"),
    ("python", "with Python and NumPy"),
    ("node", "with Node.js"),
    ("gcc", "with GCC"),
    ("dockerd", "with Docker's daemon"),
    ("systemd", "with systemd"),
    ("huge", "with GHC, a JDK and Clang"),
    ("odd", "with what packages rarely have"),
];

/// Their names.
pub fn names() -> Vec<&'static str> {
    IMAGES.iter().map(|(name, _)| *name).collect()
}

/// What the script said of these images, and what was known of others before, as a document.
///
/// # Errors
/// Where it left something out.
pub fn document(
    text: &str,
    names: &[&str],
    commit: &str,
    before: &Value,
) -> Result<Map<String, Value>> {
    let mut images = before["images"].as_object().cloned().unwrap_or_default();
    images.retain(|image, _| IMAGES.iter().any(|(name, _)| name == image));
    for (image, what) in IMAGES.iter().filter(|(name, _)| names.contains(name)) {
        let mut engines = Map::new();
        for engine in ENGINES {
            let name = format!("{engine} {image}");
            let cost = json!({
                "first_million_instructions": figures::named(text, &format!("{name} first"))?.0,
                "again_million_instructions": figures::named(text, &format!("{name} again"))?.0,
                "store_bytes": figures::line(text, &format!("{name} store bytes"))?.parse::<u64>()?,
            });
            engines.insert((*engine).to_owned(), cost);
        }
        images.insert(
            (*image).to_owned(),
            json!({ "what": what, "commit": commit, "engines": engines }),
        );
    }
    let version = |engine: &&str| {
        let version = figures::line(text, &format!("version {engine}"))?;
        Ok(((*engine).to_owned(), Value::from(version)))
    };
    let versions = ENGINES.iter().map(version).collect::<Result<Map<_, _>>>()?;
    Ok(Map::from_iter([
        ("images".to_owned(), Value::Object(images)),
        ("versions".to_owned(), Value::Object(versions)),
    ]))
}

/// README's table.
///
/// # Errors
/// Where the document lacks something.
pub fn table(document: &Value) -> Result<String> {
    let version = |engine: &str| document["versions"][engine].as_str().unwrap_or_default();
    let mut table =
        "\n| million instructions: pulled and first `true` / each later one; store in MiB |"
            .to_owned();
    for engine in ENGINES {
        table.push_str(&format!(" `{engine}` {} |", version(engine)));
    }
    table.push_str(&format!("\n|---|{}\n", "---|".repeat(ENGINES.len())));
    // Those of the list that were there when it was measured.
    let known = |(image, _): &&(&str, &str)| !document["images"][*image].is_null();
    for (image, what) in IMAGES.iter().filter(known) {
        table.push_str(&format!("| `{image}`: {what} |"));
        for engine in ENGINES {
            let cost = &document["images"][image]["engines"][engine];
            let median = |of: &str| {
                let figures =
                    Figures::of(&cost[of]).with_context(|| format!("{engine}, {image}"))?;
                anyhow::Ok(figures.median())
            };
            let store = cost["store_bytes"].as_f64().context("no size of a store")? / 1_048_576.0;
            table.push_str(&format!(
                " {:.0} / {:.0}; {store:.0} |",
                median("first_million_instructions")?,
                median("again_million_instructions")?
            ));
        }
        table.push('\n');
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_has_each_image() {
        let mut said: String = ENGINES.iter().map(|it| format!("version {it} 1.2\n")).collect();
        for (image, _) in IMAGES {
            for engine in ENGINES {
                said += &format!(
                    "{engine} {image} first run 1: 1.0 ms, 500.0 M instructions\n\
                     {engine} {image} again run 1: 1.0 ms, 7.0 M instructions\n\
                     {engine} {image} store bytes 3145728\n"
                );
            }
        }
        let of = |said: &str, names: &[&str], before: &Value| {
            document(said, names, "abc", before).map(Value::Object)
        };
        let all = of(&said, &names(), &Value::Null).unwrap();
        assert_eq!(
            table(&all).unwrap().matches(" 500 / 7; 3 |").count(),
            IMAGES.len() * ENGINES.len()
        );
        let lacking = said.replace("podman nginx first", "podman other");
        assert!(of(&lacking, &names(), &Value::Null).is_err());
        // One alone takes nothing from what was known of others.
        let again = of(&said.replace(" 500.0 M", " 400.0 M"), &["nginx"], &all).unwrap();
        let table = table(&again).unwrap();
        assert_eq!(table.matches(" 400 / 7; 3 |").count(), ENGINES.len());
        assert_eq!(table.matches(" 500 / 7; 3 |").count(), (IMAGES.len() - 1) * ENGINES.len());
    }
}
