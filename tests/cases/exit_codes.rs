//! Exit codes are Docker's.

use crate::cases;
use crate::harness::World;

cases! {
    Both: code_42;
    Guest: code_0, no_such_program, not_executable, a_directory, a_broken_program, terminated,
        killed;
    Tcg: bad_flag, bad_image, bad_archive, help_is_no_error;
}

fn code_0(world: &World) {
    world.sh(&[], "echo done").prints("done");
    world.sandbox().run(&["false"]).exits(1);
}

fn code_42(world: &World) {
    world.sh(&[], "exit 42").exits(42);
}

fn no_such_program(world: &World) {
    world.sandbox().run(&["/bin/no-such-program"]).exits(127).complains(&["no-such-program"]);
    world.sandbox().run(&["no-such-program"]).exits(127).complains(&["no-such-program"]);
}

fn not_executable(world: &World) {
    world.sandbox().run(&["/not-executable"]).exits(126).complains(&["/not-executable"]);
}

fn a_directory(world: &World) {
    world.sandbox().run(&["/a-directory"]).exits(126).complains(&["/a-directory"]);
}

fn a_broken_program(world: &World) {
    world.sandbox().run(&["/broken-program"]).exits(126).complains(&["/broken-program"]);
}

/// A PID 1 is spared its own signals, so the shell has one above it.
fn killed(world: &World) {
    world.sh(&["--init"], "kill -9 $$").exits(137);
}

fn terminated(world: &World) {
    world.sh(&["--init"], "kill -TERM $$").exits(143);
}

fn bad_flag(world: &World) {
    world.sh(&["--no-such-flag"], "true").exits(125).complains(&["--no-such-flag"]);
    world.sh(&["--memory", "lots"], "true").exits(125).complains(&["lots"]);
    world.sh(&["--cap-add", "NO_SUCH"], "true").exits(125).complains(&["NO_SUCH"]);
    world.command(&["run"]).exits(125);
    world.command(&["no-such-command"]).exits(125);
}

fn bad_image(world: &World) {
    world
        .sandbox()
        .image("oci:/no/such/image")
        .run(&["true"])
        .exits(125)
        .complains(&["/no/such/image"]);
    world.sandbox().image("what-is-this").run(&["true"]).exits(125).complains(&["what-is-this"]);
}

fn bad_archive(world: &World) {
    let path = world.file("archive.tar", "this is no archive");
    for kind in ["oci-archive", "docker-archive"] {
        let image = format!("{kind}:{}", path.display());
        world.sandbox().image(&image).run(&["true"]).exits(125).complains(&["archive.tar"]);
    }
}

fn help_is_no_error(world: &World) {
    world.command(&["run", "--help"]).exits(0).shows("--privileged");
    world.command(&["--version"]).exits(0).shows("cofferdam");
}
