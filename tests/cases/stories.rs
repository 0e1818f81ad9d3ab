//! Stories of what is done to a machine by who is root in it: each hurts its own sandbox only, the user is told
//! what happened, and what must not change outside does not. Each is also done once with no wall between deed
//! and canary, in a sandbox that both share: there the canary tells of the harm, so it would have here.

use crate::cases;
use crate::harness::World;
use crate::harness::canary::{Canary, harm_beside};
use crate::harness::product::Sandbox;
use crate::harness::small_disk::SmallDisk;
use crate::harness::watch::{Outside, small};

cases! {
    Both: a_setuid_root_binary, a_root_shell, a_writable_block_device, a_kernel_panic, a_storm_for_memory,
        a_fork_bomb, a_full_disk, killall5_as_root;
}

const PRIVILEGED: &[&str] = &["--privileged"];
const FILES: &str = "files";
const SILENCE: &str = "silence";

/// Who is not root starts a program of the image's that is, and writes where only root may.
fn a_setuid_root_binary(world: &World) {
    let deed = "mkdir -p $CANARY; chmod 700 $CANARY; \
        guest-tool as 1234 guest-tool hurt $CANARY/egg 2>/dev/null || echo not by itself; \
        guest-tool as 1234 setuid-root hurt $CANARY/egg";
    let sandbox = small(world).image(&world.images.setuid);
    let outside = Outside::of(world);
    let output = outside.sees(sandbox.clone(), &["sh", "-c", deed]);
    output.prints("not by itself\nhurt by 0");
    outside.finds_no_harm();
    assert_eq!(harm_beside(sandbox, deed, &[FILES]), [FILES]);
}

fn a_root_shell(world: &World) {
    let deed = "grep ^CapEff: /proc/self/status; mkdir -p $CANARY; \
        for file in egg straw; do echo hurt > $CANARY/$file; done; \
        hostname hurt; date -s '2001-02-03 04:05' > /dev/null; cat $CANARY/egg; hostname; date +%Y";
    let sandbox = small(world).flags(PRIVILEGED);
    let outside = Outside::of(world);
    let output = outside.sees(sandbox.clone(), &["sh", "-c", deed]);
    output.exits(0).shows("CapEff:\t000001ffffffffff\nhurt\nhurt\n2001");
    outside.finds_no_harm();
    let awaited = ["clock", FILES, "name"];
    let harm = harm_beside(sandbox, deed, &awaited);
    assert!(awaited.iter().all(|part| harm.contains(&(*part).to_owned())), "{harm:?}");
}

/// The image's own disk takes no byte; the sandbox's takes all, and is the sandbox's alone.
fn a_writable_block_device(world: &World) {
    let deed = r#"
        for disk in vda vdb vdb1; do
            blockdev --setrw /dev/$disk
            dd if=/dev/urandom of=/dev/$disk bs=1M count=8 conv=fsync 2> /dev/null && \
                echo overwritten $disk || echo refused $disk
        done
        echo 3 > /proc/sys/vm/drop_caches"#;
    let sandbox = small(world).flags(PRIVILEGED);
    let outside = Outside::of(world);
    let output = outside.sees(sandbox.clone(), &["sh", "-c", deed]);
    output.shows("refused vda\noverwritten vdb\noverwritten vdb1");
    outside.finds_no_harm();
    // The same image is what it was.
    small(world).run(&["sh", "-c", "guest-tool nothing && echo whole"]).prints("whole");
    let harm = harm_beside(sandbox, deed, &[FILES]);
    assert!(harm == [SILENCE] || harm.contains(&FILES.to_owned()), "{harm:?}");
}

fn a_kernel_panic(world: &World) {
    let deed = "echo c > /proc/sysrq-trigger; sleep 30";
    let sandbox = small(world).flags(PRIVILEGED);
    let outside = Outside::of(world);
    let output = outside.sees(sandbox.clone(), &["sh", "-c", deed]);
    output.exits(125).complains(&["the guest kernel panicked: sysrq triggered crash"]);
    outside.finds_no_harm();
    assert_eq!(harm_beside(sandbox, deed, &[SILENCE]), [SILENCE]);
}

/// More processes than fit want more memory than there is, and the largest goes on wanting.
fn a_storm_for_memory(world: &World) {
    let deed = "for n in $(seq 14); do guest-tool hoard 8 & done; exec guest-tool hoard 1024";
    let sandbox = small(world);
    let outside = Outside::of(world);
    let output = outside.sees(sandbox.clone(), &["sh", "-c", deed]);
    output.exits(137).complains(&["the container was killed: it used more memory than it may"]);
    outside.finds_no_harm();
    assert_eq!(harm_beside(sandbox, deed, &[SILENCE]), [SILENCE]);
}

/// Not even without a limit of its own does a container get all processes: the agent and its init still end it.
fn a_fork_bomb(world: &World) {
    let deed = "guest-tool multiply; exit 11";
    let sandbox = small(world).flags(&["--init", "--pids-limit", "-1"]);
    let outside = Outside::of(world);
    let output = outside.sees(sandbox, &["sh", "-c", deed]);
    output.exits(11);
    assert!(output.stderr.contains("Resource temporarily unavailable"), "{}", output.stderr);
    outside.finds_no_harm();
    // Beside it, of fewer: so many leave a canary hardly the time to sing.
    let sandbox = small(world).flags(&["--pids-limit", "50"]);
    assert_eq!(harm_beside(sandbox, deed, &["forks"]), ["forks"]);
}

/// Two sandboxes of one place, each with a disk that fits it: who fills the one hears of it, and the other has
/// its room. Of disks without a bound, the one that takes all leaves the other none.
fn a_full_disk(world: &World) {
    let fill = "dd if=/dev/zero of=/full bs=1M count=44 conv=fsync";
    let place = SmallDisk::new(world, "40m");
    let unbounded = small(world).state(place.path());
    let bounded = unbounded.clone().flags(&["--disk-size", "16m"]);
    let outside = Outside::of(world);
    let output = outside.sees(bounded.clone(), &["sh", "-c", &format!("{fill}; exit 28")]);
    output.exits(28);
    assert!(output.stderr.contains("No space left on device"), "{}", output.stderr);
    assert!(!output.stderr.contains("state directory"), "{}", output.stderr);
    let output = outside.sees(unbounded.clone(), &["sh", "-c", &format!("{fill}; exit 28")]);
    output.exits(28).complains(&["the state directory has no room left", "hint: "]);
    assert!(output.stderr.contains("dd: "), "{}", output.stderr);
    outside.finds_no_harm();

    let beside = |sandbox: &Sandbox<'_>| {
        let mut canary = Canary::inside(bounded.clone(), &[]);
        let before = canary.sings().expect("it sings before the deed");
        // What has filled it stays.
        let hog = sandbox.start(&["sh", "-c", &format!("{fill}; sleep 100")]);
        let settled = place.settles();
        let (room, after) = (place.room_bytes(), canary.sings());
        hog.signal(rustix::process::Signal::KILL);
        let hog = hog.wait();
        assert!(settled, "it is not filled, {room} bytes are left: {hog:?}");
        hog.exits(-9);
        (room, after.map(|after| before.harm(&after)))
    };
    let (room, harm) = beside(&bounded);
    assert_eq!(harm, Some(Vec::new()));
    assert!(room > 8 << 20, "{room} bytes are left");
    let (room, harm) = beside(&unbounded);
    assert_ne!(harm, Some(Vec::new()));
    assert!(room < 1 << 20, "{room} bytes are left");
}

/// Everything but its own session, which is why it is given one of its own.
fn killall5_as_root(world: &World) {
    let deed = "sleep 100 & echo begun; setsid guest-tool killall5; sleep 5; echo survived";
    let sandbox = small(world).flags(PRIVILEGED);
    let outside = Outside::of(world);
    let output = outside.sees(sandbox.clone().flags(&["--init"]), &["sh", "-c", deed]);
    assert_eq!(output.exits(137).text(), "begun");
    outside.finds_no_harm();
    assert_eq!(harm_beside(sandbox, deed, &[SILENCE]), [SILENCE]);
}
