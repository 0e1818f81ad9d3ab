//! `--memory`, `--cpus`, `--pids-limit`, `--ulimit`, and times.

use super::*;
use crate::plan::size::{parse as size, show};
use proptest::prelude::*;

#[test]
fn sizes_as_docker_writes_them() {
    for (text, bytes) in [
        ("0", 0),
        ("1024", 1024),
        ("1b", 1),
        ("1k", 1024),
        ("64m", 64 << 20),
        ("64M", 64 << 20),
        ("64MB", 64 << 20),
        ("64MiB", 64 << 20),
        ("64 mib", 64 << 20),
        ("1.5g", 3 << 29),
        ("0.5k", 512),
        ("2t", 2 << 40),
        ("1p", 1 << 50),
        ("1.0000000000001k", 1024),
    ] {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
    for text in [
        "",
        "m",
        "-1m",
        "1.m",
        ".5m",
        "1..5m",
        "1.5.5m",
        "1e3",
        "1x",
        "1mm",
        "1  m",
        "١m",
        "1m ",
        "16384p",
        "99999999999999999999",
    ] {
        assert!(size(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn a_size_shown_is_the_size_parsed(bytes in any::<u64>()) {
        prop_assert_eq!(size(&show(bytes).replace(" bytes", "b")), Ok(bytes));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[0-9.kmgKMG ib]{0,24}|\\PC{0,12}") {
        let _ = (size(&text), crate::plan::limits::timeout("--timeout", Some(&text)));
        let _ = crate::plan::limits::rlimits(&[text]);
    }

    #[test]
    fn cpus_are_exact_to_the_millionth(micros in 10_000u64..=32_000_000) {
        let typed = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let found = crate::plan::limits::resources(&args(&["--cpus", &typed])).unwrap();
        prop_assert_eq!(found.cpu_micros, Some(micros));
    }
}

#[test]
fn the_containers_limits() {
    let resources =
        plan(&["-m", "64m", "--cpus", "1.5", "--pids-limit", "100"]).container.resources;
    assert_eq!(
        resources,
        Resources { memory_bytes: Some(64 << 20), cpu_micros: Some(1_500_000), pids: Some(100) }
    );
    let none = plan(&["-m", "0", "--cpus", "0", "--pids-limit", "-1"]).container.resources;
    assert_eq!(none, Resources::default());
    assert_eq!(plan(&["--pids-limit", "0"]).container.resources.pids, None);
}

#[test]
fn resource_limits() {
    let limits =
        plan(&["--ulimit", "nofile=1024:4096", "--ulimit", "core=0", "--ulimit", "nofile=-1"]);
    let limits = limits.container.rlimits;
    let of = |name: &str, soft, hard| Rlimit { name: name.to_owned(), soft, hard };
    assert_eq!(limits, [of("core", 0, 0), of("nofile", u64::MAX, u64::MAX)]);
}

#[test]
fn times() {
    let sandbox = plan(&["--timeout", "1.5", "--stop-timeout", "0", "--boot-timeout", "7"]).sandbox;
    assert_eq!(sandbox.timeout, Some(Duration::from_millis(1500)));
    assert_eq!(sandbox.boot_timeout, Some(Duration::from_secs(7)));
    assert_eq!(sandbox.stop_timeout, Some(Duration::ZERO));
    assert_eq!(plan(&["--stop-timeout", "-1"]).sandbox.stop_timeout, None);
}

#[test]
fn a_disk_has_the_size_that_was_asked_for() {
    let bytes = |line: &[&str]| plan(line).sandbox.disk.bytes();
    assert_eq!(bytes(&[]), 100 * GIB);
    assert_eq!(bytes(&["--disk-size", "1.5g"]), 3 * GIB / 2);
}

#[test]
fn what_cannot_be_is_refused_in_two_lines() {
    for (line, expected) in [
        (
            &["--memory", "lots"][..],
            "cofferdam: --memory: \"lots\" is no size\n\
             hint: a size is a number with an optional unit b, k, m, g or t, as in 512m\n",
        ),
        (
            &["--memory", "64"],
            "cofferdam: --memory \"64\" is less than 6m, in which no container starts\n\
             hint: a number without a unit is bytes: write 64m\n",
        ),
        (
            &["--disk-size", "10"],
            "cofferdam: --disk-size \"10\" is not between 16 MiB and 8 TiB\n\
             hint: for example --disk-size 10g; room is taken only as it is written to\n",
        ),
        (
            &["--disk-size", "9t"],
            "cofferdam: --disk-size \"9t\" is not between 16 MiB and 8 TiB\n\
             hint: for example --disk-size 10g; room is taken only as it is written to\n",
        ),
        (
            &["--disk-size", "ten"],
            "cofferdam: --disk-size: \"ten\" is no size\n\
             hint: a size is a number with an optional unit b, k, m, g or t, as in 512m\n",
        ),
        (
            &["--cpus", "-1"],
            "cofferdam: --cpus \"-1\" is no number from 0.01 to 32\nhint: --cpus 0.5 is half of one CPU\n",
        ),
        (
            &["--cpus", "0.001"],
            "cofferdam: --cpus \"0.001\" is no number from 0.01 to 32\nhint: --cpus 0.5 is half of one CPU\n",
        ),
        (
            &["--pids-limit", "-2"],
            "cofferdam: --pids-limit \"-2\" is neither -1 nor a number from 0 to 4194304\n\
             hint: -1 and 0 are no limit\n",
        ),
        (
            &["--ulimit", "nofile"],
            "cofferdam: --ulimit \"nofile\" is not NAME=SOFT[:HARD]\n\
             hint: for example --ulimit nofile=1024:4096; -1 is unlimited\n",
        ),
        (
            &["--ulimit", "files=1"],
            "cofferdam: --ulimit \"files\": there is no such limit\n\
             hint: known limits are core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, \
             nproc, rss, rtprio, rttime, sigpending, stack\n",
        ),
        (
            &["--ulimit", "nofile=-1:5"],
            "cofferdam: --ulimit nofile: the soft limit -1 is greater than the hard limit 5\n\
             hint: write --ulimit nofile=-1 for both\n",
        ),
        (
            &["--timeout", "0"],
            "cofferdam: --timeout \"0\" is no number of seconds\n\
             hint: leave --timeout out for its default\n",
        ),
        (
            &["--stop-timeout", "soon"],
            "cofferdam: --stop-timeout \"soon\" is no number of seconds\nhint: -1 waits for ever\n",
        ),
    ] {
        assert_eq!(refusal(line), expected, "{line:?}");
    }
}
