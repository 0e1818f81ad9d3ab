//! The canary: a process with files of its own that says, each time it is asked, all that it can tell of
//! how it and its place are. What it says before and after a deed differs where the deed has hurt it.
//!
//! Owns: the song. Never does: judges one; who asks compares two.
//!
//! ```text
//!   in:  sing                   out: song count=1 pid=7 boot=… name=… clock=… files=… memory=ok …
//!   in:  do                     starts the deed beside it, in the same place
//! ```

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What it takes for a moment, so that it notices where there is none left: the largest of a place in which
/// many small ones want all there is.
const MEMORY_BYTES: usize = 24 << 20;
/// What it writes, and removes again.
const FILE_BYTES: usize = 256 << 10;
const OWN_FILES: [&str; 3] = ["egg", "straw", "twigs/leaf"];
const OWN_FILE_BYTES: u64 = 64 << 10;

/// Makes its files below a directory that is not there yet, and sings until nobody asks any more.
pub fn live(directory: &Path, deed: &[&str]) -> io::Result<()> {
    make_files(directory)?;
    let mut count = 0u64;
    for line in io::stdin().lines() {
        match line?.as_str() {
            "sing" => {
                count += 1;
                let mut out = io::stdout().lock();
                writeln!(out, "{}", song(directory, count))?;
                out.flush()?;
            }
            "do" => start(deed, directory)?,
            other => return Err(io::Error::other(format!("no such order: {other:?}"))),
        }
    }
    Ok(())
}

/// Files that nobody else may read, of bytes that nobody knows.
fn make_files(directory: &Path) -> io::Result<()> {
    for path in OWN_FILES.map(|name| directory.join(name)) {
        let parent = path.parent().unwrap_or(directory);
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        let mut noise = Vec::new();
        File::open("/dev/urandom")?.take(OWN_FILE_BYTES).read_to_end(&mut noise)?;
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&noise)?;
        file.sync_all()?;
    }
    Ok(())
}

fn start(deed: &[&str], directory: &Path) -> io::Result<()> {
    let [program, arguments @ ..] = deed else {
        return Err(io::Error::other("there is no deed to do"));
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(io::stderr());
    command.env("CANARY", directory).env("CANARY_PID", std::process::id().to_string());
    // Nobody waits for it: whoever is PID 1 does.
    command.spawn().map(drop)
}

fn song(directory: &Path, count: u64) -> String {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let (boot, name) = (text("/proc/sys/kernel/random/boot_id"), text("/proc/sys/kernel/hostname"));
    format!(
        "song count={count} pid={} boot={boot} name={name} clock={} files={} memory={} forks={} writes={}",
        std::process::id(),
        clock(),
        word(digest(directory).map(|digest| format!("{digest:016x}"))),
        word(take_memory()),
        word(fork().map(|()| "ok".to_owned())),
        word(write(directory).map(|()| "ok".to_owned())),
    )
}

/// One word, whatever came of it.
fn word(outcome: io::Result<String>) -> String {
    outcome.unwrap_or_else(|error| match error.raw_os_error() {
        Some(number) => format!("error-{number}"),
        None => error.to_string().replace(char::is_whitespace, "-"),
    })
}

/// When this machine was booted, by its own clocks, in seconds.
fn clock() -> i64 {
    use rustix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::Realtime).tv_sec - clock_gettime(ClockId::Boottime).tv_sec
}

/// Of every file's name, mode, owner and bytes: those that are on the disk, not those in memory.
fn digest(directory: &Path) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    let mut waiting: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        let of = fs::symlink_metadata(&path)?;
        (&path, of.mode(), of.uid(), of.gid()).hash(&mut hasher);
        if of.is_dir() {
            let mut entries =
                fs::read_dir(&path)?.map(|it| Ok(it?.path())).collect::<io::Result<Vec<_>>>()?;
            entries.sort();
            waiting.extend(entries);
        } else {
            let mut file = File::open(&path)?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            bytes.hash(&mut hasher);
        }
    }
    Ok(hasher.finish())
}

fn take_memory() -> io::Result<String> {
    let mut memory: Vec<u8> = Vec::new();
    memory.try_reserve_exact(MEMORY_BYTES).map_err(io::Error::other)?;
    memory.resize(MEMORY_BYTES, 1);
    let sum: u64 = memory.iter().step_by(4096).map(|byte| u64::from(*byte)).sum();
    Ok(if sum == (MEMORY_BYTES / 4096) as u64 { "ok" } else { "changed" }.to_owned())
}

fn fork() -> io::Result<()> {
    let mut command = Command::new("/proc/self/exe");
    let status = command.arg("nothing").stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

/// Beside the directory, which itself stays as it is.
fn write(directory: &Path) -> io::Result<()> {
    let path = directory.with_extension("new");
    let mut file = File::create(&path)?;
    let written = file.write_all(&vec![b'x'; FILE_BYTES]).and_then(|()| file.sync_all());
    fs::remove_file(&path)?;
    written
}
