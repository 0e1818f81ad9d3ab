//! What three layers mean together; they are made in `harness/layered.rs`.

use crate::cases;
use crate::harness::World;

cases! {
    Both: all_are_one_device;
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

/// One disk has all layers, and one is written to, however many layers there are.
fn all_are_one_device(world: &World) {
    let script = "ls -d /sys/block/vd* | wc -l; ls -d /sys/block/vda/vda* | wc -l";
    let plain = world.sandbox().flags(&["--privileged"]);
    plain.sh(script).prints("2\n1");
    plain.image(&world.images.layered).sh(script).prints("2\n3");
}
