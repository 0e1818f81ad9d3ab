//! What the first process is given: variables, directory, user, program, host name.

use crate::cases;
use crate::harness::{Running, World};
use std::process::Command;

cases! {
    Guest: env_file, workdir, user_by_name, user_by_number, user_with_group, entrypoint, hostname,
        env;
    Tcg: env_from_here, no_entrypoint, an_unknown_user_is_refused;
}

fn env(world: &World) {
    let flags = ["-e", "A=one two", "--env", "B=", "-e", "HOME=/elsewhere", "-e", "A=last"];
    world
        .sh(&flags, "echo \"[$A][${B-unset}][$HOME]\"; env | grep -c ^A=")
        .prints("[last][][/elsewhere]\n1");
}

fn env_file(world: &World) {
    let file = world.file("env", "# a comment\nFROM_FILE=a b\n\nOVER=file\n");
    let flags = ["--env-file", file.to_str().unwrap(), "-e", "OVER=flag"];
    world.sh(&flags, "echo \"$FROM_FILE/$OVER\"").prints("a b/flag");
}

fn env_from_here(world: &World) {
    let file = world.file("env", "IN_A_FILE\nNOT_SET_HERE\n");
    let file = ["--env-file", file.to_str().unwrap()];
    let flags = [&file[..], &["-e", "TAKEN_FROM_HERE", "-e", "NOT_SET_HERE"]].concat();
    let script =
        "echo \"$TAKEN_FROM_HERE/$IN_A_FILE/${NOT_SET_HERE-unset}/${NOT_ASKED_FOR-unset}\"";
    let mut command = Command::new(&world.product);
    command
        .args(world.sandbox().flags(&flags).arguments(&["sh", "-c", script]))
        .env("TAKEN_FROM_HERE", "value")
        .env("IN_A_FILE", "another")
        .env("NOT_ASKED_FOR", "secret")
        .env_remove("NOT_SET_HERE");
    Running::start(command, None).wait().prints("value/another/unset/unset");
}

fn workdir(world: &World) {
    world.sh(&["-w", "/srv/work"], "pwd").prints("/srv/work");
    world
        .sh(&["--workdir", "/new/directory"], "pwd; test -w . && echo made")
        .prints("/new/directory\nmade");
}

/// By name, looked up in the image's own files: this machine has no such user.
fn user_by_name(world: &World) {
    world.sh(&["-u", "worker"], "id -u; id -g; id -G").prints("1234\n2345\n2345 50");
}

fn user_by_number(world: &World) {
    world
        .sh(&["--user", "4321"], "id -u; id -g; touch /root/x 2>/dev/null || echo refused")
        .prints("4321\n0\nrefused");
}

fn user_with_group(world: &World) {
    world.sh(&["-u", "1234:77"], "id -u; id -g").prints("1234\n77");
    world.sh(&["-u", "worker:staff"], "id -u; id -g").prints("1234\n50");
}

fn an_unknown_user_is_refused(world: &World) {
    world.sh(&["-u", "stranger"], "true").exits(125).complains(&["stranger"]);
}

/// Nothing of the image's is left of it, and its arguments are not for what is typed.
fn no_entrypoint(world: &World) {
    let sandbox = world.sandbox().image(&world.images.configured).flags(&["--entrypoint", ""]);
    sandbox.run(&["echo", "said", "by nobody's shell"]).prints("said by nobody's shell");
    sandbox.run(&[]).exits(125).complains(&["command"]);
}

fn entrypoint(world: &World) {
    world.sandbox().flags(&["--entrypoint", "echo"]).run(&["said", "by it"]).prints("said by it");
}

fn hostname(world: &World) {
    let script = "hostname; cat /proc/sys/kernel/hostname";
    world.sh(&["--hostname", "box.example"], script).prints("box.example\nbox.example");
}
