//! What three layers mean together; they are made in `harness/layered.rs`.

use crate::cases;
use crate::harness::{Running, World};
use std::process::Command;

cases! {
    Both: all_are_one_device;
    Tcg: without_a_tree_they_are_one_over_the_other;
    Guest: nodes_and_attributes_are_kept, links_are_links, layers_mean_what_the_specification_says;
}

fn layers_mean_what_the_specification_says(world: &World) {
    let script = r#"
        cd /part
        cat kept replaced removed
        stat -c %a replaced
        ls removed-directory opaque merged
        stat -c '%a %u' merged
        cat file-then-directory/inner directory-then-file
        find / -xdev -name '.wh.*'
    "#;
    let expected = "lowest\nmiddle\nupper\n600\n\
        merged:\nhigh\nlow\n\nopaque:\nseen\n\nremoved-directory:\nnew\n\
        700 1234\nmiddle\nmiddle";
    world.sandbox().image(&world.images.layered).sh(script).prints(expected);
}

fn nodes_and_attributes_are_kept(world: &World) {
    let script = r#"
        cd /part
        stat -c '%F %t:%T' null block fifo
        stat -c %a setuid
        guest-tool xattr attributed user.note
        guest-tool xattr busybox security.capability
    "#;
    let expected = "character special file 1:3\nblock special file 7:fa\nfifo 0:0\n4755\n610062\n\
        0100000200200000000000000000000000000000";
    world.sandbox().image(&world.images.layered).sh(script).prints(expected);
    // A capability that a file grants is truly gained by who has none.
    let output = world.sandbox().image(&world.images.layered).flags(&["-u", "1234"]).run(&[
        "/part/busybox",
        "grep",
        "CapEff",
        "/proc/self/status",
    ]);
    output.prints("CapEff:\t0000000000002000");
}

fn links_are_links(world: &World) {
    let script = r#"
        cd /part
        test link-a -ef link-b && stat -c %h link-a
        readlink symbolic
        cat symbolic link-b
    "#;
    world.sandbox().image(&world.images.layered).sh(script).prints("2\nkept\nlowest\nlinked");
}

/// How many disks there are, and how many file systems on that of the layers; and what stands in one of them.
const COUNT: &str = "ls -d /sys/block/vd* | wc -l; ls -d /sys/block/vda/vda* | wc -l; cat /part/kept 2> /dev/null; true";

/// One disk has all layers as one file system, and one is written to, however many layers there are.
fn all_are_one_device(world: &World) {
    let plain = world.sandbox().flags(&["--privileged"]);
    plain.sh(COUNT).prints("2\n1");
    plain.image(&world.images.layered).sh(COUNT).prints("2\n1\nlowest");
}

/// In a store that is only read, where nobody has merged them.
fn without_a_tree_they_are_one_over_the_other(world: &World) {
    let state = world.fresh_state();
    let sandbox = world.sandbox().state(&state).flags(&["--privileged"]);
    let sandbox = sandbox.image(&world.images.layered);
    sandbox.sh(COUNT).prints("2\n1\nlowest");
    std::fs::remove_dir_all(state.join("store/trees")).unwrap();
    let mount = "mount --bind \"$0/store\" \"$0/store\" && mount -o remount,bind,ro \"$0/store\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", mount]).arg(&state).arg(&world.product);
    command.args(sandbox.arguments(&["sh", "-c", COUNT]));
    Running::start(command, None).wait().prints("2\n3\nlowest");
    assert!(!state.join("store/trees").exists());
    sandbox.sh(COUNT).prints("2\n1\nlowest");
}
