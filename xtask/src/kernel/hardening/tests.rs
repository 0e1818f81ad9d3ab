use super::*;

const CONFIG: &str =
    "CONFIG_STRONG=y\nCONFIG_BITS=28\nCONFIG_SALT=\"\"\n# CONFIG_WEAK is not set\n";

fn wanting(names: &[&str]) -> Wanting {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn holds(check: &str) -> bool {
    let mut known = options(CONFIG);
    known.extend(words("const CMDLINE: &str = \"quiet spectre_v2=on mds=off tsx=0\";").unwrap());
    Check::parse(check).unwrap().holds(&known)
}

#[test]
fn a_check_is_of_an_options_value() {
    for check in ["STRONG=y", "BITS=28", "WEAK=n", "GONE=n", "WEAK=present", "quiet=present"] {
        assert!(holds(check), "{check}");
    }
    for check in ["STRONG=n", "BITS=32", "WEAK=y", "GONE=y", "GONE=present", "SALT=n", "quiet=n"] {
        assert!(!holds(check), "{check}");
    }
}

#[test]
fn a_mitigation_that_is_not_named_counts_as_off() {
    let verdicts = ["spectre_v2=not-off", "mds=not-off", "tsx=not-off", "l1tf=not-off"].map(holds);
    assert_eq!(verdicts, [true, false, false, false]);
}

#[test]
fn one_of_the_alternatives_must_hold_and_of_it_all() {
    assert!(holds("GONE=y or STRONG=y and WEAK=n"));
    assert!(!holds("GONE=y or STRONG=y and WEAK=y"));
    assert_eq!(Check::parse("A=y and B=n or C=1").unwrap().name(), "A=y");
    for line in ["A", "A=", "A=y  or B=y", "A=y B=y"] {
        assert!(Check::parse(line).is_err(), "{line}");
    }
    assert!(asked("# nothing but a comment\n").is_err());
}

#[test]
fn each_line_of_the_record_has_a_reason() {
    let list = "# The list.\n\n# Not here.\nA=y\nB=n # at all\n\nc=1   # costs\n";
    assert_eq!(recorded(list).unwrap(), wanting(&["A=y", "B=n", "c=1"]));
    for list in ["# Here.\n\nA=y\n", "A=y #\n", "# Here.\nA=y\nA=y\n", "# Here.\nA\n"] {
        assert!(recorded(list).is_err(), "{list}");
    }
}

#[test]
fn what_is_not_recorded_fails_and_so_does_what_is_recorded_and_well() {
    let record = wanting(&["A=y", "B=n"]);
    assert!(judge(&record, &record).is_ok());
    let error = judge(&wanting(&["A=y", "B=n", "C=1"]), &record).unwrap_err();
    assert!(error.to_string().contains("C=1 has no reason"), "{error}");
    let error = judge(&wanting(&["A=y"]), &record).unwrap_err();
    assert!(error.to_string().contains("B=n is so"), "{error}");
}

#[test]
fn a_command_line_is_found_where_the_sources_hold_it() {
    let source = "/// A word, \"so\".\nconst CMDLINE_ALWAYS: &str = \"panic=-1 quiet\";\n\
                  pub(crate) const CMDLINE_BYTES: usize = 2048;\nconst OTHER: &str = \"loud\";\n\
                  pub(crate) const CMDLINE_LAST: &str =\n    \"loglevel=1\";\n";
    let known = words(source).unwrap();
    assert_eq!(known.keys().collect::<Vec<_>>(), ["loglevel", "panic", "quiet"]);
    assert!(words("const OTHER: &str = \"loud\";").is_err());
}

#[test]
fn the_checkers_own_verdicts_are_read() {
    let verdict = |name: &str, wanted: &str, is_well: bool| {
        serde_json::json!({"option_name": name, "type": "kconfig", "desired_val": wanted, "decision": "kspp",
            "reason": "self_protection", "check_result": "", "check_result_bool": is_well})
    };
    let verdicts = serde_json::json!([
        verdict("CONFIG_KFENCE", "y", false),
        verdict("CONFIG_AIO", "is not set", false),
        verdict("mds", "is not off", false),
        verdict("nosmt", "is present", false),
        verdict("CONFIG_BUG", "y", true),
    ]);
    let found = refused(&verdicts.to_string()).unwrap();
    assert_eq!(found, wanting(&["AIO=n", "KFENCE=y", "mds=not-off", "nosmt=present"]));
    for text in
        ["", "{}", "[]", "[{}]", "[{\"option_name\": \"CONFIG_BUG\", \"desired_val\": \"y\"}]"]
    {
        assert!(refused(text).is_err(), "{text}");
    }
}
