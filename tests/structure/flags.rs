//! Every flag of `cofferdam run` has a case that uses it, so that a new one cannot come without.

use super::tree;
use syn::{Fields, Item};

const ARGUMENTS: &str = "launcher/src/cli/run.rs";
/// What is no flag, or has its case under its short name.
const OTHERWISE: [(&str, &str); 7] = [
    ("image-and-command", "the arguments themselves"),
    ("registry", "several flags, which pull has too"),
    ("health", "several flags, in a file of their own"),
    ("network", "several flags, in a file of their own"),
    ("interactive", "\"-i\""),
    ("tty", "\"-t\""),
    ("rm", "\"--rm\""),
];

/// Checks each flag's name against all cases and the harness, which has those that every case uses.
pub fn check_all() -> Vec<String> {
    let texts: Vec<String> = tree::rust_files()
        .iter()
        .filter(|path| path.starts_with("tests/cases/") || path.starts_with("tests/harness/"))
        .map(|path| tree::read(path))
        .collect();
    check(&names(&tree::read(ARGUMENTS)), &texts.concat())
}

fn check(names: &[String], cases: &str) -> Vec<String> {
    let missing = names.iter().filter(|name| {
        let other = OTHERWISE.iter().find(|(it, _)| it == name);
        let written = other.map_or_else(|| format!("\"--{name}\""), |(_, it)| (*it).to_owned());
        other.is_none_or(|(_, it)| it.starts_with('"')) && !cases.contains(&written)
    });
    missing.map(|name| format!("no case uses --{name}")).collect()
}

/// The long names of the fields of `RunArgs`.
fn names(text: &str) -> Vec<String> {
    let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{ARGUMENTS}: {error}"));
    let fields = file.items.into_iter().find_map(|item| match item {
        Item::Struct(it) if it.ident == "RunArgs" => Some(it.fields),
        _ => None,
    });
    let Some(Fields::Named(fields)) = fields else { return Vec::new() };
    let names = fields.named.iter().filter_map(|field| field.ident.as_ref());
    names.map(|name| name.to_string().replace('_', "-")).collect()
}

mod tests {
    use super::{check, names};

    #[test]
    fn a_flag_that_no_case_uses_is_seen() {
        let names =
            names("struct RunArgs { pub tty: bool, pub read_only: bool, image_and_command: u8 }");
        assert_eq!(names, ["tty", "read-only", "image-and-command"]);
        assert_eq!(check(&names, "[\"-t\", \"--read\"]"), ["no case uses --read-only"]);
        assert!(check(&names, "[\"-t\", \"--read-only\"]").is_empty());
    }
}
