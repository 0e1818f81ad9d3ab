use super::network::{Egress, NetworkKind};
use super::*;

fn run(arguments: &[&str]) -> RunArgs {
    match parse(["cofferdam", "run"].iter().chain(arguments)) {
        Ok(Parsed::Command(Command::Run(args))) => *args,
        other => panic!("{other:?}"),
    }
}

fn refused(arguments: &[&str]) -> String {
    parse(["cofferdam"].iter().chain(arguments)).unwrap_err().to_string()
}

#[test]
fn all_after_the_image_belongs_to_the_container() {
    let args = run(&["-i", "oci:/image", "-t", "--rm", "--", "sh", "-h", "--env=X"]);
    assert!(args.interactive && !args.tty && !args.rm);
    assert_eq!(args.image(), "oci:/image");
    assert_eq!(args.command(), ["-t", "--rm", "--", "sh", "-h", "--env=X"]);
    assert!(args.env.is_empty() && args.hostname.is_none());
}

#[test]
fn dockers_short_forms_join() {
    let args = run(&["-ite", "A=1", "-eB", "-w/x", "-u", "1:2", "-hbox", "-m64m", "-q", "i", "c"]);
    assert!(args.interactive && args.tty && args.quiet);
    assert_eq!(args.env, ["A=1", "B"]);
    assert_eq!(args.workdir.as_deref(), Some("/x"));
    assert_eq!(args.user.as_deref(), Some("1:2"));
    assert_eq!(args.hostname.as_deref(), Some("box"));
    assert_eq!(args.memory.as_deref(), Some("64m"));
    assert_eq!(args.command(), ["c"]);
}

#[test]
fn a_value_may_begin_with_a_hyphen() {
    let args = run(&["--entrypoint", "-c", "-e", "-A=1", "--ulimit", "-x", "-u", "--rm", "i"]);
    assert_eq!(args.entrypoint.as_deref(), Some("-c"));
    assert_eq!(
        (args.env.as_slice(), args.user.as_deref()),
        (&["-A=1".to_owned()][..], Some("--rm"))
    );
    assert!(!args.rm);
}

#[test]
fn every_flag_keeps_what_was_typed() {
    let args = run(&[
        "--env-file",
        "f",
        "--entrypoint",
        "",
        "--init",
        "--stop-signal",
        "RTMIN+3",
        "--stop-timeout",
        "-1",
        "--timeout",
        "5",
        "--name",
        "n",
        "--read-only",
        "--tmpfs",
        "/tmp:size=1m",
        "--tmpfs",
        "/run",
        "--privileged",
        "--cap-add",
        "ALL",
        "--cap-drop",
        "KILL",
        "--security-opt",
        "no-new-privileges",
        "--cpus",
        "0.5",
        "--pids-limit",
        "-1",
        "--ulimit",
        "nofile=1:2",
        "--accel",
        "tcg",
        "--vm-memory",
        "1g",
        "--vm-cpus",
        "2",
        "--kernel",
        "k",
        "--console",
        "c",
        "--state-dir",
        "s",
        "--rm",
        "image",
    ]);
    assert_eq!(args.entrypoint.as_deref(), Some(""));
    assert_eq!(args.stop_timeout.as_deref(), Some("-1"));
    assert_eq!(args.pids_limit.as_deref(), Some("-1"));
    assert_eq!(args.tmpfs, ["/tmp:size=1m", "/run"]);
    assert_eq!(args.accel, Accelerator::Tcg);
    assert_eq!(args.state_dir.to_str(), Some("s"));
    assert!(args.init && args.read_only && args.privileged && args.rm);
    assert!(args.command().is_empty());
}

#[test]
fn flags_of_the_network_keep_what_was_typed() {
    let args =
        run(&["-p80", "--publish", "[::1]:1:2/udp", "--dns-opt", "-x", "--egress=deny", "i"]);
    assert_eq!(args.network.publish, ["80", "[::1]:1:2/udp"]);
    assert_eq!(args.network.dns_option, ["-x"]);
    assert_eq!((args.network.network, args.network.egress), (NetworkKind::Default, Egress::Deny));
    for flag in ["--network=none", "-p80", "--allow=all", "--egress=deny", "--add-host=a:1.1.1.1"] {
        let said = refused(&["run", "--sandbox", "s", flag, "i"]);
        assert!(said.contains("cannot be used with"), "{flag}: {said}");
    }
}

#[test]
fn defaults_are_dockers_or_ours() {
    let args = run(&["image"]);
    assert_eq!(args.accel, Accelerator::Auto);
    assert_eq!(args.state_dir.to_str(), Some(DEFAULT_STATE_DIR));
    assert!(!args.interactive && !args.tty && !args.privileged && !args.quiet);
}

#[test]
fn mistakes_are_two_lines_and_exit_code_125() {
    for (arguments, expected) in [
        (
            &["run", "--frobnicate", "image"][..],
            "cofferdam: unexpected argument '--frobnicate' found\nhint: see cofferdam run --help\n",
        ),
        (
            &["run", "--memori", "1g", "image"],
            "cofferdam: unexpected argument '--memori' found\n\
             hint: did you mean --memory? see cofferdam run --help\n",
        ),
        (
            &["run", "-i"],
            "cofferdam: the following required arguments were not provided: <IMAGE>...\n\
             hint: see cofferdam run --help\n",
        ),
        (
            &["run", "--accel", "xen", "image"],
            "cofferdam: invalid value 'xen' for '--accel <WHO>' [possible values: auto, kvm, tcg]\n\
             hint: see cofferdam run --help\n",
        ),
        (
            &["rum"],
            "cofferdam: unrecognized subcommand 'rum'\nhint: did you mean run? see cofferdam --help\n",
        ),
        (&[], "cofferdam: no command was given\nhint: see cofferdam --help\n"),
    ] {
        assert_eq!(refused(arguments), expected, "{arguments:?}");
    }
    assert_eq!(parse(["cofferdam", "run"]).unwrap_err().exit_code(), 125);
}

#[test]
fn help_and_version_are_text_for_stdout() {
    for arguments in
        [&["cofferdam", "--help"][..], &["cofferdam", "--version"], &["cofferdam", "run", "--help"]]
    {
        let Ok(Parsed::Text(text)) = parse(arguments) else { panic!("{arguments:?}") };
        assert!(text.contains("cofferdam"), "{text}");
    }
}

#[test]
fn the_help_of_run_is_grouped_and_fits_a_terminal() {
    let Ok(Parsed::Text(text)) = parse(["cofferdam", "run", "--help"]) else { panic!() };
    for heading in [
        "Process:",
        "Container:",
        "Network:",
        "Privilege:",
        "Limits:",
        "Virtual machine:",
        "Other:",
    ] {
        assert!(text.contains(heading), "{heading}");
    }
    assert!(text.contains("cofferdam run [FLAGS] IMAGE [CMD]..."));
    assert!(
        text.lines().any(|line| line.contains("--tty ") && line.contains("Give it a terminal"))
    );
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn the_other_commands_are_understood() {
    let Ok(Parsed::Command(Command::Doctor(args))) = parse(["cofferdam", "doctor", "--json"])
    else {
        panic!()
    };
    assert!(args.json);
    assert_eq!(args.state_dir.to_str(), Some(DEFAULT_STATE_DIR));
}
