//! What the kernel itself can tell, where this user may ask it (tracefs, which is root's): KVM's exits by reason, and
//! which of its functions ran, for this process's children. Everything is asked in an instance of its own, which others'
//! tracing does not see and which goes with this.

use super::SurfaceError;
use crate::bench::start::StartError;
use ::bench::Counts;
use rustix::fs::{Access, access};
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const INSTANCES: &str = "/sys/kernel/tracing/instances";
/// What an instance of ours begins with; the process's number follows.
const PREFIX: &str = "cofferdam-bench-";
/// One processor's buffer, KiB.
const BUFFER_KIB: &str = "16384";
/// More names than this has no kernel.
const MAX_FUNCTIONS: usize = 1 << 20;
/// How long a reader waits where there is nothing to read.
const PAUSE: Duration = Duration::from_millis(5);

/// An instance of the kernel's tracing.
#[derive(Debug)]
pub struct Tracing {
    place: PathBuf,
}

/// What went wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum TracingError {
    /// A file of it.
    #[error("cannot use {0:?}")]
    File(PathBuf, #[source] io::Error),
    /// Its buffer was too small.
    #[error("the kernel dropped {0} events: what is left says too little")]
    Dropped(u64),
    /// Nobody read what it said.
    #[error("the reader of the trace is gone")]
    Reader,
}

impl Tracing {
    /// Begins, where this user may.
    pub fn begin() -> Option<Self> {
        let instances = Path::new(INSTANCES);
        access(instances, Access::WRITE_OK).ok()?;
        sweep(instances);
        let place = instances.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&place).ok()?;
        let tracing = Self { place };
        tracing.write("buffer_size_kb", BUFFER_KIB).ok()?;
        Some(tracing)
    }

    /// Whether the kernel can tell of KVM's exits: where KVM is loaded.
    pub fn knows_exits(&self) -> bool {
        self.place.join("events/kvm/kvm_exit").is_dir()
    }

    /// How often each reason took KVM out of a guest, while something runs.
    ///
    /// # Errors
    /// Where it fails, or the kernel cannot tell it all.
    pub fn exits(
        &self,
        run: impl Fn() -> Result<Duration, StartError>,
    ) -> Result<Counts, SurfaceError> {
        self.write("trace", "")?;
        self.write("options/event-fork", "1")?;
        self.write("set_event_pid", &std::process::id().to_string())?;
        self.write("events/kvm/kvm_exit/enable", "1")?;
        let ran = run();
        self.write("events/kvm/kvm_exit/enable", "0")?;
        self.write("set_event_pid", "")?;
        ran?;
        let dropped = self.dropped()?;
        if dropped > 0 {
            return Err(TracingError::Dropped(dropped).into());
        }
        Ok(reasons(&self.read("trace")?))
    }

    /// How many different functions of the kernel ran for what something starts.
    ///
    /// # Errors
    /// Where it fails.
    pub fn functions(
        &self,
        run: impl Fn() -> Result<Duration, StartError>,
    ) -> Result<u64, SurfaceError> {
        let myself = std::process::id();
        self.write("trace", "")?;
        self.write("options/function-fork", "1")?;
        self.write("set_ftrace_pid", &myself.to_string())?;
        let is_over = AtomicBool::new(false);
        let (ran, seen) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| self.seen(myself, &is_over));
            let ran = self.write("current_tracer", "function").map_err(SurfaceError::from);
            let ran = ran.and_then(|()| Ok(run()?));
            let stopped = self.write("current_tracer", "nop");
            is_over.store(true, Ordering::Release);
            let seen = reader.join().unwrap_or(Err(TracingError::Reader));
            (ran.and_then(|_| Ok(stopped?)), seen)
        });
        self.write("set_ftrace_pid", "")?;
        ran?;
        Ok(seen?)
    }

    /// Reads the functions' names as they come, until all is over.
    fn seen(&self, myself: u32, is_over: &AtomicBool) -> Result<u64, TracingError> {
        let path = self.place.join("trace_pipe");
        let failed = |error| TracingError::File(path.clone(), error);
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let mut pipe =
            OpenOptions::new().read(true).custom_flags(nonblocking).open(&path).map_err(failed)?;
        let mut names = HashSet::new();
        let mut buffer = vec![0; 1 << 16];
        let mut rest = Vec::new();
        loop {
            // Asked before reading: whatever comes later than this was traced after the end.
            let last = is_over.load(Ordering::Acquire);
            match pipe.read(&mut buffer) {
                Ok(count) if count > 0 => {
                    rest.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    take_names(&mut rest, myself, &mut names);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(failed(error));
                }
                _ if last => return Ok(names.len() as u64),
                _ => std::thread::sleep(PAUSE),
            }
        }
    }

    /// What did not fit into the buffers.
    fn dropped(&self) -> Result<u64, TracingError> {
        let processors = self.place.join("per_cpu");
        let failed = |error| TracingError::File(processors.clone(), error);
        let mut dropped = 0u64;
        for processor in fs::read_dir(&processors).map_err(failed)? {
            let name = processor.map_err(failed)?.file_name();
            let stats = self.read(&format!("per_cpu/{}/stats", name.to_string_lossy()))?;
            let overrun = stats.lines().find_map(|line| line.strip_prefix("overrun:"));
            dropped =
                dropped.saturating_add(overrun.and_then(|it| it.trim().parse().ok()).unwrap_or(0));
        }
        Ok(dropped)
    }

    fn read(&self, file: &str) -> Result<String, TracingError> {
        let path = self.place.join(file);
        fs::read_to_string(&path).map_err(|error| TracingError::File(path, error))
    }

    /// In one call of write, as tracefs has it.
    fn write(&self, file: &str, text: &str) -> Result<(), TracingError> {
        let path = self.place.join(file);
        // An empty text is written by the truncation that comes first.
        let write = || -> io::Result<()> {
            let mut file = File::create(&path)?;
            if text.is_empty() { Ok(()) } else { io::Write::write_all(&mut file, text.as_bytes()) }
        };
        write().map_err(|error| TracingError::File(path.clone(), error))
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // It is busy as long as it traces.
        let _ = self.write("current_tracer", "nop");
        let _ = fs::remove_dir(&self.place);
    }
}

/// Removes what processes that are gone left behind.
fn sweep(instances: &Path) {
    let Ok(entries) = fs::read_dir(instances) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if process.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = fs::write(entry.path().join("current_tracer"), "nop");
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// `… kvm_exit: vcpu 0 reason EXIT_NPF rip …`, of Intel and AMD.
fn reasons(trace: &str) -> Counts {
    let mut counts = Counts::new();
    for line in trace.lines() {
        let Some((_, rest)) = line.split_once(" kvm_exit: ") else { continue };
        let Some((_, rest)) = rest.split_once("reason ") else { continue };
        let reason = rest.split(|it: char| !it.is_ascii_alphanumeric() && it != '_').next();
        if let Some(reason) = reason.filter(|it| !it.is_empty()) {
            *counts.entry(reason.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Takes the functions out of whole lines, `comm-PID [CPU] flags time: function <-caller`; this process's own are left out.
fn take_names(lines: &mut Vec<u8>, myself: u32, names: &mut HashSet<String>) {
    let Some(end) = lines.iter().rposition(|byte| *byte == b'\n') else { return };
    let whole: Vec<u8> = lines.drain(..=end).collect();
    let mine = format!("-{myself} ");
    for line in String::from_utf8_lossy(&whole).lines() {
        let Some((before, rest)) = line.rsplit_once(": ") else { continue };
        let Some((name, _)) = rest.split_once(" <-") else { continue };
        if !before.contains(&mine) && names.len() < MAX_FUNCTIONS && !names.contains(name) {
            names.insert(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_counted_by_reason() {
        let trace = "\
# tracer: nop
          vcpu-175     [000] d..1.    55.1: kvm_exit: vcpu 0 reason npf rip 0xffff info1 0x1
          vcpu-175     [000] d..1.    55.2: kvm_exit: vcpu 0 reason EPT_VIOLATION rip 0xffff
          vcpu-175     [000] d..1.    55.3: kvm_entry: vcpu 0, rip 0xffff
          vcpu-175     [000] d..1.    55.4: kvm_exit: vcpu 0 reason npf rip 0xffff
";
        let expected = [("EPT_VIOLATION".to_owned(), 1), ("npf".to_owned(), 2)];
        assert_eq!(reasons(trace).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn functions_of_others_are_taken_line_by_line() {
        let (mut names, mut lines) = (HashSet::new(), Vec::new());
        lines.extend_from_slice(
            b"  sh-12 [000] ..... 1.0: vfs_read <-ksys_read\nCPU:0 [LOST 3 EVENTS]\n cofferdam-7 [001] ..... 1.1: do_poll <-x\n sh-12 [00",
        );
        take_names(&mut lines, 7, &mut names);
        assert_eq!(names, HashSet::from(["vfs_read".to_owned()]));
        lines.extend_from_slice(b"1] ..... 1.2: vfs_write <-ksys_write\n");
        take_names(&mut lines, 7, &mut names);
        assert_eq!(names.len(), 2);
        assert!(lines.is_empty());
    }
}
