//! `--profile strict`: what a careful operator would grant, which is as good as nothing.

use crate::cases;
use crate::harness::World;

cases! {
    Guest: what_is_added_is_granted_to_a_user, what_is_declared_is_writable,
        nothing_writable_is_executable, nothing_is_granted;
    Tcg: root_becomes_nobody_and_that_is_said, a_user_that_turns_out_to_be_root_is_refused,
        what_contradicts_it_is_refused;
}

const STRICT: [&str; 2] = ["--profile", "strict"];

fn strict<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    [&STRICT[..], flags].concat()
}

fn nothing_is_granted(world: &World) {
    let script = "id -u; id -g; grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status | \
                  cut -f 2 | uniq; touch /x 2>/dev/null || echo read-only; \
                  touch /tmp/x 2>/dev/null || echo all of it; \
                  cat /proc/kcore | wc -c; echo x 2>/dev/null > /proc/sys/vm/swappiness || echo guarded";
    let expected = "65534\n65534\n0000000000000000\n1\n2\nread-only\nall of it\n0\nguarded";
    world.sh(&STRICT, script).prints(expected);
}

/// Loudly; `--quiet` does without.
fn root_becomes_nobody_and_that_is_said(world: &World) {
    let sandbox = world.sandbox().flags(&STRICT);
    let note = "cofferdam: the image's user is root: under --profile strict it runs as 65534:65534 (nobody)";
    let loud = sandbox.clone().loud().sh("id -u");
    loud.prints("65534");
    assert_eq!(loud.stderr.lines().filter(|line| *line == note).count(), 1, "{}", loud.stderr);
    let quiet = sandbox.clone().sh("id -u");
    assert!(!quiet.stderr.contains("nobody"), "{}", quiet.stderr);
    // The image's own user stays, and so does one that is named.
    let image = sandbox.clone().image(&world.images.configured).loud();
    let output = image.run(&["id -u"]);
    output.prints("1234");
    assert!(!output.stderr.contains("nobody"), "{}", output.stderr);
    sandbox.flags(&["--user", "7:8"]).sh("id -u; id -g").prints("7\n8");
}

/// A name that the image maps to root: only the guest can see that.
fn a_user_that_turns_out_to_be_root_is_refused(world: &World) {
    let image = &world.images.second_root;
    world.sandbox().image(image).sh("id -u").prints("0");
    let output = world.sandbox().image(image).flags(&STRICT).sh("id -u");
    output.exits(125).complains(&["user \"toor\" is root, which is refused"]);
}

fn what_contradicts_it_is_refused(world: &World) {
    for (flags, words) in [
        (&["--privileged"][..], "--privileged contradicts --profile strict"),
        (&["--user", "0"], "--user \"0\" is root"),
        (&["--cap-add", "SYS_ADMIN"], "does not grant CAP_SYS_ADMIN"),
        (&["--security-opt", "seccomp=unconfined"], "contradicts --profile strict"),
        (&["--tmpfs", "/t:exec"], "--writable /t:exec"),
    ] {
        world.sh(&strict(flags), "true").exits(125).complains(&[words, "hint: "]);
    }
}

/// NET_BIND_SERVICE aside, which Docker's setting of low ports makes moot.
fn what_is_added_is_granted_to_a_user(world: &World) {
    let script = "grep -E '^Cap(Eff|Bnd|Amb)' /proc/self/status | cut -f 2 | uniq; id -u; \
                  chown 5 /w/x 2>/dev/null || touch /w/x && chown 5 /w/x && stat -c %u /w/x";
    let flags = strict(&["--cap-add", "CHOWN", "--writable", "/w"]);
    world.sh(&flags, script).prints("0000000000000001\n65534\n5");
    let without = strict(&["--writable", "/w"]);
    world.sh(&without, "touch /w/x && chown 5 /w/x 2>/dev/null || echo refused").prints("refused");
}

fn what_is_declared_is_writable(world: &World) {
    let script = "stat -c '%u %g %a' /srv/work /new /tmp; ls -A /srv/work | wc -l; \
                  for d in /srv/work /new /tmp; do touch $d/x && echo $d; done; \
                  grep ' /new tmpfs ' /proc/mounts | grep -o 'nosuid,nodev,noexec\\|size=[0-9]*k'";
    let declared =
        ["--writable", "/srv/work", "--writable", "/new:size=2m,mode=700", "--writable", "/tmp"];
    let expected = |user: &str| {
        format!(
            "{user} 755\n{user} 700\n{user} 755\n0\n/srv/work\n/new\n/tmp\nnosuid,nodev,noexec\nsize=2048k"
        )
    };
    world.sh(&strict(&declared), script).prints(&expected("65534 65534"));
    // And without the profile, on a read-only root, to a user that only the container knows.
    let flags = [&["--read-only", "-u", "worker"], &declared[..]].concat();
    world.sh(&flags, script).prints(&expected("1234 2345"));
    let other = ["--read-only", "--writable", "/new:uid=5,gid=6"];
    world.sh(&other, "stat -c '%u %g' /new").prints("5 6");
}

/// Every directory of every mount: where something can be written, it cannot be executed. What is declared
/// executable shows that the question is a good one.
fn nothing_writable_is_executable(world: &World) {
    let script = r#"
        while read -r _ _ _ _ path _; do
            test -d "$path" && find "$path" -xdev -type d ! -path '/proc/[0-9]*' 2>/dev/null
        done < /proc/self/mountinfo | sort -u > /dev/shm/places
        while read -r place; do
            cp /bin/busybox "$place/true" 2>/dev/null || continue
            chmod 755 "$place/true" && echo "wrote in $place"
            "$place/true" 2>/dev/null && echo "executed in $place"
            rm -f "$place/true"
        done < /dev/shm/places
        test $(wc -l < /dev/shm/places) -ge 50 || echo "few places"
    "#;
    let flags = strict(&["--writable", "/w", "--tmpfs", "/t:mode=1777"]);
    world.sh(&flags, script).prints("wrote in /dev/shm\nwrote in /t\nwrote in /w");
    let flags = strict(&["--writable", "/w:exec"]);
    world.sh(&flags, script).prints("wrote in /dev/shm\nwrote in /w\nexecuted in /w");
}
