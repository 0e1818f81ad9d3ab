//! `cofferdam stats`: what sandboxes use that run, as `docker stats` shows it; and what their machines take.
//!
//! Owns: the rates, which are what two looks differ by. Never does: measure; each sandbox's supervisor knows what its guest
//! and its network say, and this machine's kernel what its processes take.

use crate::cli::stats::StatsArgs;
use crate::control::{ControlError, RunningSandbox};
use crate::error::Failure;
use crate::host::family::{self, Taken};
use crate::jail::channel::ChannelError;
use crate::pull::progress::bytes;
use crate::session::{ControlRequest, Measured, SupervisorMessage};
use crate::state::Sandboxes;
use crate::table::{shortened, table};
use rustix::event::PollFlags;
use rustix::termios::isatty;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long a look takes at the least.
const BETWEEN: Duration = Duration::from_secs(1);
/// How long sandboxes may take to answer: a guest may have other things to do, or mean ill.
const PATIENCE: Duration = Duration::from_secs(10);

/// A sandbox that is looked at.
struct Looked {
    name: Option<String>,
    running: RunningSandbox,
    supervisor: Option<u32>,
    before: Option<Look>,
}

/// What it was at a moment.
#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    measured: Measured,
    taken: Taken,
}

/// What is shown of a sandbox, every figure as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Figures {
    sandbox: String,
    name: Option<String>,
    /// Of one CPU, in hundredths: the container's processes, in the guest.
    cpu_percent: f64,
    /// The same of all that the sandbox is made of, in this machine.
    machine_cpu_percent: f64,
    memory_bytes: u64,
    memory_max_bytes: u64,
    guest_bytes: u64,
    guest_available_bytes: u64,
    /// Of all that the sandbox is made of, in this machine: the guest's memory in it.
    machine_memory_bytes: u64,
    tasks: u64,
    read_bytes: u64,
    written_bytes: u64,
    network: Option<NetworkFigures>,
}

/// What is shown of a sandbox's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct NetworkFigures {
    received_bytes: u64,
    received_frames: u64,
    sent_bytes: u64,
    sent_frames: u64,
    flows: u64,
    most_flows: u64,
    begun_flows: u64,
    refused: u64,
    turned_away: u64,
}

/// Shows what sandboxes use, again and again unless it is told otherwise, until none of them runs.
///
/// # Errors
/// Where one that was named does not run; and, after the others have been shown, for one that has not answered.
pub fn stats(args: &StatsArgs) -> Result<(), Failure> {
    let mut all = looked_at(args)?;
    crate::jail::confine_launcher(false).map_err(Failure::plain)?;
    let once = args.no_stream || args.json;
    let mut failed = None;
    // A rate takes two looks.
    look(&mut all, &mut failed);
    loop {
        std::thread::sleep(BETWEEN);
        let figures = look(&mut all, &mut failed);
        let text = match args.json {
            true => serde_json::to_string_pretty(&figures).map_err(Failure::plain)? + "\n",
            false => shown(&figures),
        };
        let over = !once && isatty(rustix::stdio::stdout());
        // From the top of the screen, which is cleared.
        crate::command::print(&if over { format!("\x1b[H\x1b[J{text}") } else { text })?;
        if once || all.is_empty() {
            return failed.map_or(Ok(()), |error| Err(error.into()));
        }
    }
}

fn looked_at(args: &StatsArgs) -> Result<Vec<Looked>, Failure> {
    let sandboxes = Sandboxes::open(&args.state_dir)?;
    let wanted: Vec<String> = match args.sandboxes.as_slice() {
        [] => {
            crate::sandboxes::sweep(&sandboxes)?;
            let records = sandboxes.list()?.into_iter();
            records.filter(|it| !it.status.is_final()).map(|it| it.id.to_string()).collect()
        }
        named => named.to_vec(),
    };
    let mut all = Vec::new();
    for wanted in wanted {
        let name = sandboxes.record_of(&wanted)?.name;
        let running = match RunningSandbox::reach(&args.state_dir, &wanted) {
            // It has ended since, or has only begun.
            Err(_) if args.sandboxes.is_empty() => continue,
            running => running?,
        };
        let supervisor = running.supervisor();
        all.push(Looked { name, running, supervisor, before: None });
    }
    Ok(all)
}

/// Looks at all; gives what each has done since the last look. Those that have ended, or do not answer, are left out from
/// then on; why the first does not is in `failed`.
fn look(all: &mut Vec<Looked>, failed: &mut Option<ControlError>) -> Vec<Figures> {
    for looked in all.iter() {
        // That it is gone is heard where it is to answer.
        let _ = looked.running.ask(&ControlRequest::Measure, &[]);
    }
    let mut figures = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    all.retain_mut(|looked| match looked.look(deadline) {
        Ok(it) => {
            figures.extend(it);
            true
        }
        Err(ControlError::Lost(_)) => false,
        Err(error) => {
            failed.get_or_insert(error);
            false
        }
    });
    figures
}

impl Looked {
    /// What it has done since it was looked at before, if it was; until then it is waited for.
    fn look(&mut self, deadline: Instant) -> Result<Option<Figures>, ControlError> {
        let late = || ControlError::Silent(self.running.id().clone(), PATIENCE.as_secs());
        let channel = self.running.channel();
        if !crate::wait::ready_by(channel, PollFlags::IN, deadline).unwrap_or(true) {
            return Err(late());
        }
        let measured = match self.running.hear::<SupervisorMessage>()?.0 {
            SupervisorMessage::Measured(measured) => *measured,
            _ => return Err(self.running.failed(ChannelError::Closed)),
        };
        let taken = self.supervisor.map(family::taken).unwrap_or_default();
        let look = Look { at: Instant::now(), measured, taken };
        let before = self.before.replace(look);
        let (id, name) = (self.running.id().to_string(), self.name.clone());
        Ok(before.map(|before| Figures::of((id, name), &before, &look)))
    }
}

impl Figures {
    fn of((sandbox, name): (String, Option<String>), before: &Look, now: &Look) -> Self {
        let usage = now.measured.usage;
        let seconds = (now.at - before.at).as_secs_f64().max(f64::EPSILON);
        let cpu_ns = usage.cpu_ns.saturating_sub(before.measured.usage.cpu_ns);
        let ticks = now.taken.ticks.saturating_sub(before.taken.ticks);
        #[allow(clippy::cast_precision_loss, reason = "hundredths are shown")]
        let percent = |part: u64, whole: u64| 100.0 * part as f64 / whole as f64 / seconds;
        Self {
            sandbox,
            name,
            cpu_percent: percent(cpu_ns, 1_000_000_000),
            machine_cpu_percent: percent(ticks, family::TICKS_PER_SECOND),
            memory_bytes: usage.memory_bytes,
            memory_max_bytes: usage.memory_max.unwrap_or(usage.guest_bytes),
            guest_bytes: usage.guest_bytes,
            guest_available_bytes: usage.guest_available_bytes,
            machine_memory_bytes: now.taken.memory_bytes,
            tasks: usage.tasks,
            read_bytes: usage.read_bytes,
            written_bytes: usage.written_bytes,
            network: now.measured.network.map(|it| NetworkFigures {
                received_bytes: it.received.bytes,
                received_frames: it.received.frames,
                sent_bytes: it.sent.bytes,
                sent_frames: it.sent.frames,
                flows: it.flows,
                most_flows: it.most_flows,
                begun_flows: it.begun,
                refused: it.refused,
                turned_away: it.turned_away,
            }),
        }
    }
}

fn shown(figures: &[Figures]) -> String {
    let mut rows = vec![
        [
            "SANDBOX",
            "NAME",
            "CPU",
            "MEMORY / LIMIT",
            "MACHINE",
            "NET IN / OUT",
            "FLOWS",
            "REFUSED",
            "DISK READ / WRITTEN",
            "TASKS",
        ]
        .map(str::to_owned),
    ];
    let pair = |one, other| format!("{} / {}", bytes(one), bytes(other));
    for it in figures {
        let network = it.network;
        let of_network =
            |show: &dyn Fn(NetworkFigures) -> String| network.map_or_else(|| "–".to_owned(), show);
        rows.push([
            it.sandbox.clone(),
            shortened(it.name.as_deref().unwrap_or_default(), 30),
            format!("{:.1} %", it.cpu_percent),
            pair(it.memory_bytes, it.memory_max_bytes),
            format!("{:.1} %, {}", it.machine_cpu_percent, bytes(it.machine_memory_bytes)),
            of_network(&|it| pair(it.received_bytes, it.sent_bytes)),
            of_network(&|it| format!("{} / {}", it.flows, it.most_flows)),
            of_network(&|it| it.refused.saturating_add(it.turned_away).to_string()),
            pair(it.read_bytes, it.written_bytes),
            it.tasks.to_string(),
        ]);
    }
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::{Counts, Passed};
    use protocol::Usage;

    fn look(at: Instant, seconds: u64, network: Option<Counts>) -> Look {
        let usage = Usage {
            cpu_ns: seconds * 500_000_000,
            memory_bytes: 10 << 20,
            guest_bytes: 256 << 20,
            tasks: 3,
            ..Usage::default()
        };
        let ticks = seconds * family::TICKS_PER_SECOND;
        let taken = Taken { ticks, memory_bytes: 60 << 20 };
        let at = at + Duration::from_secs(seconds);
        Look { at, measured: Measured { usage, network }, taken }
    }

    #[test]
    fn rates_are_of_what_passed_between_two_looks() {
        let begun = Instant::now();
        let counts = Counts {
            received: Passed { frames: 1, bytes: 2048 },
            flows: 2,
            most_flows: 100,
            refused: 4,
            turned_away: 1,
            ..Counts::default()
        };
        let whose = || ("ab12".to_owned(), Some("box".to_owned()));
        let figures = Figures::of(whose(), &look(begun, 1, None), &look(begun, 3, Some(counts)));
        assert!((figures.cpu_percent - 50.0).abs() < 0.01, "{figures:?}");
        assert!((figures.machine_cpu_percent - 100.0).abs() < 0.01, "{figures:?}");
        let none = Figures::of(whose(), &look(begun, 1, None), &look(begun, 2, None));
        let text = shown(&[figures, none]);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("   ").map(str::trim).filter(|it| !it.is_empty()).collect())
            .collect();
        assert_eq!(
            lines[1],
            [
                "ab12",
                "box",
                "50.0 %",
                "10.0 MiB / 256 MiB",
                "100.0 %, 60.0 MiB",
                "2.0 KiB / 0 B",
                "2 / 100",
                "5",
                "0 B / 0 B",
                "3"
            ]
        );
        assert_eq!(lines[2][5..8], ["–", "–", "–"]);
    }
}
