//! What was typed meets what the image says.

use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn image(entrypoint: &str, cmd: &str) -> ImageDefaults {
    ImageDefaults { entrypoint: words(entrypoint), cmd: words(cmd), ..ImageDefaults::default() }
}

/// `line` ends with the image.
fn with_command(line: &[&str], image: &ImageDefaults) -> Result<ProcessPlan, ProcessError> {
    let Ok(Parsed::Command(Command::Run(args))) = parse(["cofferdam", "run"].iter().chain(line))
    else {
        panic!("{line:?}")
    };
    let plan = RunPlan::resolve(&args, &NamedInputs::default(), &facts()).unwrap();
    plan.with_image(image, "0123456789abcdef0123")
}

#[test]
fn entrypoint_and_command_are_merged_as_docker_merges_them() {
    for (line, entrypoint, cmd, expected) in [
        (&["i"][..], "e 1", "c 2", "e 1 c 2"),
        (&["i"], "", "c 2", "c 2"),
        (&["i"], "e", "", "e"),
        (&["i", "x", "-y"], "e 1", "c 2", "e 1 x -y"),
        (&["i", "x"], "", "c", "x"),
        (&["--entrypoint", "p", "i"], "e 1", "c 2", "p"),
        (&["--entrypoint", "p", "i", "x"], "e 1", "c 2", "p x"),
        (&["--entrypoint", "", "i", "x"], "e 1", "c 2", "x"),
    ] {
        let plan = with_command(line, &image(entrypoint, cmd)).unwrap();
        assert_eq!(plan.args.join(" "), expected, "{line:?} {entrypoint:?} {cmd:?}");
    }
}

#[test]
fn nothing_to_run_is_an_error_of_125() {
    let reset = ImageDefaults { entrypoint: vec![String::new()], ..ImageDefaults::default() };
    for (line, image) in [
        (&["i"][..], image("", "")),
        (&["--entrypoint", "", "i"], image("e", "c")),
        (&["i"], reset),
        (&["i", ""], image("", "")),
    ] {
        let failure = Failure::from(with_command(line, &image).unwrap_err());
        assert_eq!(failure.exit_code(), 125);
        assert_eq!(
            failure.to_string(),
            "cofferdam: no command specified: neither the image nor the command line names a program\n\
             hint: write it after the image: cofferdam run IMAGE sh\n"
        );
    }
}

#[test]
fn an_image_that_resets_its_entrypoint_runs_the_command() {
    let reset = ImageDefaults {
        entrypoint: vec![String::new()],
        cmd: words("sh"),
        ..ImageDefaults::default()
    };
    assert_eq!(with_command(&["i"], &reset).unwrap().args, ["sh"]);
}

#[test]
fn the_image_decides_what_was_not_typed() {
    let image = ImageDefaults {
        cmd: words("c"),
        env: vec!["A=1".into()],
        user: "www".into(),
        working_dir: "srv/www".into(),
        stop_signal: Some("SIGRTMIN+3".into()),
        ..ImageDefaults::default()
    };
    let plan = with_command(&["i"], &image).unwrap();
    assert_eq!((plan.user.as_str(), plan.cwd.as_str(), plan.stop_signal), ("www", "/srv/www", 37));
    assert_eq!(plan.hostname, "0123456789ab");
    assert!(plan.env.contains(&"HOSTNAME=0123456789ab".to_owned()));
    assert!(plan.env.contains(&"A=1".to_owned()));
    let typed = ["-u", "0", "-w", "/x", "--stop-signal", "INT", "-h", "box", "-e", "A=2", "i"];
    let plan = with_command(&typed, &image).unwrap();
    assert_eq!((plan.user.as_str(), plan.cwd.as_str(), plan.stop_signal), ("0", "/x", 2));
    assert_eq!(plan.hostname, "box");
    assert!(plan.env.contains(&"A=2".to_owned()) && plan.env.contains(&"HOSTNAME=box".to_owned()));
}

#[test]
fn with_nothing_said_it_is_root_at_the_root_stopped_by_term() {
    let plan = with_command(&["i", "sh"], &ImageDefaults::default()).unwrap();
    assert_eq!((plan.user.as_str(), plan.cwd.as_str(), plan.stop_signal), ("", "/", 15));
}

#[test]
fn an_images_nonsense_is_refused() {
    let signal = ImageDefaults {
        cmd: words("c"),
        stop_signal: Some("SIGWHAT".into()),
        ..ImageDefaults::default()
    };
    assert_eq!(
        Failure::from(with_command(&["i"], &signal).unwrap_err()).to_string(),
        "cofferdam: the image's StopSignal: \"SIGWHAT\" is no signal\n\
         hint: override it with --stop-signal\n"
    );
    assert!(with_command(&["--stop-signal", "9", "i"], &signal).is_ok());
    let null = ImageDefaults { cmd: vec!["a\0b".into()], ..ImageDefaults::default() };
    assert_eq!(
        with_command(&["i"], &null).unwrap_err(),
        ProcessError::Null("an argument of the command")
    );
}
