use super::*;

#[test]
fn one_side_of_or_is_enough_and_both_of_and_are_needed() {
    for allowed in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-2.0-only OR MIT",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
    ] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in ["", "GPL-3.0-only", "MIT AND GPL-2.0-only", "(MIT OR ISC) AND LGPL-2.1"] {
        assert!(!is_allowed(refused), "{refused}");
    }
}

#[test]
fn a_crate_from_elsewhere_is_refused() {
    let package = |source: Value| serde_json::json!({ "name": "a", "version": "1.0.0", "license": "MIT", "source": source });
    assert_eq!(
        offence(&package("registry+https://github.com/rust-lang/crates.io-index".into())),
        None
    );
    assert_eq!(offence(&package(Value::Null)), None);
    let elsewhere = offence(&package("git+https://example.org/a".into()));
    assert_eq!(elsewhere.as_deref(), Some("a 1.0.0: from git+https://example.org/a"));
}

#[test]
fn what_we_depend_on_today_passes() {
    check(&Workspace::find().unwrap()).unwrap();
}
