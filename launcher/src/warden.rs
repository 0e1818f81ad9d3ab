//! Whoever starts a sandbox again that has ended (`run --detach --restart`): a small process that waits for its supervisor.
//!
//! Owns: when it does, and how long it waits before. Never does: anything else for it. It reads nothing that a guest wrote but
//! an exit code, and is not walled in, because whoever it starts is not yet.
//!
//! ```text
//!   cofferdam run -d --restart …      the warden                    the supervisor
//!      │ ────────────────────────────▶ │ ──────────────────────────▶ │ until its container ends
//!      │ ◀─────────── Started ──────── │ ◀───────── Started ──────── │
//!                                      │ waits; then once more, --again=DIR
//! ```

use crate::cli::RunArgs;
use crate::detached::{self, Launched, Starter, Word};
use crate::error::Failure;
use crate::plan::restart::Restart;
use crate::run::told;
use crate::session::ends_a_process;
use crate::session::signals::Signals;
use crate::state::{Sandboxes, Status};
use protocol::ContainerId;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long it waits before it starts it again: longer each time, until it has run for long enough. Docker's own.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(60)];
const LONG_ENOUGH: Duration = Duration::from_secs(10);

/// What it looks after.
struct Warden {
    policy: Restart,
    state_dir: PathBuf,
    id: ContainerId,
    /// How often it has started it again.
    times: u32,
    pause: Duration,
}

/// Whether one of such words has a policy by which somebody is to look after it.
pub fn is_wanted(args: &RunArgs) -> bool {
    args.restart.as_ref().is_some_and(|text| text.parse() != Ok(Restart::No))
}

/// Starts a sandbox, and starts it again as its policy says. Gives the exit code.
pub fn run(args: &RunArgs) -> u8 {
    let begun = Starter::take(false).and_then(|starter| Ok((starter, begin(args)?)));
    let (starter, (mut warden, mut launched)) = match begun {
        Ok((starter, Ok(begun))) => (starter, begun),
        Ok((starter, Err(ending))) => {
            // Where it says nothing of itself, it has said it already.
            return match ending {
                Ok(ending) => {
                    let code = ending.exit_code;
                    let _ = starter.tell(&Word::Ended(ending));
                    code
                }
                Err(failure) => told(Err(failure)),
            };
        }
        Err(failure) => return told(Err(failure)),
    };
    // From now on nobody is there to be told anything; and whoever reads this process's words is not to wait for it.
    let told_it = starter.tell(&Word::Started(warden.id.clone())).is_ok();
    drop(starter);
    let is_silent = rustix::stdio::dup2_stderr(rustix::stdio::stdout()).is_ok();
    if !(told_it && is_silent) {
        return launched.outlive();
    }
    loop {
        let begun = Instant::now();
        let (code, is_asked) = launched.wait_unless_asked();
        if begun.elapsed() >= LONG_ENOUGH {
            warden.pause = PAUSES[0];
        }
        if is_asked {
            return code;
        }
        launched = match warden.again(code) {
            Some(launched) => launched,
            None => return code,
        };
    }
}

type Begun = Result<(Warden, Launched), Result<crate::session::Ending, Failure>>;

fn begin(args: &RunArgs) -> Result<Begun, Failure> {
    let policy = args.restart.as_deref().unwrap_or_default().parse()?;
    let state_dir = std::path::absolute(&args.state_dir).map_err(Failure::plain)?;
    let before = args.again.iter().map(|directory| detached::again(directory));
    let words = before.chain(detached::words()).collect();
    let mut launched = detached::launch(words, false, None)?;
    Ok(launched.started().map(|id| {
        let (times, pause) = (0, PAUSES[0]);
        (Warden { policy, state_dir, id, times, pause }, launched)
    }))
}

impl Warden {
    /// Starts it again, if that is to be; `None` where nobody is needed any more.
    fn again(&mut self, mut code: u8) -> Option<Launched> {
        loop {
            if !self.is_to_run(code) || !self.waits() || !self.is_to_run(code) {
                return None;
            }
            self.times = self.times.saturating_add(1);
            let directory = crate::state::directory(&self.state_dir, &self.id);
            let words = [vec![detached::again(&directory)], detached::words()].concat();
            let mut launched = detached::launch(words, false, None).ok()?;
            match launched.started() {
                Ok(_) => return Some(launched),
                Err(Ok(ending)) => code = ending.exit_code,
                Err(Err(_)) => code = crate::exit_code::LAUNCHER,
            }
        }
    }

    /// Whether it has ended, by itself, in a way after which it is to be started again.
    fn is_to_run(&self, code: u8) -> bool {
        let record = Sandboxes::open(&self.state_dir).and_then(|sandboxes| {
            // One whose supervisor was killed is known to have ended, then.
            sandboxes.sweep()?;
            sandboxes.record_of(self.id.as_str())
        });
        let has_ended = |status| matches!(status, Status::Exited { .. });
        record.is_ok_and(|record| has_ended(record.status) && !record.stopped)
            && self.policy.applies(code, self.times)
    }

    /// Waits for a while; whether that was all.
    fn waits(&mut self) -> bool {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSES[1]);
        let Ok(signals) = Signals::take() else { return false };
        let deadline = Instant::now() + pause;
        while crate::wait::ready_by(&signals, rustix::event::PollFlags::IN, deadline) == Ok(true) {
            if signals.next().is_some_and(ends_a_process) {
                return false;
            }
        }
        true
    }
}
