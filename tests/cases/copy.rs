//! Files into a sandbox that runs, and out of it: `cofferdam cp`.

use crate::cases;
use crate::harness::copied::Tree;
use crate::harness::living::Living;
use crate::harness::{Running, World};
use rustix::process::Signal;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::Duration;

cases! {
    Both: a_tree_goes_in_and_comes_out;
    Tcg: it_lands_as_docker_has_it, archives_by_standard_streams, owners_and_programs, the_walls_of_the_container,
        what_cannot_be_copied, full_disks, one_that_is_killed;
}

fn a_tree_goes_in_and_comes_out(world: &World) {
    let sandbox = Living::start(world, &[]);
    let (tree, back) = (Tree::make(world), world.fresh_state());
    let said = sandbox.copy(world, &[&tree.path(), "box:/there"], None);
    said.exits(0).complains(&["10 files", "copied to box:/there"]);
    let script = "cd /there && stat -c %u:%g deep/file && cat deep/file more && ls -A deep && sha256sum < large | cut -c 1-8";
    let seen = sandbox.exec(world, &[], &["sh", "-c", script]);
    seen.prints("0:0\ntextmoreelsewhere\nempty\nfile\n4d3870d4");
    let to = back.join("back").display().to_string();
    let quiet = sandbox.copy(world, &["-q", "box:/there", &to], None);
    assert_eq!(quiet.exits(0).stderr, "");
    tree.is_at(&back.join("back"));
    sandbox.end().exits(5);
}

/// The pages of `docker cp`, line by line.
fn it_lands_as_docker_has_it(world: &World) {
    let sandbox = Living::start(world, &[]);
    let here = world.fresh_state();
    std::fs::create_dir_all(here.join("dir")).unwrap();
    std::fs::write(here.join("dir/inner"), "inner").unwrap();
    std::fs::write(here.join("file"), "file").unwrap();
    let at = |name: &str| here.join(name).display().to_string();
    let shell = |script: &str| sandbox.exec(world, &[], &["sh", "-c", script]);
    let copy = |from: &str, to: &str| sandbox.copy(world, &["-q", from, to], None);
    shell("mkdir -p /d/there; echo old > /old; ln -s /d/there /way").exits(0);
    copy(&at("file"), "box:/fresh").exits(0);
    copy(&at("file"), "box:d/there").exits(0);
    copy(&at("file"), "box:/old").exits(0);
    copy(&at("dir"), "box:/way").exits(0);
    copy(&at("dir"), "box:/new").exits(0);
    copy(&at("dir/."), "box:/d/there/").exits(0);
    let seen =
        "cat /fresh /d/there/file /old /d/there/dir/inner /new/inner /d/there/inner; ls -d /way";
    shell(seen).prints("filefilefileinnerinnerinner/way");
    copy(&at("file"), "box:/nowhere/").exits(125).complains(&["\"/nowhere/\" is no directory"]);
    copy(&at("dir"), "box:/old")
        .exits(125)
        .complains(&["\"/old\" is there already, and is no directory"]);
    copy("box:/d/there/.", &at("out")).exits(0);
    copy("box:/way", &at("link")).exits(0);
    copy("box:/way/", &at("followed")).exits(0);
    assert_eq!(std::fs::read_to_string(here.join("out/dir/inner")).unwrap(), "inner");
    assert_eq!(std::fs::read_link(here.join("link")).unwrap().to_str(), Some("/d/there"));
    assert_eq!(std::fs::read_to_string(here.join("followed/file")).unwrap(), "file");
    // By the directory in which the user stands.
    let mut program = Command::new(&world.product);
    program.current_dir(&here).args(sandbox.copy_words(&["-q", "box:/old", "."]));
    Running::start(program, None).wait().exits(0);
    assert_eq!(std::fs::read_to_string(here.join("old")).unwrap(), "file");
    sandbox.end().exits(5);
}

fn archives_by_standard_streams(world: &World) {
    let sandbox = Living::start(world, &[]);
    let tree = Tree::make(world);
    let tar =
        Command::new("tar").args(["-C", &tree.path(), "-c", "deep", "large"]).output().unwrap();
    let into = |to: &str, bytes: &[u8]| sandbox.copy(world, &["-", to], Some(bytes));
    into("box:/srv", &tar.stdout).exits(0);
    sandbox.exec(world, &[], &["cat", "/srv/deep/file"]).prints("text");
    let out = sandbox.copy(world, &["box:/srv/large", "-"], None);
    let mut list = Command::new("tar");
    list.arg("-t");
    Running::start(list, Some(out.exits(0).stdout.clone())).wait().prints("large");
    into("box:/nowhere", &tar.stdout)
        .exits(125)
        .complains(&["in the sandbox: cannot open \"/nowhere\""]);
    into("box:/srv", &tar.stdout[..2000])
        .exits(125)
        .complains(&["no sound archive", "ends within an entry"]);
    into(
        "box:/srv",
        b"no archive at all, but long enough to be taken for one".repeat(20).as_slice(),
    )
    .exits(125)
    .complains(&["no header where one should stand"]);
    sandbox.end().exits(5);
}

fn owners_and_programs(world: &World) {
    let sandbox = Living::start(world, &[]);
    let (from, to) = (world.scratch_file("program"), world.scratch_file("back"));
    std::fs::write(&from, "program").unwrap();
    std::os::unix::fs::chown(&from, Some(1234), Some(5678)).unwrap();
    std::fs::set_permissions(&from, PermissionsExt::from_mode(0o4755)).unwrap();
    let copy = |flags: &[&str], from: &str, to: &str| {
        sandbox.copy(world, &[flags, &["-q", from, to]].concat(), None).exits(0);
    };
    let (from, back) = (from.display().to_string(), to.display().to_string());
    let seen = || sandbox.exec(world, &[], &["stat", "-c", "%u:%g %a", "/p"]);
    copy(&[], &from, "box:/p");
    seen().prints("0:0 755");
    copy(&["-a"], &from, "box:/p");
    seen().prints("1234:5678 4755");
    // What comes out of a sandbox is nobody's program but who took it, unless they say so.
    let look =
        || std::fs::metadata(&to).map(|it| (it.uid(), it.gid(), it.mode() & 0o7777)).unwrap();
    copy(&[], "box:/p", &back);
    assert_eq!(look(), (0, 0, 0o755));
    copy(&["-a"], "box:/p", &back);
    assert_eq!(look(), (1234, 5678, 0o4755));
    sandbox.end().exits(5);
}

/// A copier is root with what copying takes, whoever the container's processes are; what the container cannot write, it
/// cannot either.
fn the_walls_of_the_container(world: &World) {
    let from = world.file("file", "text").display().to_string();
    for flags in [&["--cap-drop", "all", "-u", "7"][..], &["--userns"], &["--privileged"]] {
        let sandbox = Living::start(world, flags);
        sandbox.copy(world, &["-q", &from, "box:/root/file"], None).exits(0);
        let seen = sandbox.exec(world, &["-u", "0"], &["stat", "-c", "%u %a", "/root/file"]);
        assert!(seen.exits(0).text().starts_with("0 "), "{flags:?}: {}", seen.text());
        let out = sandbox.copy(world, &["box:/root/file", "-"], None);
        assert!(out.exits(0).stdout.windows(4).any(|it| it == b"text"), "{flags:?}");
        sandbox.end().exits(5);
    }
    let sandbox = Living::start(world, &["--profile", "strict", "--writable", "/data"]);
    sandbox
        .copy(world, &[&from, "box:/file"], None)
        .exits(125)
        .complains(&["in the sandbox: cannot make \"/file\": Read-only file system"]);
    sandbox.copy(world, &["-q", &from, "box:/data/file"], None).exits(0);
    sandbox.exec(world, &[], &["cat", "/data/file"]).prints("text");
    // None of its processes looks into a copier, which may do more.
    let script = "for it in /proc/[0-9]*; do [ \"$(tr '\\0' ' ' < $it/cmdline | cut -c -18)\" = '/cofferdam-copier ' ] && \
                  { ls $it/root/ 2>&1; exit; }; done; exit 9";
    let (waits, input) = sandbox.begin_copy(world, &["-", "box:/data"]);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let seen = loop {
        let seen = sandbox.exec(world, &[], &["sh", "-c", script]);
        if seen.code != 9 || std::time::Instant::now() > deadline {
            break seen;
        }
    };
    assert!(seen.text().contains("Permission denied"), "{}", seen.text());
    drop(input);
    waits.wait().exits(0);
    sandbox.end().exits(5);
}

fn what_cannot_be_copied(world: &World) {
    let sandbox = Living::start(world, &[]);
    let file = world.file("file", "text").display().to_string();
    let copy = |from: &str, to: &str| sandbox.copy(world, &[from, to], None);
    copy("box:/nothing", ".")
        .exits(125)
        .complains(&["in the sandbox: cannot look at \"/nothing\""]);
    copy("/nothing", "box:/x").exits(125).complains(&["cannot look at \"/nothing\""]);
    copy(&file, "box:/a/b/c").exits(125).complains(&["in the sandbox: cannot open \"/a/b\""]);
    copy("box:/etc/passwd", "/nowhere/x").exits(125).complains(&["cannot open \"/nowhere\""]);
    let both = "one of them must be in a sandbox";
    copy("box:/a", "box:/b").exits(125).complains(&[both, "hint: write SANDBOX:PATH"]);
    // Not a device, which would be no more.
    copy("box:/etc/passwd", "/dev/null")
        .exits(125)
        .complains(&["is there already, and is no file"]);
    copy("/a", "/b").exits(125).complains(&[both]);
    copy("other:/a", "/b").exits(125).complains(&["other"]);
    // Whatever was tried, it still runs; and once it has ended there is nothing to copy from.
    copy("box:/etc/passwd", &world.scratch_file("out").display().to_string()).exits(0);
    let state = sandbox.state.display().to_string();
    sandbox.end().exits(5);
    let gone = world.command(&["cp", "--state-dir", &state, "box:/etc/passwd", "-"]);
    gone.exits(125).complains(&["box"]);
}

fn full_disks(world: &World) {
    let sandbox = Living::start(world, &["--disk-size", "32m", "--tmpfs", "/small:size=1m"]);
    let large = world.scratch_file("large");
    std::fs::write(&large, vec![7; 4 << 20]).unwrap();
    let large = large.display().to_string();
    sandbox
        .copy(world, &[&large, "box:/small/file"], None)
        .exits(125)
        .complains(&["in the sandbox: cannot write \"/small/file\": No space left on device"]);
    sandbox.exec(world, &[], &["ls", "-A", "/small"]).prints("");
    sandbox.copy(world, &["-q", &large, "box:/file"], None).exits(0);
    let disk = crate::harness::small_disk::SmallDisk::new(world, "1m");
    let to = disk.path().join("file");
    sandbox
        .copy(world, &["box:/file", &to.display().to_string()], None)
        .exits(125)
        .complains(&["cannot write", "No space left on device"]);
    assert!(!to.exists(), "half of it is left");
    sandbox.end().exits(5);
}

/// Whoever copies is killed: the sandbox goes on, and whoever comes next is served.
fn one_that_is_killed(world: &World) {
    let sandbox = Living::start(world, &[]);
    let to = world.scratch_file("big").display().to_string();
    sandbox.exec(world, &[], &["truncate", "-s", "10737418240", "/big"]).exits(0);
    for words in [&["-", "box:/srv"], &["box:/big", &to]] {
        let (waits, input) = sandbox.begin_copy(world, words);
        std::thread::sleep(Duration::from_millis(500));
        waits.signal(Signal::KILL);
        waits.wait().exits(-9);
        drop(input);
    }
    let script = "for it in $(seq 100); do grep -q '[c]offerdam-copier' /proc/[0-9]*/cmdline || exit 0; sleep 0.1; done; exit 1";
    sandbox.exec(world, &[], &["sh", "-c", script]).exits(0);
    sandbox.copy(world, &["box:/etc/passwd", "-"], None).exits(0);
    sandbox.end().exits(5);
}
