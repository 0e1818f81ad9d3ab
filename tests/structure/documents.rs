//! Paths that documents name in backticks exist.
//!
//! A word in backticks is taken for a path of this repository where it begins with the name of
//! something at the repository's root and a slash, or is a name with an ending of our files. So is a word
//! of a block of commands or output, where it begins so. What a build makes is not here to be found, and
//! neither is what is inside a container.

use super::tree;
use std::path::Path;

/// Documents that must be there; all others are checked just so.
const REQUIRED: [&str; 4] =
    ["README.md", "ARCHITECTURE.md", "SECURITY.md", "kernel-config/README.md"];

/// Made by a build, or named as examples.
const MADE: [&str; 2] = ["dist/", "target/"];

/// Names with these endings are ours, wherever they are said to be.
const ENDINGS: [&str; 4] = [".rs", ".md", ".toml", ".config"];
/// Names with these are where no folder is said.
const BARE_ENDINGS: [&str; 3] = [".json", ".list", ".sh"];
/// But for these, which are other people's.
const FOREIGN: [&str; 1] = ["check-config.sh"];

/// Checks every document.
pub fn check_all() -> Vec<String> {
    let mut complaints = Vec::new();
    let documents: Vec<String> =
        tree::files().into_iter().filter(|path| path.ends_with(".md")).collect();
    for document in &documents {
        complaints.extend(check(document, &tree::read(document), &|path| exists(document, path)));
    }
    for document in REQUIRED {
        if !documents.iter().any(|it| it == document) {
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
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        let mut paths: Vec<String> = Vec::new();
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            // Whatever else stands there: only what begins as a path of ours is taken for one.
            let words = line.split(|c: char| c.is_whitespace() || "\"'();,".contains(c));
            paths.extend(words.filter(|it| begins_here(it, exists)).map(str::to_owned));
        } else {
            let words = line.split('`').skip(1).step_by(2);
            paths.extend(words.flat_map(alternatives).filter(|path| is_path(path, exists)));
        }
        for path in paths.iter().filter(|path| !exists(path.trim_end_matches('/'))) {
            complaints.push(format!("{document}:{}: `{path}` does not exist", index + 1));
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
    let ends = |endings: &[&str]| endings.iter().any(|ending| word.ends_with(ending));
    let bare = !word.contains('/') && ends(&BARE_ENDINGS) && !FOREIGN.contains(&word);
    begins_here(word, exists) || (may_be_path(word) && (bare || ends(&ENDINGS)))
}

fn may_be_path(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
        && !word.starts_with(['/', '-', '.'])
        && !MADE.iter().any(|made| word.starts_with(made))
}

fn begins_here(word: &str, exists: &dyn Fn(&str) -> bool) -> bool {
    let first = word.split_once('/').map(|(first, _)| first);
    may_be_path(word) && first.is_some_and(exists)
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
        assert_eq!(complaints("`gone.json`, `gone.list`, `gone.sh`"), 3);
    }

    #[test]
    fn a_path_in_a_block_is_seen() {
        let block = "run vmm/gone --all\nls vmm/src/ && cat (vmm/src/boot.rs) other/gone gone.rs\n";
        assert_eq!(complaints(&format!("```text\n{block}```\nvmm/gone\n")), 1);
        assert_eq!(complaints("    make run vmm/gone\n"), 1);
    }

    #[test]
    fn other_words_in_backticks_are_left_alone() {
        for text in [
            "`make run`",
            "`/dev/kvm`",
            "`--accel tcg`",
            "`dist/cofferdam`",
            "`oci:DIR`",
            "`a/b`",
            "`a/b.json`",
        ] {
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
