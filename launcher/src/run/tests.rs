use super::*;
use crate::cli::{Command, Parsed, parse};
use crate::plan::ImageDefaults;

fn spec(argument: &str) -> ContainerSpec {
    let line = ["cofferdam", "run", "oci:i", "true", argument];
    let Ok(Parsed::Command(Command::Run(args))) = parse(line) else { panic!() };
    let plan = RunPlan::resolve(&args, &NamedInputs::default(), &HostFacts::ask()).unwrap();
    let id = sandbox::random_id().unwrap();
    let process = plan.with_image(&ImageDefaults::default(), id.as_str()).unwrap();
    let names = Names::of_first(id).unwrap();
    let layers = layer_extents(&[4096]).unwrap();
    container_spec(&plan, &process, names, layers, StreamPorts::for_plan(&plan))
}

#[test]
fn what_the_agent_cannot_be_told_is_refused_before_anything_boots() {
    assert!(fitting(spec("short")).is_ok());
    let failure = fitting(spec(&"x".repeat(2 << 20))).unwrap_err();
    assert_eq!(failure.exit_code(), 125);
    assert!(failure.message().contains("its arguments"), "{}", failure.message());
    assert!(failure.hint().is_some());
}
