//! Several processes at one store. Each test is both halves: what orders, and the process of itself
//! that it starts for it.

use super::{Here, Merged, check, layer_error, layers, merged, oci_files, run, write_files};
use crate::layer::{MergeJob, UnpackJob, UnpackReport};
use crate::prepare::{LayerError, UnpackFailure, Unpacker};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

const ORDER: &str = "COFFERDAM_TEST_ORDER";

/// This test in a process of its own, which finds an image in `directory` and its store too.
fn process(test: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = format!("prepare::tests::processes::{test}");
    command.args(["--exact", &test, "--nocapture"]).env(ORDER, directory);
    command
}

/// In such a process: the image's reference, and the directory.
fn ordered() -> Option<(String, PathBuf)> {
    let directory = PathBuf::from(std::env::var_os(ORDER)?);
    Some((format!("oci:{}", directory.display()), directory))
}

/// Both halves: this test, and the process that it starts of itself and kills.
#[test]
fn a_kill_leaves_nothing() {
    struct Stuck;
    impl Unpacker for Stuck {
        fn unpack(
            &self,
            _: &UnpackJob,
            _: &File,
            mut output: &File,
        ) -> Result<UnpackReport, UnpackFailure> {
            output.write_all(&[1; 4096]).unwrap();
            println!("stuck");
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }

        fn merge(&self, job: &MergeJob, layers: &[&File], output: &File) -> Merged {
            merged(job, layers, output)
        }
    }
    if let Some((reference, directory)) = ordered() {
        let _ = run(&reference, &directory, &Stuck);
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    write_files(scratch.path(), &oci_files(&layers()));
    let mut victim = process("a_kill_leaves_nothing", scratch.path());
    let mut victim = victim.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = Vec::new();
    let mut stdout = victim.stdout.take().unwrap();
    while !output.ends_with(b"stuck\n") {
        let mut byte = [0];
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "the victim ended");
        output.extend(byte);
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    let reference = format!("oci:{}", scratch.path().display());
    let unpacker = Here::default();
    check(
        run(&reference, scratch.path(), &unpacker).unwrap(),
        &layers().iter().collect::<Vec<_>>(),
    );
    assert_eq!(unpacker.calls.load(Ordering::Relaxed), 3);
    assert_eq!(fs::read_dir(scratch.path().join("store/partial")).unwrap().count(), 0);
}

/// Whoever comes while another makes a layer waits for it.
#[test]
fn processes_share_the_work() {
    struct Slow(PathBuf);
    impl Unpacker for Slow {
        fn unpack(
            &self,
            job: &UnpackJob,
            input: &File,
            output: &File,
        ) -> Result<UnpackReport, UnpackFailure> {
            tempfile::NamedTempFile::new_in(&self.0).unwrap().keep().unwrap();
            std::thread::sleep(Duration::from_millis(200));
            Ok(crate::layer::unpack(job, input, output)?)
        }

        fn merge(&self, job: &MergeJob, layers: &[&File], output: &File) -> Merged {
            merged(job, layers, output)
        }
    }
    if let Some((reference, directory)) = ordered() {
        let image = run(&reference, &directory, &Slow(directory.join("calls"))).unwrap();
        check(image, &layers().iter().collect::<Vec<_>>());
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    write_files(scratch.path(), &oci_files(&layers()));
    fs::create_dir(scratch.path().join("calls")).unwrap();
    let start = |_| process("processes_share_the_work", scratch.path()).spawn().unwrap();
    let processes: Vec<_> = (0..4).map(start).collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(fs::read_dir(scratch.path().join("calls")).unwrap().count(), 3);
    assert_eq!(fs::read_dir(scratch.path().join("store/partial")).unwrap().count(), 0);
}

/// A machine that has no more threads to give is an error, not the process's end.
#[test]
fn a_refused_thread_is_an_error() {
    if let Some((reference, directory)) = ordered() {
        // Room for what little is done before, but for no thread's stack.
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
        let most = Some(pages * 4096 + (1 << 20));
        setrlimit(Resource::As, Rlimit { current: most, maximum: most }).unwrap();
        let error = layer_error(run(&reference, &directory, &Here::default()).unwrap_err());
        assert!(matches!(error, LayerError::Thread(_)), "{error:?}");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    write_files(scratch.path(), &oci_files(&layers()));
    let status = process("a_refused_thread_is_an_error", scratch.path()).status().unwrap();
    assert!(status.success());
}
