//! `cofferdam events`: what becomes of sandboxes, as `docker events` tells it.
//!
//! Owns: what two looks at the records differ by. Never does: ask a sandbox anything: where no daemon is, what stands in the
//! state directory is all that there is to know. What begins and is gone between two looks is not seen.

use crate::cli::ps::EventsArgs;
use crate::error::Failure;
use crate::state::{Record, Sandboxes, Status, now_ms};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::time::{Duration, UNIX_EPOCH};

/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(200);

/// What has become of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Event {
    time_ms: u64,
    action: String,
    sandbox: String,
    name: Option<String>,
    image: String,
    exit_code: Option<u8>,
}

/// Tells of them until nobody reads any more.
///
/// # Errors
/// Where the state directory cannot be read.
pub fn events(args: &EventsArgs) -> Result<(), Failure> {
    let sandboxes = Sandboxes::open(&args.state_dir)?;
    crate::jail::confine_launcher(false).map_err(Failure::plain)?;
    let look = || -> Result<BTreeMap<_, _>, Failure> {
        // One whose supervisor was killed says so once it is swept.
        crate::sandboxes::sweep(&sandboxes)?;
        Ok(sandboxes.list()?.into_iter().map(|it| (it.id.to_string(), it)).collect())
    };
    let mut before = look()?;
    let mut out = io::stdout().lock();
    loop {
        std::thread::sleep(PAUSE);
        let after = look()?;
        for event in between(&before, &after, now_ms()) {
            let line = match args.json {
                true => serde_json::to_string(&event).map_err(Failure::plain)?,
                false => shown(&event),
            };
            match writeln!(out, "{line}").and_then(|()| out.flush()) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                other => other.map_err(Failure::plain)?,
            }
        }
        before = after;
    }
}

type Looked = BTreeMap<String, Record>;

/// What has become of all of them, sandbox by sandbox. Pure.
fn between(before: &Looked, after: &Looked, now: u64) -> Vec<Event> {
    let mut ids: Vec<&String> = before.keys().chain(after.keys()).collect();
    ids.sort();
    ids.dedup();
    ids.into_iter().flat_map(|id| of_one(before.get(id), after.get(id), now)).collect()
}

fn of_one(before: Option<&Record>, after: Option<&Record>, now: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let mut tell = |record: &Record, action: &str, time_ms, exit_code| {
        events.push(Event {
            time_ms,
            action: action.to_owned(),
            sandbox: record.id.to_string(),
            name: record.name.clone(),
            image: record.image.clone(),
            exit_code,
        });
    };
    let Some(now_known) = after else {
        if let Some(gone) = before {
            if !gone.status.is_final() {
                tell(gone, "die", now, None);
            }
            tell(gone, "destroy", now, None);
        }
        return events;
    };
    if before.is_none() {
        tell(now_known, "create", now_known.created_ms, None);
    }
    let was = |of: fn(&Record) -> Option<u64>| before.and_then(of);
    if let Some(at) = now_known.started_ms
        && was(|it| it.started_ms) != Some(at)
    {
        tell(now_known, "start", at, None);
    }
    if let Some(before) = before.filter(|it| it.name != now_known.name) {
        tell(now_known, &format!("rename: {}", before.name.as_deref().unwrap_or("-")), now, None);
    }
    let was_paused = before.is_some_and(|it| it.paused);
    if now_known.paused != was_paused {
        tell(now_known, if now_known.paused { "pause" } else { "unpause" }, now, None);
    }
    let status = |it: &Record| it.health.map(|health| health.status);
    if let Some(health) = status(now_known)
        && before.and_then(status) != Some(health)
    {
        tell(now_known, &format!("health_status: {health}"), now, None);
    }
    if let Status::Exited { exit_code } = now_known.status
        && before
            .is_none_or(|it| it.status != now_known.status || it.ended_ms != now_known.ended_ms)
    {
        tell(now_known, "die", now_known.ended_ms.unwrap_or(now), Some(exit_code));
    }
    events
}

/// As `docker events` shows one.
fn shown(event: &Event) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(event.time_ms)).unwrap_or(UNIX_EPOCH);
    let time = humantime::format_rfc3339_millis(time);
    let mut words = vec![format!("image={}", crate::error::shortened(&event.image, 200))];
    words.extend(event.exit_code.map(|code| format!("exitCode={code}")));
    words.extend(
        event.name.as_ref().map(|name| format!("name={}", crate::error::shortened(name, 64))),
    );
    format!("{time} sandbox {} {} ({})", event.action, event.sandbox, words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Health, HealthStatus};
    use protocol::ContainerId;

    fn record() -> Record {
        let id = ContainerId::try_from("ab12".to_owned()).unwrap();
        Record::new(id, Some("box".to_owned()), "image".to_owned(), Vec::new())
    }

    #[test]
    fn a_life_is_told_in_its_order() {
        let made = record();
        let with = |record: &Record, change: &dyn Fn(&mut Record)| {
            let mut changed = record.clone();
            change(&mut changed);
            changed
        };
        let status = Status::Exited { exit_code: 3 };
        let runs = with(&made, &|it| it.started_ms = Some(5));
        let paused = with(&runs, &|it| it.paused = true);
        let well = with(&runs, &|it| {
            it.health = Some(Health { status: HealthStatus::Healthy, failures: 0 });
            it.name = Some("new".to_owned());
        });
        let ended = with(&well, &|it| {
            (it.status, it.health, it.ended_ms) = (status, None, Some(9));
        });
        let again = with(&ended, &|it| {
            (it.status, it.started_ms, it.ended_ms) = (Status::Running, Some(20), None);
        });
        let again_ended = with(&again, &|it| (it.status, it.ended_ms) = (status, Some(30)));
        let looks = [
            None,
            Some(&made),
            Some(&runs),
            Some(&paused),
            Some(&well),
            Some(&ended),
            Some(&ended),
            Some(&again),
            Some(&again_ended),
            None,
        ];
        let told: Vec<String> = looks
            .windows(2)
            .flat_map(|pair| of_one(pair[0], pair[1], 100))
            .map(|it| it.action)
            .collect();
        let expected = [
            "create",
            "start",
            "pause",
            "rename: box",
            "unpause",
            "health_status: healthy",
            "die",
            "start",
            "die",
            "destroy",
        ];
        assert_eq!(told, expected);
        // Between two looks all of it may have happened; and one that leaves nothing is gone at once.
        let all: Vec<String> =
            of_one(None, Some(&ended), 0).into_iter().map(|it| it.action).collect();
        assert_eq!(all, ["create", "start", "die"]);
        let gone: Vec<String> =
            of_one(Some(&runs), None, 0).into_iter().map(|it| it.action).collect();
        assert_eq!(gone, ["die", "destroy"]);
    }

    #[test]
    fn a_line_is_dockers() {
        let mut ended = record();
        (ended.status, ended.ended_ms) = (Status::Exited { exit_code: 3 }, Some(1500));
        let event = of_one(Some(&record()), Some(&ended), 0).remove(0);
        let expected =
            "1970-01-01T00:00:01.500Z sandbox die ab12 (image=image, exitCode=3, name=box)";
        assert_eq!(shown(&event), expected);
    }
}
