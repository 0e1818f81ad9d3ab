//! `cofferdam bench`: the same work at each layer, what it leaves, and how it ends.

use crate::cases;
use crate::harness::terminal::Terminal;
use crate::harness::{Output, Running, World, leftovers};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

cases! {
    Kvm: a_start_and_what_it_reaches;
    Tcg: what_fails_at_one_layer_fails_there_alone, each_peer_is_a_layer, what_is_reached_of_the_hosts_kernel,
        an_interrupted_bench_keeps_what_it_has, two_are_compared, any_words_make_a_record, nothing_outlives_a_bench,
        what_cannot_be_measured_is_told_before;
}

/// The arguments of a bench with the plain image.
fn arguments(world: &World, flags: &[&str]) -> Vec<String> {
    let state = world.state().display().to_string();
    let mut words = vec!["bench", "--accel", world.accelerator.name(), "--state-dir", &state];
    words.extend(flags);
    words.push(&world.images.plain);
    words.into_iter().map(str::to_owned).collect()
}

fn bench(world: &World, flags: &[&str]) -> Output {
    let arguments = arguments(world, flags);
    world.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn out(world: &World) -> (PathBuf, String) {
    let directory = world.scratch_file("bench");
    let text = directory.display().to_string();
    (directory, text)
}

fn record(directory: &Path) -> Value {
    let text = fs::read_to_string(directory.join("record.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What was measured of a workload at a layer.
fn cell<'v>(record: &'v Value, workload: &str, layer: &str) -> &'v Value {
    let place = |list: &str, name: &str| {
        let list = record[list].as_array().unwrap();
        list.iter()
            .position(|it| it["name"] == name)
            .unwrap_or_else(|| panic!("no {name}: {record}"))
    };
    let (workload, layer) = (place("workloads", workload), place("layers", layer));
    let cells = record["cells"].as_array().unwrap();
    cells.iter().find(|it| it["workload"] == workload && it["layer"] == layer).unwrap()
}

fn samples(cell: &Value) -> Vec<f64> {
    cell["samples"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect()
}

/// The plain image has no compiler, and this machine has one.
fn what_fails_at_one_layer_fails_there_alone(world: &World) {
    let (directory, path) = out(world);
    let flags = ["--layers", "host,vm,nested", "--suite", "start,compile", "--repeats", "2"];
    let output = bench(world, &[&flags[..], &["--warmups", "0", "--out", &path]].concat());
    output.exits(0);
    // The emulated host says that it is one, too.
    let first = output.text().lines().next().unwrap_or_default().to_owned();
    assert!(first.starts_with("This measures an emulator"), "{first}");
    output.shows("host").shows("failed: exit status 127");
    let record = record(&directory);
    for layer in ["host", "vm", "nested"] {
        let [first, exit] =
            ["first output", "exit"].map(|name| samples(cell(&record, name, layer)));
        assert_eq!((first.len(), exit.len()), (2, 2), "{layer}: {record}");
        assert!(first.iter().zip(&exit).all(|(first, exit)| first < exit), "{layer}: {record}");
    }
    assert_eq!(samples(cell(&record, "compile", "host")).len(), 2);
    for layer in ["vm", "nested"] {
        let failed = cell(&record, "compile", layer);
        assert!(failed["failure"].as_str().unwrap().contains("gcc"), "{failed}");
        assert!(samples(failed).is_empty(), "{failed}");
    }
    let [host, nested] = ["host", "nested"].map(|layer| samples(cell(&record, "exit", layer))[0]);
    assert!(nested > 5.0 * host, "a VM in {nested} s, a process in {host} s");
    assert_eq!(record["machine"]["accelerator"], world.accelerator.name());
    assert!(record["machine"]["guest_kernel"].as_str().unwrap().starts_with("6.12"), "{record}");
    let page = fs::read_to_string(directory.join("report.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("<script") && !page.contains("src="), "{page}");
    assert!(fs::read_to_string(directory.join("report.md")).unwrap().contains("| nested |"));
    assert_eq!(leftovers::files(&directory).len(), 3, "{:?}", leftovers::files(&directory));
}

/// An engine, a runtime with no engine, and QEMU with no container: each starts what it is given, and has a shell that
/// answers (the plain image has no compiler).
fn each_peer_is_a_layer(world: &World) {
    let (directory, path) = out(world);
    let (engine, bundle) = (engine(world), bundle(world));
    let peers = [&engine, "runc", "qemu", "/no/such/engine"].join(",");
    let flags = ["--layers", "host,nested", "--peers", &peers, "--bundle", &bundle];
    let what = ["--suite", "start,compile", "--repeats", "1", "--warmups", "0", "--out", &path];
    let image = ["--engine-image", "plain:latest"];
    let output = bench(world, &[&flags[..], &what, &image].concat());
    output.exits(0).complains(&["/no/such/engine is not installed: it is left out"]);
    let record = record(&directory);
    let engine = Path::new(&engine).file_name().unwrap().to_str().unwrap();
    for layer in [engine, "runc", "qemu"] {
        let [first, exit] =
            ["first output", "exit"].map(|name| samples(cell(&record, name, layer)));
        assert!(first.len() == 1 && first[0] < exit[0], "{layer}: {record}");
        let failed = cell(&record, "compile", layer)["failure"].as_str().unwrap();
        assert!(failed.contains("exit status 127") && failed.contains("gcc"), "{layer}: {failed}");
    }
    let left = leftovers::files(&world.state().join("bench"));
    assert!(left.is_empty(), "{left:?}");
    leftovers::no_orphans();
}

/// A program that is podman, but for where it keeps its files and what this machine does not let it do. It has the plain
/// image.
fn engine(world: &World) -> String {
    use std::os::unix::fs::PermissionsExt;
    let place = world.scratch_file("podman").display().to_string();
    let script = format!(
        "#!/bin/sh\ncommand=$1; shift; case $command in run) set -- --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 \"$@\"; esac\n\
         exec podman --root {place}/root --runroot {place}/run --cgroup-manager cgroupfs --runtime runc $command \"$@\"\n"
    );
    let engine = world.file("bench-podman", &script);
    fs::set_permissions(&engine, fs::Permissions::from_mode(0o755)).unwrap();
    let archive = world.images.docker_archive.trim_start_matches("docker-archive:");
    let mut load = std::process::Command::new(&engine);
    load.args(["load", "--quiet", "--input", archive]);
    Running::start(load, None).wait().exits(0);
    engine.display().to_string()
}

/// The plain image as umoci unpacks it.
fn bundle(world: &World) -> String {
    let place = world.scratch_file("bundle").display().to_string();
    let mut unpack = std::process::Command::new("sh");
    unpack.args([
        "-ec",
        &format!(
            "mkdir {place} && skopeo copy --quiet {} oci:{place}/image:v1 && \
         umoci unpack --image {place}/image:v1 {place}/bundle >&2",
            world.images.plain
        ),
    ]);
    Running::start(unpack, None).wait().exits(0);
    format!("{place}/bundle")
}

/// Twenty thousand reads and writes are as many of the host's, and in a VM none.
fn what_is_reached_of_the_hosts_kernel(world: &World) {
    let (directory, path) = out(world);
    let flags =
        ["--layers", "host,nested", "--suite", "start,surface", "--repeats", "1", "--warmups", "0"];
    bench(world, &[&flags[..], &["--out", &path]].concat()).exits(0);
    let record = record(&directory);
    let reached = |work: &str, layer: u64| {
        let surfaces = record["surfaces"].as_array().unwrap();
        let of =
            |it: &&Value| it["work"].as_str().unwrap().starts_with(work) && it["layer"] == layer;
        let it = surfaces.iter().find(of).unwrap_or_else(|| panic!("no {work}: {record}"));
        assert!(it["reached"].is_object(), "{it}");
        it["reached"].clone()
    };
    let calls = |work: &str, layer: u64| {
        let reached = reached(work, layer);
        reached["calls"].as_object().unwrap().values().map(|it| it.as_f64().unwrap()).sum::<f64>()
    };
    // One call to read, one to write: what is known beforehand is what is counted.
    assert!((1.99..2.1).contains(&calls("two system calls", 0)), "{record}");
    assert!(calls("two system calls", 1) < 0.5, "{record}");
    assert!(calls("a process", 0) > 3.0, "{record}");
    assert!(calls("1 MiB of output", 1) > 1.0, "{record}");
    assert!(calls("a start", 1) > 5.0 * calls("a start", 0), "{record}");
}

/// What KVM counts for the bench, and what the kernel's tracing sees of another start: two witnesses of one thing.
fn a_start_and_what_it_reaches(world: &World) {
    let (directory, path) = out(world);
    let flags = ["--layers", "host,nested", "--suite", "start", "--repeats", "1", "--warmups", "0"];
    let output = bench(world, &[&flags[..], &["--out", &path]].concat());
    output.exits(0).shows("exits of KVM").shows("functions of the kernel");
    let first = output.text().lines().next().unwrap_or_default().to_owned();
    assert!(first.starts_with("This measures an emulator (kvm)"), "{first}");
    let record = record(&directory);
    assert!(record["surfaces"][0]["reached"]["exits"].is_null(), "{record}");
    let exits = record["surfaces"][1]["reached"]["exits"].as_object().unwrap();
    // How long a start takes decides how often the host's clock interrupts it.
    let others = exits.iter().filter(|(reason, _)| *reason != "interrupt");
    let counted: f64 = others.map(|(_, it)| it.as_f64().unwrap()).sum();
    let run = world.sandbox().arguments(&["sh", "-c", "true"]).join(" ");
    let script = format!(
        "echo 1 > options/event-fork && echo $$ > set_event_pid && echo 1 > events/kvm/kvm_exit/enable && {} {run} && \
         echo 0 > events/kvm/kvm_exit/enable && grep kvm_exit: trace | grep -vc 'reason interrupt'",
        world.product.display()
    );
    let traced = traced(&script);
    assert!((0.5..2.0).contains(&(traced / counted)), "{traced} traced, {counted} counted");

    let [host, nested] =
        [0, 1].map(|layer| record["surfaces"][layer]["reached"]["functions"].as_f64().unwrap());
    assert!(nested > 1.5 * host, "{nested} functions for a VM, {host} for a process");
    // Of the shell's children only, as the bench has it.
    let script = "echo 1 > options/function-fork && echo $$ > set_ftrace_pid && echo function > current_tracer && \
                  sh -c true; echo 0 > tracing_on; grep ' <-' trace | grep -v -e \"-$$ \" | \
                  sed 's/.*: //; s/ <-.*//' | sort -u | wc -l; echo nop > current_tracer";
    let named = self::traced(script);
    assert!((0.8..1.25).contains(&(named / host)), "{named} by name, {host} counted");
}

/// The one figure that a script says in an instance of the kernel's tracing.
fn traced(script: &str) -> f64 {
    let script = format!(
        "mount -t tracefs tracefs /sys/kernel/tracing; mkdir /sys/kernel/tracing/instances/own && \
         cd /sys/kernel/tracing/instances/own && echo 16384 > buffer_size_kb && {{ {script}; }}; cd ..; rmdir own"
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]);
    Running::start(command, None).wait().exits(0).text().parse().unwrap()
}

/// Ctrl-C on a terminal, where its progress is to be seen. A window that is dragged is no reason to end.
fn an_interrupted_bench_keeps_what_it_has(world: &World) {
    let (directory, path) = out(world);
    let flags = [
        "--layers",
        "host,nested",
        "--suite",
        "start",
        "--repeats",
        "1000",
        "--warmups",
        "0",
        "--out",
        &path,
    ];
    let mut terminal = Terminal::start(&world.product, &arguments(world, &flags));
    terminal.waits_for("round 2");
    terminal.resize(30, 100);
    terminal.waits_for("round 3");
    terminal.types("\x03");
    assert_eq!(terminal.ends(), 130, "{}", terminal.text());
    terminal.waits_for("It was interrupted");
    let record = record(&directory);
    assert_eq!(record["ended"], "interrupted");
    for layer in ["host", "nested"] {
        let count = samples(cell(&record, "first output", layer)).len();
        assert!((2..1000).contains(&count), "{record}");
    }
    leftovers::no_orphans();
}

/// The same machine in the same state, but for a record that was made better and worse than it is.
fn two_are_compared(world: &World) {
    let (directory, path) = out(world);
    let flags = ["--layers", "host", "--suite", "start", "--repeats", "8", "--out", &path];
    bench(world, &flags).exits(0);
    let measured = record(&directory);
    let changed = |name: &str, factor: f64| {
        let mut record = measured.clone();
        for cell in record["cells"].as_array_mut().unwrap() {
            let scaled: Vec<f64> = samples(cell).iter().map(|it| it * factor).collect();
            cell["samples"] = json!(scaled);
        }
        world.file(name, &record.to_string()).display().to_string()
    };
    let flags = ["--layers", "host", "--suite", "start", "--repeats", "8", "--compare"];
    let since = |old: &str| bench(world, &[&flags[..], &[old]].concat());
    since(&changed("faster.json", 0.01)).exits(1).shows("worse   exit at host");
    since(&changed("slower.json", 100.0)).exits(0).shows("better  exit at host");
}

/// Whatever was typed, what is written is read again.
fn any_words_make_a_record(world: &World) {
    let (directory, _) = out(world);
    let flags = [
        "--layers",
        "host,container",
        "--engine",
        "/no/such\nengine",
        "--suite",
        "start",
        "--repeats",
        "1",
    ];
    let mut name = directory.clone().into_os_string();
    name.push(std::ffi::OsStr::from_bytes(b"\xff"));
    let mut command = std::process::Command::new(&world.product);
    command.args(arguments(world, &flags)).arg("--out").arg(&name);
    Running::start(command, None).wait().exits(0).shows("no/such");
    let record = PathBuf::from(name).join("record.json");
    let copy =
        world.file("record.json", &fs::read_to_string(record).unwrap()).display().to_string();
    let flags = ["--layers", "host", "--suite", "start", "--repeats", "1", "--compare", &copy];
    bench(world, &flags).shows("SINCE");
}

/// Killed, it leaves nothing at work.
fn nothing_outlives_a_bench(world: &World) {
    let words = arguments(world, &["--layers", "nested", "--suite", "kernel", "--repeats", "1000"]);
    let mut command = std::process::Command::new(&world.product);
    command.args(&words);
    let running = Running::start(command, None);
    let patience = Instant::now() + Duration::from_secs(60);
    let family = loop {
        let family = leftovers::family(running.pid());
        if family.len() > 3 {
            break family;
        }
        assert!(Instant::now() < patience, "no sandbox: {family:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    running.signal(Signal::KILL);
    running.wait();
    leftovers::all_gone(&family);
    leftovers::no_orphans();
}

fn what_cannot_be_measured_is_told_before(world: &World) {
    let refused = |flags: &[&str], words: &[&str]| {
        bench(world, flags).exits(125).complains(words);
    };
    refused(
        &["--layers", "host,moon"],
        &["no layer is called \"moon\"", "hint: there are host, container, vm, nested"],
    );
    refused(&["--layers", "host,host"], &["\"host\" is to be measured twice"]);
    refused(&["--suite", "luck"], &["no workloads are in a group called \"luck\"", "surface"]);
    refused(&["--repeats", "0"], &["--repeats \"0\" is no number from 1 to 1000"]);
    let text = world.file("record.json", "{\"version\": 7}").display().to_string();
    refused(&["--compare", &text], &["cannot compare with", "its format is 7", "hint: --out DIR"]);
    refused(&["--compare", "/no/such/record"], &["cannot read the record \"/no/such/record\""]);
    refused(&["--peers", "qemu"], &["qemu knows no images", "hint: --bundle DIR"]);
    refused(
        &["--peers", "runc", "--bundle", "/no/such"],
        &["cannot read \"/no/such/config.json\""],
    );
    refused(&["--out", "/proc/no", "--layers", "host"], &["cannot write the reports to /proc/no"]);
}
