//! The rules of the workspace that a compiler does not check: which way the arrows between crates
//! point, how long things may get, where `unsafe` and a processor's names may stand, and that what
//! documents name is there.
//!
//! Owns: the rules and their exceptions, each with its reason. A rule is a function from text to
//! complaints, so that each is also tested on text that breaks it.

#![allow(clippy::panic, reason = "a test fails so")]

mod structure {
    pub mod arrows;
    pub mod documents;
    pub mod flags;
    pub mod lists;
    pub mod named_cases;
    pub mod sources;
    pub mod tree;
}

use structure::{arrows, documents, flags, lists, named_cases, sources, tree};

fn nothing_to_complain_of(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}

#[test]
fn arrows_between_crates_point_downward() {
    nothing_to_complain_of(&arrows::check_workspace());
}

#[test]
fn every_crate_says_its_licence() {
    nothing_to_complain_of(&arrows::check_licences());
}

#[test]
fn sources_keep_the_rules() {
    let files = tree::rust_files();
    assert!(files.len() > 20, "only {} source files were found", files.len());
    let complaints: Vec<String> =
        files.iter().flat_map(|path| sources::check(path, &tree::read(path))).collect();
    nothing_to_complain_of(&complaints);
}

#[test]
fn every_exception_is_still_needed() {
    nothing_to_complain_of(&sources::unused_exceptions());
}

#[test]
fn paths_named_in_documents_exist() {
    nothing_to_complain_of(&documents::check_all());
}

#[test]
fn every_line_of_a_list_has_a_case() {
    nothing_to_complain_of(&lists::check_all());
}

#[test]
fn cases_named_in_documents_exist() {
    nothing_to_complain_of(&named_cases::check_all());
}

#[test]
fn every_flag_of_run_has_a_case() {
    nothing_to_complain_of(&flags::check_all());
}
