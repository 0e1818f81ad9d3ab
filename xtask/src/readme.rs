//! The parts of documents that commands write, each between two lines that name its command.

use std::fs;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// The one that most of them write in.
pub const README: &str = "README.md";
const END: &str = "<!-- until here -->\n";

/// Writes a command's part of README.
///
/// # Errors
/// Where README has no place for it, or cannot be written.
pub fn write(workspace: &Workspace, command: &str, text: &str) -> Result<()> {
    write_in(workspace, README, command, text)
}

/// The same of another document.
///
/// # Errors
/// As [`write`].
pub fn write_in(workspace: &Workspace, document: &str, command: &str, text: &str) -> Result<()> {
    let path = workspace.root.join(document);
    let old = fs::read_to_string(&path)?;
    fs::write(&path, replace(&old, command, text)?)?;
    Ok(())
}

fn replace(document: &str, command: &str, text: &str) -> Result<String> {
    let begin = format!("<!-- `{command}` writes what is between these two lines -->\n");
    let (before, rest) =
        document.split_once(&begin).with_context(|| format!("no place for `{command}`"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("no end of `{command}`"))?;
    Ok([before, &begin, text, END, after].concat())
}

/// Fails where a document does not say what a command has measured.
#[cfg(test)]
pub fn says(workspace: &Workspace, document: &str, command: &str, text: &str) {
    let said = fs::read_to_string(workspace.root.join(document)).unwrap();
    assert_eq!(replace(&said, command, text).unwrap(), said, "run `{command}`");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_lines_changes() {
        let document = |a: &str, b: &str| {
            format!(
                "before\n<!-- `make a` writes what is between these two lines -->\n{a}{END}between\n\
                 <!-- `make b` writes what is between these two lines -->\n{b}{END}after\n"
            )
        };
        let changed = replace(&document("old\n", "other\n"), "make a", "new\n").unwrap();
        assert_eq!(changed, document("new\n", "other\n"));
        let changed = replace(&document("old\n", "other\n"), "make b", "new\n").unwrap();
        assert_eq!(changed, document("old\n", "new\n"));
        assert!(replace(&document("", ""), "make c", "new\n").is_err());
    }
}
