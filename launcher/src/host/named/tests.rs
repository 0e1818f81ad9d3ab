use super::*;
use crate::cli::{Command, Parsed, parse};
use crate::error::Failure;

fn args(line: &[&str]) -> RunArgs {
    match parse(["cofferdam", "run"].iter().chain(line).chain(&["image"])) {
        Ok(Parsed::Command(Command::Run(args))) => *args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_read_that_was_not_named() {
    let inputs = NamedInputs::read(&args(&["-e", "A=1", "--security-opt", "seccomp=unconfined"]));
    assert_eq!(inputs.unwrap(), NamedInputs::default());
}

#[test]
fn a_bare_name_and_an_env_file_ask_for_our_environment() {
    let inputs = NamedInputs::read(&args(&["-e", "PATH"])).unwrap();
    assert_eq!(inputs.environment.get("PATH"), std::env::var("PATH").ok().as_ref());
    let inputs = NamedInputs::read(&args(&["--env-file", "/dev/null"])).unwrap();
    assert!(inputs.environment.contains_key("PATH"));
    assert_eq!(inputs.env_files, [("/dev/null".into(), Vec::new())]);
}

#[test]
fn files_are_read_whole_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, contents: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (one, two, profile) = (write("one", "A=1"), write("two", ""), write("p.json", "{}"));
    let option = format!("seccomp={profile}");
    let line = ["--env-file", &two, "--env-file", &one, "--security-opt", &option];
    let inputs = NamedInputs::read(&args(&line)).unwrap();
    assert_eq!(inputs.env_files, [(two.into(), Vec::new()), (one.into(), b"A=1".to_vec())]);
    assert_eq!(inputs.seccomp_files, [(profile, b"{}".to_vec())]);
}

#[test]
fn a_file_that_is_not_there_or_too_long_is_refused() {
    let error = NamedInputs::read(&args(&["--env-file", "/no/such"])).unwrap_err();
    assert_eq!(
        Failure::from(error).to_string(),
        "cofferdam: cannot read --env-file /no/such: No such file or directory (os error 2)\n\
         hint: inside a container, the file must be mounted into it\n"
    );
    let error = NamedInputs::read(&args(&["--security-opt", "seccomp=/dev/zero"])).unwrap_err();
    assert_eq!(
        Failure::from(error).to_string(),
        "cofferdam: --security-opt seccomp /dev/zero is longer than 1048576 bytes\n"
    );
}
