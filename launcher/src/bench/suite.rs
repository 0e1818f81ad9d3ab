//! What is measured: each workload as a program that others use for it, on the same data at every layer. Only time is
//! measured by ourselves.

use super::reading::Reading;
use ::bench::{Better, Unit};

/// A piece of work.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// Its name.
    pub name: &'static str,
    /// What it belongs to.
    pub group: &'static str,
    /// What its figure counts.
    pub unit: Unit,
    /// Which figures are good.
    pub better: Better,
    /// Program, data, warmth.
    pub scope: &'static str,
    /// How a figure is got.
    pub how: How,
}

/// How a figure is got.
#[derive(Debug, Clone, Copy)]
pub enum How {
    /// A program is started anew at the layer, and its whole life is timed from outside.
    Exit,
    /// The same, until its first byte of output is here.
    FirstOutput,
    /// A script of the layer's shell says it.
    Script(&'static str, Reading),
}

/// A second of one stressor of stress-ng: what it does is counted.
macro_rules! stressor {
    ($name:literal, $group:literal, $stressor:literal, $flags:literal, $scope:literal) => {
        Item {
            name: $name,
            group: $group,
            unit: Unit::PerSecond,
            better: Better::More,
            scope: concat!("stress-ng --", $stressor, $flags, ", one worker, 1 s: ", $scope),
            how: How::Script(
                concat!(
                    "cd /tmp && stress-ng --no-rand-seed --metrics-brief -t 1 --",
                    $stressor,
                    " 1",
                    $flags
                ),
                Reading::Stressor($stressor),
            ),
        }
    };
}

/// A second of fio on a file of 32 MiB in the container's own file system.
macro_rules! file {
    ($name:literal, $pattern:literal, $flags:literal, $unit:ident, $figure:literal, $scope:literal) => {
        Item {
            name: $name,
            group: "files",
            unit: Unit::$unit,
            better: Better::More,
            scope: concat!("fio --rw=", $pattern, " ", $flags, ", 32 MiB, at most 1 s: ", $scope),
            how: How::Script(
                concat!(
                    "cd /var/tmp && fio --name=file --filename=bench.data --size=32m --runtime=1 --end_fsync=1 ",
                    "--ioengine=psync --output-format=json --rw=",
                    $pattern,
                    " ",
                    $flags,
                    "; rm -f bench.data"
                ),
                Reading::Json($figure),
            ),
        }
    };
}

/// All workloads, by group.
pub const ITEMS: &[Item] = &[
    Item {
        name: "first output",
        group: "start",
        unit: Unit::Seconds,
        better: Better::Less,
        scope: "echo in a new environment, image and caches warm, until its byte is here",
        how: How::FirstOutput,
    },
    Item {
        name: "exit",
        group: "start",
        unit: Unit::Seconds,
        better: Better::Less,
        scope: "echo in a new environment, image and caches warm, until all of it is gone",
        how: How::Exit,
    },
    stressor!("integer", "processor", "cpu", " --cpu-method int64", "rounds of 64-bit arithmetic"),
    stressor!(
        "floating point",
        "processor",
        "cpu",
        " --cpu-method double",
        "rounds of double precision"
    ),
    Item {
        name: "primes",
        group: "processor",
        unit: Unit::PerSecond,
        better: Better::More,
        scope: "sysbench cpu, one thread, 1 s: all primes below 10,000",
        how: How::Script("sysbench cpu --time=1 run", Reading::After("events per second:", 1.0)),
    },
    Item {
        name: "sha256",
        group: "processor",
        unit: Unit::BytesPerSecond,
        better: Better::More,
        scope: "openssl speed, one thread, 1 s: blocks of 8 KiB",
        how: How::Script(
            "openssl speed -seconds 1 -bytes 8192 -mr -evp sha256",
            Reading::LastOf("+F:", ':'),
        ),
    },
    stressor!("system call", "kernel", "getrandom", "", "a few bytes each, of the kernel"),
    stressor!("context switch", "kernel", "switch", "", "a byte through a pipe to another process"),
    stressor!("fork", "kernel", "fork", "", "a child that ends at once"),
    stressor!("exec", "kernel", "exec", "", "a child that runs a program that ends at once"),
    stressor!("page fault", "kernel", "fault", "", "pages of a file and of none"),
    stressor!(
        "mmap",
        "kernel",
        "mmap",
        " --mmap-bytes 4m",
        "mapping, touching and unmapping 4 MiB"
    ),
    stressor!("futex", "kernel", "futex", "", "waking a process that waits"),
    stressor!("signal", "kernel", "sigfd", "", "a signal to another process, by a descriptor"),
    stressor!("pipe", "kernel", "pipe", "", "512 bytes to another process"),
    stressor!("unix socket", "kernel", "sockpair", "", "through a pair of sockets"),
    Item {
        name: "memory bandwidth",
        group: "memory",
        unit: Unit::BytesPerSecond,
        better: Better::More,
        scope: "sysbench memory, one thread, at most 1 s: writes in order, blocks of 1 MiB",
        how: How::Script(
            "sysbench memory --time=1 --memory-block-size=1M --memory-total-size=1T run",
            Reading::After("MiB transferred (", 1024.0 * 1024.0),
        ),
    },
    Item {
        name: "memory in no order",
        group: "memory",
        unit: Unit::BytesPerSecond,
        better: Better::More,
        scope: "sysbench memory, one thread, at most 1 s: reads anywhere in a block of 16 MiB",
        how: How::Script(
            "sysbench memory --time=1 --memory-block-size=16M --memory-total-size=1T --memory-oper=read \
             --memory-access-mode=rnd run",
            Reading::After("MiB transferred (", 1024.0 * 1024.0),
        ),
    },
    file!(
        "sequential write",
        "write",
        "--bs=128k",
        BytesPerSecond,
        "/jobs/0/write/bw_bytes",
        "128 KiB in order, then fsync"
    ),
    file!(
        "sequential read",
        "read",
        "--bs=128k",
        BytesPerSecond,
        "/jobs/0/read/bw_bytes",
        "128 KiB in order"
    ),
    file!(
        "random write",
        "randwrite",
        "--bs=4k",
        PerSecond,
        "/jobs/0/write/iops",
        "4 KiB anywhere, then fsync"
    ),
    file!("random read", "randread", "--bs=4k", PerSecond, "/jobs/0/read/iops", "4 KiB anywhere"),
    file!(
        "fsync",
        "write",
        "--bs=4k --fsync=1",
        PerSecond,
        "/jobs/0/write/iops",
        "4 KiB in order, fsync after each"
    ),
    stressor!("metadata", "files", "dentry", " --dentries 64", "files made, found and removed"),
    Item {
        name: "compile",
        group: "compile",
        unit: Unit::Seconds,
        better: Better::Less,
        scope: "gcc -O2 of 100 small functions, from a file to an object file",
        how: How::Script(
            "f=$(mktemp -d)/compile; seq 100 | \
             awk '{print \"int f\" $1 \"(int *v, int n) { int s = \" $1 \"; for (int i = 0; i < n; i++) s += v[i] * s; return s; }\"}' > $f.c; \
             begun=$(date +%s%N); gcc -O2 -c -o $f.o $f.c || exit; echo took $(($(date +%s%N) - begun)); rm -r ${f%/*}",
            Reading::After("took", 1e-9),
        ),
    },
];
