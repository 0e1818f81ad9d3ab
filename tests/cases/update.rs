//! `cofferdam update`: other limits, for a sandbox that runs and for the next time.

use crate::cases;
use crate::harness::World;
use crate::harness::detached::Detached;

cases! {
    Tcg: limits_are_others_from_now_on;
}

fn limits_are_others_from_now_on(world: &World) {
    let flags = ["--memory", "64m", "--pids-limit", "50"];
    let sandbox = Detached::start(world, &flags, "sleep 1000");
    let script = "cd /sys/fs/cgroup; echo $(cat memory.max cpu.max pids.max)";
    let are = |expected: &str| {
        sandbox.command(&["exec"], &["box", "sh", "-c", script]).prints(expected);
    };
    are("67108864 max 100000 50");
    sandbox.command(&["update", "--memory=80m", "--cpus", "0.5"], &["box"]).prints("box");
    are("83886080 50000 100000 50");
    sandbox.command(&["update", "--pids-limit=-1", "--cpus=0"], &["box"]).prints("box");
    are("83886080 max 100000 max");
    sandbox.command(&["update"], &["box"]).exits(125).complains(&["no limit", "--memory"]);
    sandbox.command(&["update", "--memory=1m"], &["box"]).exits(125).complains(&["less than 6m"]);
    sandbox.command(&["stop", "--time", "0"], &["box"]).exits(0);
    // One that has ended has them the next time.
    sandbox.command(&["update", "--cpus=1"], &["box"]).prints("box");
    sandbox.command(&["start"], &["box"]).prints("box");
    are("83886080 100000 100000 max");
}
