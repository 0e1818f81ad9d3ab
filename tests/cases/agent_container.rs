//! What a container finds around it is what Docker would have put there.

use crate::cases;
use crate::harness::World;

cases! {
    Both: the_clock_is_ours;
    Guest: limits_and_network_settings_are_dockers, files_of_etc_are_read_only_with_the_root,
        a_tmpfs_keeps_the_mode_of_what_it_covers, mounts_nest_whatever_their_order,
        a_tmpfs_below_dev_is_there, a_new_working_directory_in_a_read_only_root, masked_paths,
        a_program_without_the_right_to_run_is_none, a_filter_and_an_init, a_profile_and_a_user,
        files_of_etc;
}

fn limits_and_network_settings_are_dockers(world: &World) {
    let script = "ulimit -Sn; ulimit -Hn; cd /proc/sys/net/ipv4; \
                  cat ip_unprivileged_port_start; cat ping_group_range; \
                  httpd -p 127.0.0.1:80 -h /srv && echo serves";
    let expected = "1048576\n1048576\n0\n0\t2147483647\nserves";
    world.sh(&["-u", "1234", "--cap-drop", "all"], script).prints(expected);
}

fn files_of_etc(world: &World) {
    // Name servers are this machine's: `network::names` has some of its own.
    let script = "cat /etc/hostname; grep -c localhost /etc/hosts; grep -w box /etc/hosts; ping -c 1 box > /dev/null && echo answers; \
                  echo '1.2.3.4 x' >> /etc/hosts && echo writable";
    let expected = "box\n2\n192.0.0.2\tbox\nfdcf:6665:7264:616d::2\tbox\nanswers\nwritable";
    world.sh(&["--hostname", "box"], script).prints(expected);
    let alone = ["--hostname", "box", "--network", "none"];
    let script = format!("wc -c < /etc/resolv.conf; {script}");
    world.sh(&alone, &script).prints("0\nbox\n2\n127.0.1.1\tbox\nanswers\nwritable");
}

fn files_of_etc_are_read_only_with_the_root(world: &World) {
    let script = "for f in hosts hostname resolv.conf; do \
                  { echo x >> /etc/$f; } 2>/dev/null && echo $f; done; echo end";
    world.sh(&["--read-only"], script).prints("end");
}

fn a_tmpfs_keeps_the_mode_of_what_it_covers(world: &World) {
    let paths = "/srv/work /tmp /root /new";
    let flags: Vec<String> =
        paths.split(' ').flat_map(|path| ["--tmpfs".to_owned(), path.to_owned()]).collect();
    let flags = [&flags[..], &["--tmpfs".to_owned(), "/a-directory:mode=700".to_owned()]].concat();
    let script = format!("stat -f -c %T {paths} | uniq; stat -c %a {paths} /a-directory");
    world.sandbox().flags(&flags).sh(&script).prints("tmpfs\n755\n1777\n755\n1777\n700");
}

fn mounts_nest_whatever_their_order(world: &World) {
    let flags = ["--tmpfs", "/a/b", "--tmpfs", "/a", "--tmpfs", "/etc"];
    let script = "touch /a/b/x && grep -o ' /a[^ ]* tmpfs' /proc/mounts; cat /etc/hostname; \
                  stat -f -c %T /etc";
    let flags = [&flags[..], &["--hostname", "box"]].concat();
    world.sh(&flags, script).prints("/a tmpfs\n /a/b tmpfs\nbox\ntmpfs");
}

fn a_tmpfs_below_dev_is_there(world: &World) {
    let script = "grep -o ' /dev/[xs][^ ]* tmpfs' /proc/mounts; touch /dev/x/y && df /dev/shm | \
                  grep -o 2048; ls /dev | grep -q '^vd' && echo devices";
    let flags = ["--privileged", "--tmpfs", "/dev/x", "--tmpfs", "/dev/shm:size=2m"];
    world.sh(&flags, script).prints("/dev/x tmpfs\n /dev/shm tmpfs\n2048\n2048\ndevices");
}

fn a_new_working_directory_in_a_read_only_root(world: &World) {
    let script = "pwd; touch x 2>/dev/null || echo refused";
    world.sh(&["--read-only", "-w", "/new/one"], script).prints("/new/one\nrefused");
}

/// What is masked and there is empty; what is read-only is so.
fn masked_paths(world: &World) {
    let script = "cd /proc; cat acpi/* asound/* kcore keys latency_stats timer_list timer_stats \
                  sched_debug scsi/* /sys/firmware/* 2>/dev/null | wc -c; \
                  for p in bus fs irq sys sysrq-trigger; do \
                  test ! -e $p || grep -q \" /proc/$p proc ro,\" mounts || echo $p; done; \
                  grep -c ' /proc/[ks][^ ]* ' mounts";
    let output = world.sh(&[], script);
    output.exits(0);
    assert!(output.text().starts_with("0\n") && output.text().lines().count() == 2, "{output:?}");
    let script =
        "test $(wc -c < /proc/keys) = 0 || echo seen; test -w /proc/sys/vm/swappiness && echo open";
    world.sh(&["--privileged"], script).exits(0).shows("open");
}

/// Docker looks on past it, and then finds none.
fn a_program_without_the_right_to_run_is_none(world: &World) {
    let output = world.sandbox().flags(&["-e", "PATH=/"]).run(&["not-executable"]);
    output.exits(127).complains(&["executable file not found in $PATH"]);
}

fn the_clock_is_ours(world: &World) {
    let seconds = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_secs()
    };
    let before = seconds();
    let output = world.sh(&[], "date +%s");
    let inside: u64 = output.exits(0).text().parse().unwrap();
    assert!(before.saturating_sub(2) <= inside, "{inside} is before {before}");
    assert!(inside <= seconds() + 2, "{inside} is after {}", seconds());
}

fn a_filter_and_an_init(world: &World) {
    let script = "grep ^Seccomp: /proc/1/status; grep ^Seccomp: /proc/self/status; \
                  unshare -U true 2>/dev/null || echo may not";
    let expected = "Seccomp:\t2\nSeccomp:\t2\nmay not";
    world.sh(&["--init"], script).prints(expected);
    world.sh(&["--init", "--security-opt", "no-new-privileges"], script).prints(expected);
}

fn a_profile_and_a_user(world: &World) {
    let profile = r#"{
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18 }]
    }"#;
    let option = format!("seccomp={}", world.file("profile.json", profile).display());
    let script = "id -u; mkdir /tmp/x 2>&1; grep -E '^(Seccomp|CapPrm):' /proc/self/status";
    let expected = "1234\nmkdir: can't create directory '/tmp/x': Invalid cross-device link\n\
        CapPrm:\t0000000000000000\nSeccomp:\t2";
    world.sh(&["-u", "1234", "--security-opt", &option], script).prints(expected);
}
