//! Limits of the container, and the size of the machine around it.

use crate::cases;
use crate::harness::World;

cases! {
    Both: vm_memory, vm_cpus, many_cpus, memory_above_the_hole, the_smallest_machine;
    Guest: ulimit, cpus, too_much_memory_is_death, pids_limit, memory;
    Tcg: impossible_sizes_are_refused;
}

const CGROUP: &str = "cd /sys/fs/cgroup";

fn ulimit(world: &World) {
    let flags = ["--ulimit", "nofile=123:456", "--ulimit", "core=0", "--ulimit", "nproc=77"];
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; grep 'Max processes' /proc/self/limits";
    world.sh(&flags, script).shows("123\n456\n0\nMax processes             77 ");
}

fn cpus(world: &World) {
    // A loop that wants all of a CPU for two seconds is held up in every period.
    let script = format!(
        "{CGROUP}; cat cpu.max; timeout 2 sh -c 'while :; do :; done'; \
         awk '$1 == \"nr_throttled\" && $2 >= 5 {{ print \"held up\" }}' cpu.stat"
    );
    world.sh(&["--cpus", "0.5"], &script).prints("50000 100000\nheld up");
    world.sh(&[], &script.replace("cat cpu.max;", "")).prints("");
}

fn memory(world: &World) {
    world.sh(&["--memory", "48m"], &format!("{CGROUP}; cat memory.max")).prints("50331648");
}

fn too_much_memory_is_death(world: &World) {
    let script = "tail /dev/zero; echo survived $?";
    // The shell outlives the one that took too much; a container that is itself the one does not.
    world.sh(&["--memory", "32m"], script).exits(0).shows("survived 137");
    let output = world.sandbox().flags(&["--memory", "32m"]).run(&["tail", "/dev/zero"]);
    output.exits(137).complains(&["memory"]);
}

fn pids_limit(world: &World) {
    let script = format!(
        "{CGROUP}; cat pids.max; (for i in 1 2 3 4 5 6 7 8 9; do sleep 2 & done; echo all) 2>&1 | \
         grep -o -e fork -e all"
    );
    world.sh(&["--pids-limit", "8"], &script).prints("8\nfork");
    world.sh(&["--pids-limit", "100"], &script).prints("100\nall");
}

fn vm_memory(world: &World) {
    let total = |size: &str| -> u64 {
        let output = world.sandbox().machine(size, "1").sh("grep MemTotal /proc/meminfo");
        output.exits(0).text().split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let (small, large) = (total("128m"), total("512m"));
    assert!((90_000..131_072).contains(&small), "{small} KiB of 128 MiB");
    assert!((450_000..524_288).contains(&large), "{large} KiB of 512 MiB");
}

fn vm_cpus(world: &World) {
    let output = world.sandbox().machine("256m", "3").sh("nproc; grep -c ^processor /proc/cpuinfo");
    output.prints("3\n3");
}

fn many_cpus(world: &World) {
    cpus_that_run(world, 8);
}

/// Each runs a program of its own at least once.
pub fn cpus_that_run(world: &World, count: u32) {
    let script = format!(
        "nproc; for n in $(seq 0 $(({count} - 1))); do taskset -c $n true && echo $n; done | wc -l"
    );
    // On a machine of two they come up one after the other.
    let sandbox = world.sandbox().machine("512m", &count.to_string());
    let output = sandbox.flags(&["--boot-timeout", "120"]).sh(&script);
    output.prints(&format!("{count}\n{count}"));
}

/// Memory beyond the first 3 GiB lies above 4 GiB: guests take from the top first.
fn memory_above_the_hole(world: &World) {
    let script = "awk '/^MemTotal/ { print ($2 > 3900000) }' /proc/meminfo; \
                  awk '/zone +Normal/ { zone = 1 } zone && $1 == \"present\" { print ($2 > 200000); exit }' \
                  /proc/zoneinfo; \
                  mount -t tmpfs -o size=100m t /tmp && guest-tool noise /tmp/file 1 64 && \
                  guest-tool hear /tmp/file 1 64 && echo unchanged; \
                  awk '/zone +Normal/ { zone = 1 } zone && $1 == \"nr_shmem\" { exit } \
                  zone && $1 == \"nr_zone_active_anon\" || zone && $1 == \"nr_zone_inactive_anon\" { n += $2 } \
                  zone && /zone +Movable/ { exit } END { print (n > 8000) }' /proc/zoneinfo";
    let output = world.sandbox().machine("4g", "1").flags(&["--privileged"]).sh(script);
    output.prints("1\n1\nunchanged\n1");
}

fn the_smallest_machine(world: &World) {
    world.sandbox().machine("64m", "1").sh("echo fits").prints("fits");
}

fn impossible_sizes_are_refused(world: &World) {
    for (memory, cpus) in [("16m", "1"), ("0", "1"), ("256m", "0"), ("256m", "33"), ("900g", "1")] {
        let output = world.sandbox().machine(memory, cpus).run(&["true"]);
        output.exits(125).complains(&["--vm-"]);
    }
    let flags = ["--memory", "600m"];
    world.sandbox().flags(&flags).run(&["true"]).exits(125).complains(&["memory"]);
}
