//! `-e`, `--env-file` and the image's variables.

use super::*;
use crate::plan::environment::{DEFAULT_PATH, changes, merge};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn inputs(file: &[u8], ours: &[(&str, &str)]) -> NamedInputs {
    NamedInputs {
        environment: ours.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect(),
        env_files: vec![("vars".into(), file.to_vec())],
        seccomp_files: Vec::new(),
    }
}

fn set(name: &str, value: &str) -> Change {
    Change::Set { name: name.to_owned(), value: value.to_owned() }
}

#[test]
fn a_file_is_read_as_docker_reads_it() {
    let file = b"\xef\xbb\xbf# comment\n\n  A=1\nB= spaces kept \r\nC=\nHOME_HERE\nUNSET\n\t# no\nD=x=y#z\nE='q'";
    let found = changes(&args(&[]), &inputs(file, &[("HOME_HERE", "/h")])).unwrap();
    assert_eq!(
        found,
        [
            set("A", "1"),
            set("B", " spaces kept "),
            set("C", ""),
            set("HOME_HERE", "/h"),
            set("D", "x=y#z"),
            set("E", "'q'"),
        ]
    );
}

#[test]
fn bad_lines_are_refused_with_their_number() {
    for (file, expected) in [
        (&b"A=1\n=x"[..], "--env-file vars, line 2: \"=x\" names no variable"),
        (b"A B=1", "--env-file vars, line 1: the name \"A B\" holds a blank"),
        (b"\n\n\xff=1", "--env-file vars, line 3: it is not UTF-8"),
        (b"A=\0", "--env-file vars, line 1: it holds a null character"),
    ] {
        let error = changes(&args(&[]), &inputs(file, &[])).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().unwrap().starts_with("a line is NAME=value"));
    }
}

#[test]
fn flags_come_after_files_and_a_bare_name_passes_on_or_removes() {
    let ours = inputs(b"A=file\n", &[("PASSED", "on")]);
    let found = changes(&args(&["-e", "A=flag", "-e", "PASSED", "-e", "GONE"]), &ours).unwrap();
    let gone = Change::Remove { name: "GONE".to_owned() };
    assert_eq!(found, [set("A", "file"), set("A", "flag"), set("PASSED", "on"), gone]);
}

#[test]
fn a_flag_without_a_name_is_refused() {
    let error = changes(&args(&["-e", "=x"]), &inputs(b"", &[])).unwrap_err();
    assert_eq!(error.to_string(), "--env \"=x\" names no variable");
    assert_eq!(error.hint().unwrap(), "write --env NAME=value, or --env NAME to pass it on");
}

#[test]
fn defaults_then_image_then_changes() {
    let image = ["PATH=/i".to_owned(), "X=1".to_owned(), "broken".to_owned(), "=y".to_owned()];
    let changes = [set("X", "2"), Change::Remove { name: "HOSTNAME".to_owned() }, set("Y", "3")];
    assert_eq!(merge(&image, &changes, "h", true), ["PATH=/i", "TERM=xterm", "X=2", "Y=3"]);
    let plain = merge(&[], &[], "h", false);
    assert_eq!(plain, [format!("PATH={DEFAULT_PATH}"), "HOSTNAME=h".to_owned()]);
}

fn variable() -> impl Strategy<Value = (String, String)> {
    ("[A-D]", "[a-z=]{0,3}")
}

proptest! {
    /// The model is a map to which everything is applied in order; the order of first mention is kept.
    #[test]
    fn merging_is_applying_in_order(
        image in prop::collection::vec(variable(), 0..6),
        typed in prop::collection::vec((variable(), any::<bool>()), 0..6),
        terminal in any::<bool>(),
    ) {
        let entries: Vec<String> = image.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let changes: Vec<Change> = typed
            .iter()
            .map(|((n, v), keep)| if *keep { set(n, v) } else { Change::Remove { name: n.clone() } })
            .collect();
        let mut model: BTreeMap<String, String> = BTreeMap::new();
        model.insert("PATH".into(), DEFAULT_PATH.into());
        model.insert("HOSTNAME".into(), "h".into());
        if terminal {
            model.insert("TERM".into(), "xterm".into());
        }
        model.extend(image);
        for ((name, value), keep) in typed {
            if keep { model.insert(name, value); } else { model.remove(&name); }
        }
        let merged = merge(&entries, &changes, "h", terminal);
        let as_map: BTreeMap<String, String> = merged
            .iter()
            .filter_map(|entry| entry.split_once('='))
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        prop_assert_eq!(as_map.len(), merged.len());
        prop_assert_eq!(as_map, model);
    }
}
