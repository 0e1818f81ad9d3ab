//! Which of the host kernel's functions run for a command and all that it starts, by the kernel's own function tracer,
//! where this user may ask it (tracefs, which is root's): nabla's "horizontal attack profile".
//!
//! Everything is asked in an instance of its own, which others' tracing does not see and which goes with this. Never
//! does: reads what the kernel would write as text, which costs more than all that is traced.

use super::ring::{self, MalformedPage};
use crate::bench::start::StartError;
use rustix::fs::{Access, OFlags, access};
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Where tracefs may be mounted.
const INSTANCES: [&str; 2] =
    ["/sys/kernel/tracing/instances", "/sys/kernel/debug/tracing/instances"];
/// What an instance of ours begins with; the process's number follows.
const PREFIX: &str = "cofferdam-bench-";
/// All processors' buffers, KiB.
const BUFFERS_KIB: usize = 64 << 10;
/// One processor's.
const BUFFER_KIB: (usize, usize) = (512, 16 << 10);
/// More functions than this has no kernel.
const MAX_FUNCTIONS: usize = 1 << 20;
/// As large as any page of a trace buffer: one is given at a time.
const PAGE_BYTES: usize = 1 << 16;
/// How long the reader waits where there is nothing to read.
const PAUSE: Duration = Duration::from_millis(5);

/// Why there is no count.
#[derive(Debug, thiserror::Error)]
pub enum TracingError {
    /// A file of tracefs.
    #[error("cannot use {0:?}")]
    File(PathBuf, #[source] io::Error),
    /// What the kernel gave is not what its documentation says.
    #[error(transparent)]
    Page(#[from] MalformedPage),
    /// The buffers were too small.
    #[error("the kernel dropped some of what it traced: what is left says too little")]
    Dropped,
    /// The reader is gone.
    #[error("nobody read what was traced")]
    Reader,
    /// What was to be traced failed.
    #[error(transparent)]
    Run(#[from] StartError),
}

/// An instance of the kernel's tracing.
#[derive(Debug)]
pub struct Tracing(PathBuf);

impl Tracing {
    /// Begins, where this user may; nothing where not.
    pub fn begin() -> Option<Self> {
        let may = |path: &&Path| access(*path, Access::WRITE_OK).is_ok();
        let instances = INSTANCES.map(Path::new).into_iter().find(may)?;
        sweep(instances);
        let place = instances.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&place).ok()?;
        let tracing = Self(place);
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let size = (BUFFERS_KIB / processors).clamp(BUFFER_KIB.0, BUFFER_KIB.1);
        tracing.write("buffer_size_kb", &size.to_string()).ok()?;
        tracing.write("options/function-fork", "1").ok()?;
        // A kernel that is locked down says no to this.
        tracing.write("set_ftrace_pid", &std::process::id().to_string()).ok()?;
        Some(tracing)
    }

    /// How many different functions run for what is started by this thread, which must be the process's first.
    ///
    /// # Errors
    /// Where it fails, or the kernel cannot tell it all.
    pub fn functions(
        &self,
        run: impl FnOnce() -> Result<(), StartError>,
    ) -> Result<u64, TracingError> {
        // Nothing is kept yet; and nobody may change the tracer while others read.
        self.write("tracing_on", "0")?;
        self.write("set_ftrace_pid", "")?;
        self.write("current_tracer", "function")?;
        let readers = self.readers()?;
        let is_over = AtomicBool::new(false);
        let (ran, seen) = thread::scope(|scope| {
            // Before this thread is traced, whose children are traced, too.
            let reader = scope.spawn(|| seen(readers, &is_over));
            let ran = self.traced(run);
            is_over.store(true, Ordering::Release);
            (ran, reader.join().unwrap_or(Err(TracingError::Reader)))
        });
        self.write("current_tracer", "nop")?;
        ran?;
        seen
    }

    fn traced(&self, run: impl FnOnce() -> Result<(), StartError>) -> Result<(), TracingError> {
        self.write("set_ftrace_pid", &std::process::id().to_string())?;
        self.write("tracing_on", "1")?;
        let ran = run();
        self.write("tracing_on", "0")?;
        Ok(ran?)
    }

    /// What each processor traces, from now on.
    fn readers(&self) -> Result<Vec<(PathBuf, File)>, TracingError> {
        let all = self.0.join("per_cpu");
        let failed = |path: &Path| {
            let path = path.to_owned();
            |error| TracingError::File(path, error)
        };
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let mut readers = Vec::new();
        for processor in fs::read_dir(&all).map_err(failed(&all))? {
            let path = processor.map_err(failed(&all))?.path().join("trace_pipe_raw");
            let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(&path);
            readers.push((path.clone(), file.map_err(failed(&path))?));
        }
        Ok(readers)
    }

    /// In one call of write, as tracefs has it; an empty text by the truncation that comes first.
    fn write(&self, file: &str, text: &str) -> Result<(), TracingError> {
        let path = self.0.join(file);
        let written = File::create(&path).and_then(|mut file| match text {
            "" => Ok(()),
            text => file.write_all(text.as_bytes()),
        });
        written.map_err(|error| TracingError::File(path, error))
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // It is busy as long as it traces.
        let _ = self.write("current_tracer", "nop");
        let _ = fs::remove_dir(&self.0);
    }
}

/// Reads what each processor traces until all is over; gives how many functions that are. This process's own are none.
fn seen(mut readers: Vec<(PathBuf, File)>, is_over: &AtomicBool) -> Result<u64, TracingError> {
    let myself = std::process::id();
    let mut functions = HashSet::new();
    let mut page = vec![0; PAGE_BYTES];
    loop {
        // Asked before reading: whatever comes later than this was traced after the end.
        let last = is_over.load(Ordering::Acquire);
        let mut idle = true;
        for (path, file) in &mut readers {
            let count = match file.read(&mut page) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(TracingError::File(path.clone(), error)),
            };
            let bytes = page.get(..count).unwrap_or_default();
            idle &= bytes.is_empty();
            let dropped = ring::calls(bytes, |call| {
                if call.process != myself && functions.len() < MAX_FUNCTIONS {
                    functions.insert(call.function);
                }
            })?;
            if dropped {
                return Err(TracingError::Dropped);
            }
        }
        match (idle, last) {
            (true, true) => return Ok(functions.len() as u64),
            (true, false) => thread::sleep(PAUSE),
            (false, _) => {}
        }
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
