//! `--userns`: root inside is nobody outside of the container, and images and disks show owners all the same.

use crate::cases;
use crate::harness::World;
use crate::harness::agent::Agent;
use protocol::{ExitStatus, NamespaceRef, Namespaces};
use std::process::Command;

cases! {
    Both: a_kept_disk_holds_the_ids_that_the_container_knows;
    Guest: files_are_made_changed_and_given_away, root_has_powers_over_its_own_only,
        streams_and_terminals_work, a_setuid_program_makes_root_of_the_container_only,
        limits_can_be_raised, every_layer_shows_its_owners, owners_are_the_images;
    Kvm: ids_are_high_to_the_guest_and_no_two_containers_share_any,
        what_does_not_go_with_it_is_refused;
}

const USERNS: [&str; 1] = ["--userns"];

fn owners_are_the_images(world: &World) {
    let script = "cat /proc/self/uid_map | tr -s ' '; cat /proc/self/gid_map | tr -s ' '; id -u; \
                  stat -c '%u:%g' / /bin/busybox /srv/work /etc/hosts /proc/1/fd /dev/shm; \
                  ls -ln / | awk 'NR > 1 { print $3, $4 }' | sort | uniq -c | tr -s ' '";
    let output = world.sh(&USERNS, script);
    let text = output.exits(0).text();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines[0], lines[1], "one range for both");
    let map: Vec<&str> = lines[0].split(' ').collect();
    assert_eq!((map[0], map[2]), ("0", "65536"), "{text}");
    assert!(map[1].parse::<u32>().unwrap() >= 1 << 20, "{text}");
    assert_eq!(lines[2..9], ["0", "0:0", "0:0", "1234:1234", "0:0", "0:0", "0:0"]);
    // /proc and /sys belong to the guest's root, whom the namespace does not know; all else is the image's.
    let strangers: Vec<_> = lines[9..].iter().filter(|line| !line.ends_with(" 0 0")).collect();
    assert_eq!(strangers, [&"2 65534 65534"], "{text}");
}

fn files_are_made_changed_and_given_away(world: &World) {
    let script = "mkdir /d && echo a > /d/f && ln -s f /d/l && mkfifo /d/p && chown 1234:50 /d/f && \
                  chown 65535 /d/p && stat -c '%u:%g' /d /d/f /d/p; \
                  chown 65536 /d/f 2>/dev/null || echo no such id; \
                  echo more >> /not-executable && tail -n 1 /not-executable; \
                  chown 7:8 /broken-program && chmod 600 /broken-program && stat -c '%u:%g %a' /broken-program; \
                  rm -r /a-directory && mkdir /a-directory && mv /bin/vi /srv/work/ && echo moved; \
                  su worker -c 'touch /tmp/mine && stat -c %u:%g /tmp/mine; id -G; touch /x' 2>/dev/null || \
                  echo not his";
    let expected =
        "0:0\n1234:50\n65535:0\nno such id\nmore\n7:8 600\nmoved\n1234:2345\n2345 50\nnot his";
    world.sh(&USERNS, script).prints(expected);
}

fn root_has_powers_over_its_own_only(world: &World) {
    let script = "hostname other && hostname; mknod /disk b 254 0 2>/dev/null || echo no device; \
                  echo x > /dev/null && head -c 3 /dev/zero | wc -c; \
                  echo 5 2>/dev/null > /proc/sys/vm/swappiness || echo no sysctl; \
                  ping -c 1 127.0.0.1 > /dev/null && echo answers; \
                  mount -t tmpfs t /srv && unshare -m true && echo mounts";
    // With every capability there is, in there.
    let open =
        ["--security-opt", "systempaths=unconfined", "--security-opt", "apparmor=unconfined"];
    let flags = [&["--userns", "--cap-add", "ALL"][..], &open].concat();
    let expected = "other\nno device\n3\nno sysctl\nanswers\nmounts";
    world.sh(&flags, script).prints(expected);
}

fn streams_and_terminals_work(world: &World) {
    let script = "echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin";
    let output = world.sandbox().flags(&USERNS).input(b"in".to_vec()).sh(script);
    output.prints("out\nin");
    assert_eq!(output.stderr.trim(), "err");
    world.sh(&["--userns", "-u", "1234"], "echo out > /dev/stdout; id -u").prints("out\n1234");
    world.sh(&["--userns", "-t"], "tty; stat -c %u $(tty)").prints("/dev/pts/0\n0");
    world.sh(&["--userns", "--init"], "test $$ != 1 && stat -c %u /proc/1").prints("0");
}

/// Not root to the guest, either: ids are told by the kernel, inside. And a file's capabilities count, too.
fn a_setuid_program_makes_root_of_the_container_only(world: &World) {
    let script = "cp /bin/guest-tool /suid && chmod 4755 /suid && su worker -c '/suid ids'";
    world.sh(&USERNS, script).prints("1234 0");
    let flags = ["--userns", "--security-opt", "no-new-privileges"];
    world.sh(&flags, script).prints("1234 1234");
    let ask = ["/part/busybox", "grep", "^CapEff", "/proc/self/status"];
    let layered = world.sandbox().image(&world.images.layered).flags(&["--userns", "-u", "1234"]);
    layered.run(&ask).prints("CapEff:\t0000000000002000");
}

/// Whatever they stood for: the next container of the disk may have other ids, or none of its own.
fn a_kept_disk_holds_the_ids_that_the_container_knows(world: &World) {
    let state = world.fresh_state();
    let sandbox = world.sandbox().state(&state).kept().flags(&USERNS);
    sandbox.sh("chown 1234:50 /srv && echo x > /srv/f && chown 7 /srv/f").exits(0);
    let sandbox = std::fs::read_dir(state.join("sandboxes")).unwrap().next().unwrap().unwrap();
    let name = sandbox.file_name().into_string().unwrap();
    for (path, user, group) in [("", 0, 0), ("/srv", 1234, 50), ("/srv/f", 7, 0)] {
        let request = format!("stat /{name}/upper{path}");
        let mut debugfs = Command::new("/sbin/debugfs");
        debugfs.args(["-R", &request]).arg(sandbox.path().join("upper.ext4"));
        let said = String::from_utf8(debugfs.output().unwrap().stdout).unwrap();
        let line = said.lines().find(|line| line.starts_with("User:")).unwrap_or(&said);
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            words[..4],
            ["User:", &user.to_string(), "Group:", &group.to_string()],
            "{path}"
        );
    }
}

fn limits_can_be_raised(world: &World) {
    let flags = ["--userns", "--ulimit", "memlock=-1", "--ulimit", "core=0", "-u", "1234"];
    world.sh(&flags, "ulimit -Hl; ulimit -Hc; ulimit -Sl").prints("unlimited\n0\nunlimited");
}

/// Layers with whiteouts, and owners that only the topmost says.
fn every_layer_shows_its_owners(world: &World) {
    let ask = [
        "sh",
        "-c",
        "find / -xdev ! -name proc ! -name sys | sort | xargs stat -c '%n %u:%g %a' | md5sum",
    ];
    let sandbox = world.sandbox().image(&world.images.layered);
    let plain = sandbox.run(&ask);
    let mapped = sandbox.flags(&USERNS).run(&ask);
    assert_eq!(plain.exits(0).text(), mapped.exits(0).text(), "{}", mapped.stderr);
}

fn own_users() -> Namespaces {
    Namespaces { user: NamespaceRef::New, ..Namespaces::default() }
}

/// Asked of the guest itself, which no container's process is.
fn ids_are_high_to_the_guest_and_no_two_containers_share_any(world: &World) {
    let mut agent = Agent::boot(world);
    agent.starts("one", own_users(), &["sleep", "100"]);
    agent.starts("two", own_users(), &["sleep", "200"]);
    agent.starts("three", Namespaces::default(), &["sleep", "300"]);
    for (container, uid) in [("one", "1048576"), ("two", "1114112"), ("three", "0")] {
        // Every process of the guest is seen by one that shares its process ids.
        let shared = Namespaces { pid: NamespaceRef::Guest, ..Namespaces::default() };
        let name = format!("eye-{container}");
        agent.starts(&name, shared, &["sleep", "400"]);
        let seconds = match container {
            "one" => "100",
            "two" => "200",
            _ => "300",
        };
        let script = format!(
            "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | grep -qx 'sleep {seconds} ' && \
             grep ^Uid: $p/status | cut -f 2-; done; true"
        );
        let (ended, said) = agent.runs(Some(&name), "look", &["sh", "-c", &script]);
        assert_eq!(ended, Ok(ExitStatus::Code(0)), "{said}");
        assert_eq!(said.trim(), [uid; 4].join("\t"), "{container}");
        // A further process is of the container's namespace too, and its root.
        let ask = ["sh", "-c", "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %u /srv/work"];
        let (_, said) = agent.runs(Some(container), "further", &ask);
        let (first, count) = if uid == "0" { ("0", "4294967295") } else { (uid, "65536") };
        assert_eq!(said.trim(), format!("0\n 0 {first} {count}\n1234"));
    }
    assert_eq!(agent.powers_off(), vmm::VmExit::Stopped);
}

fn what_does_not_go_with_it_is_refused(world: &World) {
    let mut agent = Agent::boot(world);
    agent.starts("one", Namespaces::default(), &["sleep", "100"]);
    let other = NamespaceRef::Container(crate::harness::agent::id("one"));
    let refused = [
        Namespaces { network: other.clone(), ..own_users() },
        Namespaces { pid: NamespaceRef::Guest, ..own_users() },
        Namespaces { user: other, ..Namespaces::default() },
    ];
    for (name, namespaces) in ["two", "three", "four"].into_iter().zip(refused) {
        let words = agent.does_not_start(name, namespaces);
        assert!(
            words.contains("not offered") || words.contains("goes with no namespace"),
            "{words}"
        );
    }
    world
        .sh(&["--userns", "--privileged"], "true")
        .exits(125)
        .complains(&["contradicts --privileged"]);
}
