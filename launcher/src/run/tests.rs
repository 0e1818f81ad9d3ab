use super::*;
use crate::cli::{Command, Parsed, parse};
use crate::plan::ImageDefaults;

fn planned(line: &[&str]) -> (RunPlan, ProcessPlan, ContainerSpec) {
    let line = ["cofferdam", "run"].iter().chain(line);
    let Ok(Parsed::Command(Command::Run(args))) = parse(line) else { panic!() };
    let plan = RunPlan::resolve(&args, &NamedInputs::default(), &HostFacts::ask()).unwrap();
    let id = crate::sandbox::random_id().unwrap();
    let process = plan.with_image(&ImageDefaults::default(), id.as_str()).unwrap();
    let names = Names::of_first(id).unwrap();
    let extents = || extents(&[4096]).unwrap();
    let disks = Disks { layers: extents(), writable: extents() };
    let spec =
        container_spec(&plan, &process, names, disks, Vec::new(), StreamPorts::for_plan(&plan));
    (plan, process, spec)
}

/// How long the container may run, and how long it has to end.
fn patience(flags: &[&str]) -> (Option<Duration>, Option<Duration>) {
    let (plan, process, spec) = planned(&[flags, &["oci:i", "true"]].concat());
    let choice = Choice::Tcg { qemu: "qemu".into(), reason: None };
    let job = job(&plan, &process, &choice, spec);
    (job.timeout, job.stop_timeout)
}

#[test]
fn a_witness_has_as_long_as_a_boot_whatever_a_command_would_have() {
    let seconds = |count| Some(Duration::from_secs(count));
    assert_eq!(patience(&[]), (None, seconds(10)));
    assert_eq!(patience(&["--audited"]), (seconds(120), seconds(0)));
    let flags = ["--boot-timeout", "7", "--timeout", "9", "--stop-timeout", "-1"];
    assert_eq!(patience(&flags), (seconds(9), None));
    assert_eq!(patience(&[&flags[..], &["--audited"]].concat()), (seconds(7), seconds(0)));
}

#[test]
fn what_the_agent_cannot_be_told_is_refused_before_anything_boots() {
    let spec = |argument| planned(&["oci:i", "true", argument]).2;
    assert!(fitting(spec("short")).is_ok());
    let failure = fitting(spec(&"x".repeat(2 << 20))).unwrap_err();
    assert_eq!(failure.exit_code(), 125);
    assert!(failure.message().contains("its arguments"), "{}", failure.message());
    assert!(failure.hint().is_some());
}
