//! `cofferdam docker`: a daemon in a sandbox, and real clients here that use it.

use crate::cases;
use crate::harness::docker::{BOX, Job, PATIENCE};
use crate::harness::{Running, World, leftovers};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;
use std::time::{Duration, Instant};

cases! {
    Guest: a_job, one_that_stays, what_fails;
}

/// What a job of CI does: builds, by both builders; shares its directory, publishes a port, talks by hijacked connections.
fn a_job(world: &World) {
    let job = Job::new(world);
    job.file("file", "text\n");
    job.file(
        "Dockerfile",
        "FROM box AS build\nCOPY file /file\nRUN /bin/cat /file /file > /copy\n\
         FROM box\nCOPY --from=build /copy /copy\nCMD [\"/bin/cat\", \"/copy\"]\n",
    );
    let script = format!(
        "{BOX}
         DOCKER_BUILDKIT=0 docker build --quiet --tag old . > made && docker run --rm old
         DOCKER_BUILDKIT=1 docker build --quiet --tag new . > made && docker run --rm new
         docker run --rm -v $PWD:/src box sh -c 'cat /src/file; echo back > /src/back'; cat back
         docker run --detach --publish 127.0.0.1::80 --name web -v $PWD:/www box httpd -f -p 80 -h /www > made
         port=$(docker port web 80 | sed s/.*://)
         for it in $(seq 100); do busybox wget -q -O - http://127.0.0.1:$port/file && break; sleep 0.2; done
         echo heard | docker run --rm --interactive box cat
         yes | head -c 3000000 | docker run --rm --interactive box wc -c
         docker exec web sh -c 'echo out; echo err >&2; exit 9' 2> errors || echo ended with $?; cat errors
         docker cp web:/www/file copied && cat copied
         docker save old | tar -t | grep -c layer.tar
         exit 7"
    );
    let output = job.begin(&[], &script).wait_within(PATIENCE);
    output.exits(7);
    let expected =
        "text\ntext\ntext\ntext\ntext\nback\ntext\nheard\n3000000\nout\nended with 9\nerr\ntext\n2";
    assert_eq!(output.text(), expected, "{}", output.stderr);
    assert!(job.is_left().is_empty(), "{:?}", job.is_left());
}

/// Started once, used by many, with what is kept in a volume; and begun again with that.
fn one_that_stays(world: &World) {
    let job = Job::new(world);
    let run = |before: &[&str], after: &[&str]| {
        Running::start(job.program(before, after), None).wait_within(PATIENCE)
    };
    run(&["docker", "status"], &[]).exits(1).shows("not running");
    run(&["docker", "stop"], &[])
        .exits(125)
        .complains(&["no Docker daemon called", "docker start"]);
    run(&["docker", "shell"], &["--", "true"]).exits(125).complains(&["no Docker daemon called"]);
    let start = [&job.daemon()[..], &["--cache", "layers"]].concat();
    let said = run(&["docker", "start"], &start).exits(0).text();
    assert!(said.starts_with("export DOCKER_HOST='unix:///") && said.ends_with(".sock'"), "{said}");
    assert_eq!(run(&["docker", "start"], &start).exits(0).text(), said, "one is enough");
    run(&["docker", "status"], &[]).exits(0).shows("running, answers");
    let mut evaluated = job.program(&[], &[]);
    let path = evaluated.get_envs().find(|it| it.0 == "PATH").unwrap().1.unwrap().to_owned();
    evaluated = Command::new("sh");
    let script = format!("{said}; {BOX}; docker images --quiet | wc -l");
    evaluated.args(["-ec", &script]).env("PATH", path).current_dir(&job.directory);
    Running::start(evaluated, None).wait().prints("1");
    run(&["docker", "shell"], &["--", "docker", "run", "--rm", "box", "true"]).exits(0);
    run(&["docker", "shell"], &["--", "sh", "-c", "exit 5"]).exits(5);
    run(&["docker", "stop"], &[]).exits(0);
    run(&["docker", "status"], &[]).exits(1);
    assert!(job.is_left().is_empty());
    let again = job.begin(&["--cache", "layers"], "docker run --rm box cat /bin/busybox | wc -c");
    let length = std::fs::metadata(job.directory.join("box/bin/busybox")).unwrap().len();
    again.wait_within(PATIENCE).prints(&length.to_string());
}

/// Whatever goes wrong, it is said, and nothing is left.
fn what_fails(world: &World) {
    let job = Job::new(world);
    let run = |after: &[&str]| {
        Running::start(job.program(&["docker"], after), None).wait_within(PATIENCE)
    };
    run(&job.daemon()).exits(125).complains(&["no command to run", "cofferdam docker -- "]);
    let other = ["--quiet", "--accel", world.accelerator.name(), "--image", &world.images.plain];
    run(&[&other[..], &["--", "true"]].concat())
        .exits(125)
        .complains(&["cannot start the container"]);
    let wrong = [&job.daemon()[..], &["--daemon-arg=--nonsense", "--", "true"]].concat();
    let output = run(&wrong);
    let said = &output.exits(125).stderr;
    assert!(said.contains("unknown flag: --nonsense"), "{said}");
    assert!(said.ends_with("the Docker daemon ended before it answered\n"), "{said}");
    assert!(job.is_left().is_empty());
    let (flags, patience) =
        job.daemon().split_last().map(|(last, rest)| (rest.to_vec(), *last)).unwrap();
    assert!(patience.starts_with("--start-timeout="));
    let late = run(&[&flags[..], &["--start-timeout=1", "--", "true"]].concat());
    assert!(late.exits(125).stderr.contains("did not answer within 1 s\n"), "{late:?}");
    run(&[&job.daemon()[..], &["--", "/nowhere"]].concat()).exits(127).complains(&["/nowhere"]);
    assert!(job.is_left().is_empty());
    // What asks it to end asks the command; and where it is killed, its daemon ends.
    for (signal, code) in [(Signal::TERM, 3), (Signal::KILL, -9)] {
        let script = "trap 'exit 3' TERM; touch up; while :; do sleep 0.1; done";
        let running = job.begin(&[], script);
        let up = job.directory.join("up");
        let deadline = Instant::now() + PATIENCE;
        while !up.exists() {
            assert!(Instant::now() < deadline, "it does not begin");
            std::thread::sleep(Duration::from_millis(100));
        }
        std::fs::remove_file(up).unwrap();
        let family = leftovers::family(running.pid());
        running.signal(signal);
        if signal == Signal::KILL {
            // The command is nobody's any more, and has the streams.
            for it in family.iter().filter(|it| is_shell(it.pid)) {
                let _ = kill_process(pid(it.pid), Signal::KILL);
            }
        }
        running.wait_within(PATIENCE).exits(code);
        leftovers::all_gone(&family);
        assert!(job.is_left().is_empty());
    }
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed()).unwrap()
}

fn is_shell(number: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default();
    matches!(name.trim(), "sh" | "sleep")
}
