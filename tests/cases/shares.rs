//! Directories and files of the outer container in a sandbox: `-v PATH:/path`.

use crate::cases;
use crate::harness::leftovers::{self, Kind};
use crate::harness::product::Sandbox;
use crate::harness::{Running, World};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

cases! {
    Both: a_directory_is_there_and_back, a_lost_share_process_ends_the_run,
        a_killed_launcher_leaves_none;
    Guest: owners_stay_as_they_were_given, several_at_once_and_a_file, only_to_be_read,
        what_is_outside_stays_outside, whoever_swaps_names_outside_gains_nothing,
        more_files_than_may_be_open, with_ids_of_its_own, a_strict_container_starts_nothing_from_one,
        what_changes_outside_is_seen_inside;
    Tcg: what_cannot_be_shared_is_said;
}

fn sandbox<'w>(world: &'w World, shares: &[(&Path, &str)]) -> Sandbox<'w> {
    let flags: Vec<String> = shares
        .iter()
        .flat_map(|(path, place)| ["-v".to_owned(), format!("{}:{place}", path.display())])
        .collect();
    world.sandbox().flags(&flags)
}

fn directory(world: &World) -> PathBuf {
    let path = world.fresh_state().join("shared");
    fs::create_dir_all(&path).unwrap();
    path
}

/// Bytes both ways, whole; names of any bytes; holes; what is mapped.
fn a_directory_is_there_and_back(world: &World) {
    let shared = directory(world);
    let bytes: Vec<u8> =
        (0..3_000_001u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(shared.join("outer"), &bytes).unwrap();
    fs::create_dir(shared.join("nested")).unwrap();
    symlink("nested/../outer", shared.join("link")).unwrap();
    let script = "cd /s && cmp outer link && cp outer nested/inner && echo more >> nested/inner && \
                  mv nested/inner nested/moved && ln nested/moved hard && ln -s moved nested/soft && \
                  mkfifo pipe && (echo through > pipe & cat pipe) && rm pipe && \
                  dd if=/dev/zero of=sparse bs=1 count=1 seek=10000000 2> /dev/null && \
                  printf x > \"$(printf 'odd \\001\\377name')\" && ls nested && sync && wc -c < hard";
    let output = sandbox(world, &[(&shared, "/s")]).sh(script);
    output.prints("through\nmoved\nsoft\n3000006");
    let moved = fs::read(shared.join("nested/moved")).unwrap();
    assert!(moved == [&bytes[..], b"more\n"].concat());
    assert_eq!(fs::metadata(shared.join("hard")).unwrap().nlink(), 2);
    assert_eq!(fs::read_link(shared.join("nested/soft")).unwrap(), Path::new("moved"));
    let sparse = fs::metadata(shared.join("sparse")).unwrap();
    assert_eq!(sparse.len(), 10_000_001);
    assert!(sparse.blocks() * 512 < 1 << 20, "{}", sparse.blocks());
    let names = leftovers::files(&shared);
    assert!(names.iter().any(|name| name.starts_with("odd \u{1}")), "{names:?}");
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < patience, "not within two minutes: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn share_process(running: &Running) -> Pid {
    let share = leftovers::child_of(running.pid(), Kind::Share).expect("a share process");
    Pid::from_raw(share.pid.cast_signed()).unwrap()
}

/// A sandbox that uses what it shares, once it does.
fn busy(world: &World, shared: &Path) -> Running {
    let script = "echo up > /s/up; while true; do echo x >> /s/file; cat /s/file > /dev/null; done";
    let running = sandbox(world, &[(shared, "/s")]).start(&["sh", "-c", script]);
    until("it uses what is shared", || shared.join("up").exists());
    running
}

fn a_lost_share_process_ends_the_run(world: &World) {
    let shared = directory(world);
    let running = busy(world, &shared);
    kill_process(share_process(&running), Signal::KILL).unwrap();
    let output = running.wait();
    output.exits(125).complains(&["the process that serves the shared directories is gone"]);
}

fn a_killed_launcher_leaves_none(world: &World) {
    let shared = directory(world);
    let running = busy(world, &shared);
    let family = leftovers::family(running.pid());
    running.signal(Signal::KILL);
    running.wait();
    leftovers::all_gone(&family);
}

/// Whoever owns what in there, outside all is ours; and the next sandbox finds it as it was left.
fn owners_stay_as_they_were_given(world: &World) {
    let shared = directory(world);
    fs::write(shared.join("ours"), "").unwrap();
    let script = "cd /s; stat -c %u:%g ours; touch roots; mkdir web; chown 33:44 web; chmod 2770 web; \
                  cp /bin/busybox setuid; chmod 4711 setuid; echo x > secret; chmod 0 secret; \
                  ln -s x link; chown -h 33 link; cat secret";
    sandbox(world, &[(&shared, "/s")]).sh(script).prints("0:0\nx");
    let write =
        "cd /s/web; echo mine > file; mkdir below; stat -c '%n %u:%g %a' file below; cat ../secret";
    let web = sandbox(world, &[(&shared, "/s")]).flags(&["-u", "33:44"]).sh(write);
    assert_eq!(web.text(), "file 33:44 644\nbelow 33:44 2755");
    assert!(web.stderr.contains("Permission denied"), "{}", web.stderr);
    let own = fs::metadata(&shared).unwrap();
    for name in ["ours", "roots", "web", "web/file", "setuid", "secret"] {
        let found = fs::metadata(shared.join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (own.uid(), own.gid()), "{name}");
        let mode = found.permissions().mode();
        assert_eq!(mode & 0o6600, 0o600, "{name}: {mode:o}");
    }
    let seen = "cd /s; stat -c '%n %u:%g %a' ours web web/file web/below setuid secret";
    let expected = "ours 0:0 644\nweb 33:44 2770\nweb/file 33:44 644\nweb/below 33:44 2755\nsetuid 0:0 4711\nsecret 0:0 0";
    sandbox(world, &[(&shared, "/s")]).sh(seen).prints(expected);
    // Where the outer file system has no attributes for it, that is known to one sandbox.
    if has_attributes(&shared) {
        let moved = "cd /s; mv web/file .; stat -c %u:%g file";
        sandbox(world, &[(&shared, "/s")]).sh(moved).prints("33:44");
    }
}

fn has_attributes(place: &Path) -> bool {
    let probe = place.join("probe");
    fs::write(&probe, "").unwrap();
    let set = rustix::fs::setxattr(&probe, "user.probe", b"x", rustix::fs::XattrFlags::empty());
    fs::remove_file(&probe).unwrap();
    set.is_ok()
}

fn several_at_once_and_a_file(world: &World) {
    let (one, two) = (directory(world), directory(world));
    fs::write(one.join("file"), "first\n").unwrap();
    fs::write(two.join("file"), "second\n").unwrap();
    let file = two.join("file");
    let shares: [(&Path, &str); 4] =
        [(&one, "/one"), (&two, "/deep/in/two"), (&file, "/etc/one-file"), (&one, "/again:ro")];
    let script = "cat /one/file /deep/in/two/file /etc/one-file /again/file; echo third >> /etc/one-file; \
                  mv /one/file /deep/in/two/other && cat /deep/in/two/other; ls -A /one; \
                  echo x > /again/x || echo refused";
    let output = sandbox(world, &shares).sh(script);
    output.prints("first\nsecond\nsecond\nfirst\nfirst\nrefused");
    assert_eq!(fs::read_to_string(file).unwrap(), "second\nthird\n");
}

fn only_to_be_read(world: &World) {
    let shared = directory(world);
    fs::write(shared.join("file"), "kept\n").unwrap();
    let mount = format!("type=bind,src={},dst=/s,readonly", shared.display());
    let script = "cat /s/file; touch /s/x || mount -o remount,rw,bind /s; \
                  touch /s/x || echo never; rm /s/file || cat /s/file";
    let output = world.sandbox().flags(&["--privileged", "--mount", &mount]).sh(script);
    output.prints("kept\nnever\nkept");
    assert!(output.stderr.contains("Read-only file system"), "{}", output.stderr);
}

/// Links lead to what is in the container; and nothing above what is shared is there.
fn what_is_outside_stays_outside(world: &World) {
    let shared = directory(world);
    let secret = shared.parent().unwrap().join("secret");
    fs::write(&secret, "secret\n").unwrap();
    symlink(&secret, shared.join("absolute")).unwrap();
    symlink("../secret", shared.join("relative")).unwrap();
    symlink("/", shared.join("root")).unwrap();
    fs::create_dir(shared.join("inner")).unwrap();
    let script = "cd /s; cat absolute relative; ls -d root/etc; ls ..; cd inner; ls -a ../..; \
                  mknod device b 254 0 || echo no device; mount -t virtiofs shares /mnt && ls -A /mnt && \
                  cat /mnt/secret /mnt/../secret /mnt/0/../secret /mnt/0/../../secret";
    let output = sandbox(world, &[(&shared, "/s")]).flags(&["--privileged"]).sh(script);
    let seen = output.text();
    assert!(!seen.contains("secret\n") || !seen.contains("\nsecret\n"), "{seen}");
    assert!(seen.contains("root/etc") && seen.contains("no device"), "{seen}");
    assert!(!output.stderr.is_empty());
}

/// A directory that becomes a link to another place, and comes and goes, while the guest is at it.
fn whoever_swaps_names_outside_gains_nothing(world: &World) {
    let shared = directory(world);
    let outside = shared.parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "secret").unwrap();
    let (name, link) = (shared.join("name"), shared.join("link"));
    fs::create_dir(&name).unwrap();
    fs::write(name.join("file"), "open").unwrap();
    symlink(&outside, &link).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (one, other) = (&name, &link);
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        // What a name is, the guest's kernel believes for a second: it goes on until it has seen both.
        let script = "i=0; seen=; while [ $i -lt 400 ] || { [ -z $seen ] && [ $i -lt 20000 ]; }; do \
                      x=$(cat /s/name/file); [ \"$x\" = open ] && seen=yes; echo \"$x\"; echo x > /s/name/new; \
                      i=$((i + 1)); done";
        let output = sandbox(world, &[(&shared, "/s")]).sh(script);
        done.store(true, Ordering::Relaxed);
        let text = output.text();
        assert!(text.contains("open"), "{text}{}", output.stderr);
        assert!(!text.contains("secret"), "{text}");
    });
    assert_eq!(leftovers::files(&outside).len(), 1, "nothing was made outside");
}

fn more_files_than_may_be_open(world: &World) {
    let shared = directory(world);
    let many = "mkdir -p /s/d; cd /s/d; i=0; while [ $i -lt 1500 ]; do echo $i > $i; i=$((i + 1)); done; \
                cat * | wc -l; find . -type f | wc -l; mv ../d ../e; cat /s/e/7 /s/e/1499; rm -r /s/e; ls -A /s";
    let flags = ["-v".to_owned(), format!("{}:/s", shared.display())];
    let inner = world.sandbox().flags(&flags);
    // A place where few files may be open.
    let arguments = inner.arguments(&["sh", "-c", many]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 512; exec \"$@\"", "sh"]).arg(&world.product).args(arguments);
    Running::start(command, None).wait().prints("1500\n1500\n7\n1499");
}

fn with_ids_of_its_own(world: &World) {
    let shared = directory(world);
    fs::write(shared.join("ours"), "").unwrap();
    let script = "cd /s; stat -c %u:%g ours; echo x > new; chown 5:6 new; stat -c %u:%g new; \
                  su -s /bin/sh daemon -c 'touch /s/daemons' || echo refused";
    sandbox(world, &[(&shared, "/s")]).flags(&["--userns"]).sh(script).shows("0:0\n5:6");
    if has_attributes(&shared) {
        sandbox(world, &[(&shared, "/s")]).sh("stat -c %u:%g /s/new").prints("5:6");
    }
}

fn a_strict_container_starts_nothing_from_one(world: &World) {
    let shared = directory(world);
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    let script = "cp /bin/busybox /s/program && /s/program true; echo $?";
    sandbox(world, &[(&shared, "/s")]).flags(&["--profile", "strict"]).sh(script).prints("126");
}

fn what_changes_outside_is_seen_inside(world: &World) {
    let shared = directory(world);
    fs::write(shared.join("file"), "one").unwrap();
    let script = "cat /s/file; echo; echo > /s/ready; while [ ! -e /s/go ]; do sleep 0.1; done; cat /s/file; echo; \
                  ls /s; [ -e /s/gone ] || echo gone";
    fs::write(shared.join("gone"), "").unwrap();
    let running = sandbox(world, &[(&shared, "/s")]).start(&["sh", "-c", script]);
    until("it is ready", || shared.join("ready").exists());
    fs::write(shared.join("file"), "two and more").unwrap();
    fs::remove_file(shared.join("gone")).unwrap();
    // What it was told, it believes for a second.
    std::thread::sleep(Duration::from_millis(1100));
    fs::write(shared.join("go"), "").unwrap();
    running.wait().prints("one\ntwo and more\nfile\ngo\nready\ngone");
}

fn what_cannot_be_shared_is_said(world: &World) {
    let here = directory(world);
    let _socket = std::os::unix::net::UnixListener::bind(here.join("socket")).unwrap();
    let place = here.display();
    for (typed, said) in [
        (format!("{place}/none:/s"), ["cannot share", "hint: it has to be there: mkdir -p"]),
        (format!("{place}/socket:/s"), ["it is neither a directory nor a file", "hint: a socket"]),
        (
            "a/b:/s".to_owned(),
            ["is neither a volume's name nor a path", "hint: a path begins with /"],
        ),
        (format!("{place}:s"), ["the path \"s\" is not absolute", "hint: "]),
        (format!("{place}:/s:nocopy"), ["unknown option \"nocopy\"", "hint: "]),
    ] {
        world.sandbox().flags(&["-v", &typed]).run(&["true"]).exits(125).complains(&said);
    }
    let output = world.sandbox().flags(&["--mount", "type=bind,dst=/s"]).run(&["true"]);
    output.exits(125).complains(&["it does not say what", "hint: "]);
}
