//! A machine's threads: all made before its guest runs, idle until they are handed work.
//!
//! Owns: what kinds of thread there are, and crews of them. Never does: decide what a kind may ask of
//! the kernel; the program around this crate says so, by what it has each thread go through first
//! ([`Threads::confined_by`]).
//!
//! ```text
//!   before the guest:  Crew::start ──▶ threads ── confine(kind) ──▶ idle
//!   while it runs:     Tasks::hand(work) ──▶ one of them does it ──▶ Working::join ──▶ idle again
//! ```
//! So a guest that resets its devices for ever makes no thread, and whoever has taken a thread over finds a
//! process that needs to make none.

use crate::sys::ThreadId;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

/// What a thread is for, and so what it may ask of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThreadKind {
    /// Waits for the machine's end: the thread that called [`crate::Vm::run`], or
    /// [`crate::vhost_user_devices::VhostUserDevices::wait`].
    Main,
    /// Runs a vCPU.
    Vcpu,
    /// Serves a disk.
    Block,
    /// Serves the socket device.
    Vsock,
    /// Serves the entropy source.
    Entropy,
    /// Serves the network device.
    Net,
    /// Serves a file system.
    FileSystem,
    /// Hears what QEMU asks of a device.
    Connection,
}

impl ThreadKind {
    /// The name its threads go by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Vcpu => "vcpu",
            Self::Block => "block",
            Self::Vsock => "vsock",
            Self::Entropy => "entropy",
            Self::Net => "net",
            Self::FileSystem => "file-system",
            Self::Connection => "vhost-user",
        }
    }
}

/// How threads are started.
#[derive(Debug, Clone, Copy)]
pub struct Threads {
    confine: fn(ThreadKind),
}

impl Threads {
    /// Each goes through `confine` before it does anything else. It ends the process where it cannot
    /// confine: a thread that came back from it is confined.
    pub fn confined_by(confine: fn(ThreadKind)) -> Self {
        Self { confine }
    }

    /// Without any confinement: for tests, and programs that confine themselves otherwise.
    pub fn unconfined() -> Self {
        Self { confine: |_| {} }
    }

    /// Confines the calling thread.
    pub(crate) fn confine(self, kind: ThreadKind) {
        (self.confine)(kind);
    }
}

thread_local! {
    static OWN_ID: Cell<Option<ThreadId>> = const { Cell::new(None) };
}

/// The calling thread's id, where it is one of a crew.
pub(crate) fn own_id() -> Option<ThreadId> {
    OWN_ID.get()
}

/// Threads of one kind. Dropping it lets each end when it has no more to do, and waits for none.
#[derive(Debug)]
pub(crate) struct Crew(Tasks);

/// What a crew's threads take their work from.
#[derive(Debug, Clone)]
pub(crate) struct Tasks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Box<dyn FnOnce() + Send>>,
    closed: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Crew {
    /// Starts so many threads of a kind.
    ///
    /// # Errors
    /// Where one cannot be started: the others end then.
    pub(crate) fn start(threads: Threads, kind: ThreadKind, count: usize) -> io::Result<Self> {
        let tasks = Tasks(Arc::default());
        let crew = Self(tasks.clone());
        for _ in 0..count {
            let tasks = tasks.clone();
            Builder::new().name(kind.name().to_owned()).spawn(move || {
                OWN_ID.set(Some(ThreadId::of_caller()));
                threads.confine(kind);
                tasks.work();
            })?;
        }
        Ok(crew)
    }

    /// What its threads take their work from.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.0.wake.notify_all();
    }
}

impl Tasks {
    /// Has a thread do this, as soon as one is idle.
    pub(crate) fn hand<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Working<T> {
        let done = Arc::new(Done { result: Mutex::new(None), told: Condvar::new() });
        let teller = Arc::clone(&done);
        self.lock().waiting.push_back(Box::new(move || {
            // Whatever `work` held is dropped before anybody is told.
            let result = catch_unwind(AssertUnwindSafe(work)).ok();
            *teller.lock() = Some(result);
            teller.told.notify_all();
        }));
        self.0.wake.notify_one();
        Working(done)
    }

    fn work(&self) {
        while let Some(task) = self.next() {
            task();
        }
    }

    fn next(&self) -> Option<Box<dyn FnOnce() + Send>> {
        let mut queue = self.lock();
        loop {
            match queue.waiting.pop_front() {
                Some(task) => return Some(task),
                None if queue.closed => return None,
                None => queue = self.0.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// No step under the lock leaves half of a change, whatever panics.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that a thread has been handed.
#[derive(Debug)]
pub(crate) struct Working<T>(Arc<Done<T>>);

#[derive(Debug)]
struct Done<T> {
    /// `Some(None)` where the work panicked.
    result: Mutex<Option<Option<T>>>,
    told: Condvar,
}

impl<T> Done<T> {
    fn lock(&self) -> MutexGuard<'_, Option<Option<T>>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Working<T> {
    /// Waits until it is done. `None` where it panicked.
    pub(crate) fn join(self) -> Option<T> {
        let mut result = self.0.lock();
        loop {
            if let Some(result) = result.take() {
                return result;
            }
            result = self.0.told.wait(result).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::resume_unwind;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn work_is_done_on_the_same_threads_again_and_again() {
        let crew = Crew::start(Threads::unconfined(), ThreadKind::Block, 2).unwrap();
        let ids = |()| crew.tasks().hand(|| std::thread::current().id());
        let seen: std::collections::HashSet<_> = (0..50).map(|_| ids(()).join().unwrap()).collect();
        assert!((1..=2).contains(&seen.len()), "{} threads", seen.len());
        assert!(!seen.contains(&std::thread::current().id()));
    }

    #[test]
    fn as_many_work_at_once_as_there_are() {
        let crew = Crew::start(Threads::unconfined(), ThreadKind::Block, 3).unwrap();
        let together = Arc::new(std::sync::Barrier::new(3));
        let work = (0..3).map(|_| {
            let together = Arc::clone(&together);
            crew.tasks().hand(move || _ = together.wait())
        });
        for working in work.collect::<Vec<_>>() {
            assert_eq!(working.join(), Some(()));
        }
    }

    #[test]
    fn a_panic_is_told_and_its_thread_goes_on() {
        let crew = Crew::start(Threads::unconfined(), ThreadKind::Vsock, 1).unwrap();
        let panicking = crew.tasks().hand(|| resume_unwind(Box::new("as a panic does")));
        assert_eq!(panicking.join(), None::<()>);
        assert_eq!(crew.tasks().hand(|| 7).join(), Some(7));
    }

    #[test]
    fn each_thread_is_confined_before_its_first_work() {
        static CONFINED: AtomicUsize = AtomicUsize::new(0);
        fn confine(kind: ThreadKind) {
            assert_eq!(kind, ThreadKind::Entropy);
            assert!(own_id().is_some(), "it knows itself before it may not ask any more");
            CONFINED.fetch_add(1, Ordering::SeqCst);
        }
        let crew = Crew::start(Threads::confined_by(confine), ThreadKind::Entropy, 1).unwrap();
        let seen = crew.tasks().hand(|| CONFINED.load(Ordering::SeqCst));
        assert_eq!(seen.join(), Some(1));
    }

    #[test]
    fn what_was_handed_over_is_done_though_the_crew_is_gone() {
        let crew = Crew::start(Threads::unconfined(), ThreadKind::Block, 1).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let work = (0..10).map(|_| {
            let count = Arc::clone(&count);
            crew.tasks().hand(move || _ = count.fetch_add(1, Ordering::SeqCst))
        });
        let work: Vec<_> = work.collect();
        drop(crew);
        assert!(work.into_iter().all(|working| working.join().is_some()));
        assert_eq!(count.load(Ordering::SeqCst), 10);
    }
}
