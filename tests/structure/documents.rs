//! Paths that documents name in backticks exist.
//!
//! A word in backticks is taken for a path of this repository where it begins with the name of
//! something at the repository's root and a slash, or is a name with an ending that only our
//! files have. What a build makes is not here to be found, and neither is what is inside a container.

use super::tree;
use std::path::Path;

/// Documents that must be there, and those that come later.
const REQUIRED: [&str; 3] = ["README.md", "ARCHITECTURE.md", "kernel-config/README.md"];
const OPTIONAL: [&str; 2] = ["SECURITY.md", "CONTRIBUTING.md"];

/// Made by a build, or named as examples.
const MADE: [&str; 2] = ["dist/", "target/"];

/// Of names without a folder, only these are surely ours: a script or a JSON file may be anyone's.
const ENDINGS: [&str; 4] = [".rs", ".md", ".toml", ".config"];

/// Checks every document.
pub fn check_all() -> Vec<String> {
    let mut complaints = Vec::new();
    for document in REQUIRED.iter().chain(&OPTIONAL) {
        let here = tree::root().join(document);
        if here.is_file() {
            complaints
                .extend(check(document, &tree::read(document), &|path| exists(document, path)));
        } else if REQUIRED.contains(document) {
            complaints.push(format!("{document} is missing"));
        }
    }
    complaints
}

fn exists(document: &str, path: &str) -> bool {
    let beside = Path::new(document).parent().unwrap_or(Path::new(""));
    [Path::new(""), beside].iter().any(|from| tree::root().join(from).join(path).exists())
        // A name without a folder is a file's that the text around it places.
        || (!path.contains('/') && tree::files().iter().any(|file| is_called(file, path)))
}

fn is_called(file: &str, name: &str) -> bool {
    file.rsplit('/').next() == Some(name)
}

fn check(document: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in line.split('`').skip(1).step_by(2) {
            for path in alternatives(word) {
                if is_path(&path, exists) && !exists(&path) {
                    complaints.push(format!("{document}:{}: `{path}` does not exist", index + 1));
                }
            }
        }
    }
    complaints
}

/// `a/{b,c}.rs` names two paths; `a/b.rs:12` and `a/b.rs#L12` name `a/b.rs`.
fn alternatives(word: &str) -> Vec<String> {
    let word = word.split(['#', ':']).next().unwrap_or_default().trim_end_matches('/');
    match (word.split_once('{'), word.rsplit_once('}')) {
        (Some((before, _)), Some((inner, after))) => inner
            .rsplit('{')
            .next()
            .unwrap_or_default()
            .split(',')
            .map(|middle| format!("{before}{middle}{after}"))
            .collect(),
        _ => vec![word.to_owned()],
    }
}

fn is_path(word: &str, exists: &dyn Fn(&str) -> bool) -> bool {
    let plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    if !plain || word.starts_with(['/', '-', '.']) || MADE.iter().any(|made| word.starts_with(made))
    {
        return false;
    }
    let first = word.split_once('/').map(|(first, _)| first);
    first.is_some_and(exists) || (ENDINGS.iter().any(|ending| word.ends_with(ending)))
}

mod tests {
    use super::{alternatives, check, is_called};

    fn complaints(text: &str) -> usize {
        check("d.md", text, &|path| {
            ["vmm", "vmm/src", "vmm/src/boot.rs", "Makefile"].contains(&path)
        })
        .len()
    }

    #[test]
    fn a_path_that_is_gone_is_seen() {
        assert_eq!(complaints("see `vmm/src/gone.rs` and `vmm/src/boot.rs`"), 1);
        assert_eq!(complaints("`gone.rs`"), 1);
        assert_eq!(complaints("`vmm/src/{boot,gone}.rs`"), 1);
        assert_eq!(complaints("`vmm/gone`"), 1);
    }

    #[test]
    fn other_words_in_backticks_are_left_alone() {
        for text in
            ["`make run`", "`/dev/kvm`", "`--accel tcg`", "`dist/cofferdam`", "`oci:DIR`", "`a/b`"]
        {
            assert_eq!(complaints(text), 0, "{text}");
        }
        assert_eq!(complaints("`vmm/src/boot.rs:12` `vmm/src/` `vmm/`"), 0);
    }

    #[test]
    fn a_name_is_a_files_whole_name() {
        assert!(is_called("a/boot.rs", "boot.rs") && !is_called("a/reboot.rs", "boot.rs"));
    }

    #[test]
    fn braces_are_spelled_out() {
        assert_eq!(alternatives("a/{b,c}.rs"), ["a/b.rs", "a/c.rs"]);
    }
}
