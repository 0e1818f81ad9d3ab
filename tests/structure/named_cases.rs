//! End-to-end cases that documents name exist, and every line of SECURITY.md's table of escapes names one.
//!
//! A case is named in backticks as `file::case`, as the end-to-end test prints it.

use super::tree;

const SECURITY: &str = "SECURITY.md";
const TABLE: &str = "## Escape cases";

/// Checks every document.
pub fn check_all() -> Vec<String> {
    let documents = tree::files().into_iter().filter(|path| path.ends_with(".md"));
    let named = documents.flat_map(|path| check(&path, &tree::read(&path), &exists));
    named.chain(check_table(&tree::read(SECURITY))).collect()
}

fn exists(file: &str, case: &str) -> Option<bool> {
    let path = format!("tests/cases/{file}.rs");
    tree::root().join(&path).is_file().then(|| lists(&tree::read(&path), case))
}

/// Whether the text of a file of cases lists one and has it.
fn lists(text: &str, case: &str) -> bool {
    let list = text.split_once("cases! {").and_then(|(_, rest)| rest.split_once('}'));
    let mut words = list.map_or("", |(list, _)| list).split(|c: char| !is_of_a_name(c));
    words.any(|word| word == case) && text.contains(&format!("fn {case}(world: &World)"))
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Each `file::case` of a text; a file that is none of ours, as `std::fs`, is left alone.
fn check(document: &str, text: &str, exists: &dyn Fn(&str, &str) -> Option<bool>) -> Vec<String> {
    let lines = text.lines().enumerate();
    let words = lines.flat_map(|(index, line)| names(line).map(move |it| (index + 1, it)));
    words
        .filter(|(_, (file, case))| exists(file, case) == Some(false))
        .map(|(line, (file, case))| format!("{document}:{line}: no case is {file}::{case}"))
        .collect()
}

fn names(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let words = line.split('`').skip(1).step_by(2);
    words.filter_map(|word| word.split_once("::"))
}

/// Each line of the table but its head names a case.
fn check_table(text: &str) -> Vec<String> {
    let section = text.split_once(TABLE).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    if rows.is_empty() {
        return vec![format!("{SECURITY} has no table under {TABLE:?}")];
    }
    let without = rows.into_iter().filter(|row| {
        let last = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        names(last).next().is_none()
    });
    without.map(|row| format!("{SECURITY}: no case is named by {row}")).collect()
}

mod tests {
    use super::{check, check_table, lists};

    const CASES: &str =
        "cases! {\n    Both: one, two;\n}\nfn one(world: &World) {}\nfn twofold() {}";

    #[test]
    fn a_case_that_is_gone_is_seen() {
        assert!(lists(CASES, "one") && !lists(CASES, "two") && !lists(CASES, "twofold"));
        let exists = |file: &str, case: &str| (file == "a").then(|| lists(CASES, case));
        assert_eq!(check("d.md", "`a::one`, `a::gone`, `std::fs`, a::gone", &exists).len(), 1);
    }

    #[test]
    fn a_row_without_a_case_is_seen() {
        let table = |rows: &str| format!("## Escape cases\n\n| case | test |\n|---|---|\n{rows}\n");
        assert!(check_table(&table("| x | `a::one`, `a::two` |")).is_empty());
        assert_eq!(check_table(&table("| x | `a::one` |\n| `b::c` | none |")).len(), 1);
        assert_eq!(check_table("## Escape cases\n").len(), 1);
        assert_eq!(check_table("no heading").len(), 1);
        // What comes after it is another table.
        let other =
            table("| x | `a::one` |") + "\n## Reporting\n\n| y | z |\n|---|---|\n| 1 | 2 |\n";
        assert!(check_table(&other).is_empty());
    }
}
