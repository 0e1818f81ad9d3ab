//! What bytes cost on their way through a sandbox, and how long its answers take. Pure.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::figures::{self, Figures};

/// What the script counts, and README's name of it.
const COUNTED: &[(&str, &str)] = &[
    ("out", "a MiB from inside to a pipe outside"),
    ("back", "a MiB from a pipe outside through `cat` to another"),
    ("line", "a line through `cat` and back"),
    ("signal", "a signal, by way of the agent, and the process's answer"),
];

/// What the script said, as a document.
///
/// # Errors
/// Where it left something out.
pub fn document(text: &str) -> Result<Map<String, Value>> {
    let mut streams = Map::new();
    for (name, what) in COUNTED {
        let figures = figures::named(text, name)?;
        let figures = json!({
            "what": what,
            "million_instructions": figures.0,
            "median": figures.median(),
            "spread": figures.spread(),
        });
        streams.insert((*name).to_owned(), figures);
    }
    Ok(Map::from_iter([("streams".to_owned(), Value::Object(streams))]))
}

/// README's table.
///
/// # Errors
/// Where the document lacks something.
pub fn table(document: &Value) -> Result<String> {
    let mut table =
        "\n| through vsock | million instructions: median (least to most) | counted ms |\n|---|---|---|\n".to_owned();
    for (name, what) in COUNTED {
        let figures = Figures::of(&document["streams"][*name]["million_instructions"])?;
        table.push_str(&format!(
            "| {what} | {:.2} ({:.2} to {:.2}) | {:.2} |\n",
            figures.median(),
            figures.least(),
            figures.most(),
            2.0 * figures.median()
        ));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_counted_is_in_the_table() {
        let said = |name: &str| format!("{name} run 1: 4000.0 us, 2.000 M instructions\n");
        let whole: String = COUNTED.iter().map(|(name, _)| said(name)).collect();
        let table = table(&Value::Object(document(&whole).unwrap())).unwrap();
        assert_eq!(table.matches("| 2.00 (2.00 to 2.00) | 4.00 |").count(), COUNTED.len());
        assert!(document(&said("out")).is_err());
    }
}
