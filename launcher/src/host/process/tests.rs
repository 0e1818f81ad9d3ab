use super::*;

#[test]
fn fields_are_whole_names() {
    let status =
        "Name:\tx\nSeccomp_filters:\t3\nSeccomp:\t2\nNoNewPrivs:\t1\nCapEff:\t00000000a80425fb\n";
    assert_eq!(field(status, "Seccomp"), Some("2"));
    assert_eq!(seccomp_mode(status), Some(SeccompMode::Filter(3)));
    assert_eq!(field(status, "Cap"), None);
}

#[test]
fn modes_of_seccomp() {
    for (text, mode) in [
        ("Seccomp:\t0\n", Some(SeccompMode::Off)),
        ("Seccomp:\t1\n", Some(SeccompMode::Strict)),
        ("Seccomp:\t2\n", Some(SeccompMode::Filter(0))),
        ("Seccomp:\t9\n", None),
        ("", None),
    ] {
        assert_eq!(seccomp_mode(text), mode, "{text:?}");
    }
}

#[test]
fn this_process_is_who_it_is() {
    let facts = ProcessFacts::ask();
    assert_eq!(facts.uid, rustix::process::geteuid().as_raw());
    assert!(facts.capabilities.is_some() && facts.seccomp.is_some());
    assert!(facts.descriptors.0.is_none_or(|soft| soft >= 64));
}
