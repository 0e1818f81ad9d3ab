//! What the agent does for whoever speaks to it directly: processes beside a container's first, in it or
//! in the guest itself, and namespaces that containers share. `cofferdam run` asks for none of it.

use crate::cases;
use crate::harness::World;
use crate::harness::agent::{Agent, id};
use protocol::{ExitStatus, FailureKind, NamespaceRef, Namespaces};
use vmm::VmExit;

cases! {
    Kvm: a_process_without_a_container, a_process_beside_a_containers_first,
        namespaces_of_another_container_and_of_the_guest;
}

const WELL: Result<ExitStatus, FailureKind> = Ok(ExitStatus::Code(0));

/// The guest holds one program, so that is what can run there: under a name that it does not know.
fn a_process_without_a_container(world: &World) {
    let mut agent = Agent::boot(world);
    let (status, output) = agent.runs(None, "first", &["/proc/self/exe"]);
    assert_eq!((status, output.as_str()), (Ok(ExitStatus::Code(127)), ""));
    assert_eq!(agent.runs(None, "second", &["/bin/sh"]).0, Err(FailureKind::NotFound));
    assert_eq!(agent.powers_off(), VmExit::Stopped);
}

fn a_process_beside_a_containers_first(world: &World) {
    let mut agent = Agent::boot(world);
    assert_eq!(agent.runs(Some("one"), "early", &["true"]).0, Err(FailureKind::Setup));
    agent.starts("one", Namespaces::default(), &["sleep", "1000"]);
    let ask = "cat /proc/1/comm; hostname; id -u; ls -d /proc/[0-9]* | wc -l; exit 3";
    let (status, output) = agent.runs(Some("one"), "later", &["sh", "-c", ask]);
    assert_eq!(status, Ok(ExitStatus::Code(3)));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..3], ["sleep", "one", "0"], "{output}");
    // The first, this shell, and what counts.
    assert!(lines[3].parse().is_ok_and(|count: u32| (3..6).contains(&count)), "{output}");
    assert_eq!(agent.powers_off(), VmExit::Stopped);
}

fn namespaces_of_another_container_and_of_the_guest(world: &World) {
    let mut agent = Agent::boot(world);
    agent.starts("one", Namespaces::default(), &["sleep", "1000"]);
    let shared = || NamespaceRef::Container(id("one"));
    let namespaces = Namespaces { pid: shared(), uts: shared(), ..Namespaces::default() };
    agent.starts("two", namespaces, &["sleep", "1001"]);
    let ask = ["sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline; hostname"];
    let (status, output) = agent.runs(Some("two"), "later", &ask);
    assert_eq!((status, output.as_str()), (WELL, "sleep 1000 one\n"));

    let namespaces = Namespaces { uts: NamespaceRef::Guest, ..Namespaces::default() };
    agent.starts("three", namespaces, &["sleep", "1002"]);
    let (status, output) = agent.runs(Some("three"), "later", &["hostname"]);
    assert_eq!((status, output.as_str()), (WELL, "(none)\n"));
    assert_eq!(agent.powers_off(), VmExit::Stopped);
}
