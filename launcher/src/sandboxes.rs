//! `ps`, `port` and `rm`: what the state directory knows of sandboxes, shown and removed.

use crate::cli::port::PortArgs;
use crate::cli::ps::InspectArgs;
use crate::cli::{PsArgs, RmArgs};
use crate::error::{Explain, Failure, chain};
use crate::plan::network::{Mistake, inner};
use crate::state::{PublishedPort, Record, Sandboxes, StateError, Status, Transport};
use crate::table::{ago, shortened};
use protocol::ContainerId;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

impl Explain for StateError {
    fn hint(&self) -> Option<String> {
        match self {
            StateError::Path { path, source, .. }
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                Some(format!(
                    "mount a directory that this user may write to (a volume or a tmpfs), or name one \
                     with --state-dir: {} is not",
                    path.display()
                ))
            }
            StateError::Ambiguous { .. } => Some("write more of it".to_owned()),
            StateError::NotFound(_) => Some("cofferdam ps -a lists them".to_owned()),
            StateError::NameTaken { name, .. } => {
                Some(format!("cofferdam rm {name} removes it when it has ended"))
            }
            _ => None,
        }
    }
}

/// How long a sandbox that was killed may hold what it had.
const KILLED_PATIENCE: Duration = Duration::from_secs(5);

/// Removes what killed sandboxes have left, and says what was not understood.
///
/// # Errors
/// Where the state directory cannot be read.
pub fn sweep(sandboxes: &Sandboxes) -> Result<(), StateError> {
    for error in sandboxes.sweep()?.left {
        crate::error::say(&format!("what may be a sandbox was left: {}", chain(&error)));
    }
    Ok(())
}

/// What `ps` prints on standard output.
///
/// # Errors
/// Where the state directory cannot be read.
pub fn ps(args: &PsArgs) -> Result<String, Failure> {
    let sandboxes = Sandboxes::open(&args.state_dir)?;
    sweep(&sandboxes)?;
    let mut records = sandboxes.list()?;
    records.retain(|record| args.all || !record.status.is_final());
    if args.json {
        return serde_json::to_string_pretty(&records).map(|it| it + "\n").map_err(Failure::plain);
    }
    if args.quiet {
        return Ok(records.iter().map(|record| format!("{}\n", record.id)).collect());
    }
    Ok(table(&records, SystemTime::now()))
}

/// What `inspect` prints on standard output: a list with all of them, in the order in which they were asked for.
///
/// # Errors
/// Where one of them is not there.
pub fn inspect(args: &InspectArgs) -> Result<String, Failure> {
    let sandboxes = Sandboxes::open(&args.state_dir)?;
    sweep(&sandboxes)?;
    let one = |wanted: &String| -> Result<Inspected, StateError> {
        let record = sandboxes.record_of(wanted)?;
        let (id, directory) = sandboxes.directory_of(wanted)?;
        Ok(Inspected { directory, disk_bytes: sandboxes.disk_bytes(&id), record })
    };
    let all = args.sandboxes.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    serde_json::to_string_pretty(&all).map(|it| it + "\n").map_err(Failure::plain)
}

/// What is known of a sandbox.
#[derive(Debug, Serialize)]
struct Inspected {
    #[serde(flatten)]
    record: Record,
    /// Where its files are.
    directory: PathBuf,
    /// What its writable disk takes; 0 for one that has no name.
    disk_bytes: u64,
}

/// Why it is not known where a port is published.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// It is no port.
    #[error("{typed:?}: {mistake}")]
    Typed {
        /// What was typed.
        typed: String,
        /// What is wrong with it.
        mistake: Mistake,
    },
    /// It is not published.
    #[error("port {inside}/{transport} of {sandbox} is not published")]
    NotPublished {
        /// The port.
        inside: u16,
        /// Its transport.
        transport: Transport,
        /// Whose it is.
        sandbox: String,
    },
}

impl Explain for PortError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            PortError::Typed { .. } => "it is INNER[/tcp|/udp], as in 53/udp".to_owned(),
            PortError::NotPublished { sandbox, .. } => {
                format!("cofferdam port {sandbox} lists those that are")
            }
        })
    }
}

/// What `port` prints on standard output.
///
/// # Errors
/// Where there is no such sandbox, or a port that was asked for is not published.
pub fn port(args: &PortArgs) -> Result<String, Failure> {
    let typed = |typed: &String| {
        let port =
            inner(typed).map_err(|mistake| PortError::Typed { typed: typed.clone(), mistake });
        port.map(|(inside, transport)| (inside, Transport::from(transport)))
    };
    let asked = args.inner.as_ref().map(typed).transpose()?;
    let sandboxes = Sandboxes::open(&args.state_dir)?;
    sweep(&sandboxes)?;
    let record = sandboxes.record_of(&args.sandbox)?;
    let Some((inside, transport)) = asked else {
        let line =
            |it: &PublishedPort| format!("{}/{} -> {}\n", it.inside, it.transport, it.outside);
        let sockets = record.sockets.iter();
        let sockets = sockets.map(|it| format!("{} -> {}\n", it.inside, it.outside.display()));
        return Ok(record.ports.iter().map(line).chain(sockets).collect());
    };
    let fits = |it: &&PublishedPort| (it.inside, it.transport) == (inside, transport);
    let lines: String =
        record.ports.iter().filter(fits).map(|it| format!("{}\n", it.outside)).collect();
    if lines.is_empty() {
        let sandbox = args.sandbox.clone();
        return Err(PortError::NotPublished { inside, transport, sandbox }.into());
    }
    Ok(lines)
}

/// Removes sandboxes that have ended; gives what to print on standard output.
///
/// # Errors
/// At the first that cannot be removed.
pub fn rm(args: &RmArgs) -> Result<String, Failure> {
    let sandboxes = Sandboxes::open(&args.state_dir)?;
    sweep(&sandboxes)?;
    let mut removed = String::new();
    for wanted in &args.sandboxes {
        let id = match args.force {
            true => remove_now(&sandboxes, args, wanted)?,
            false => sandboxes.remove(wanted)?,
        };
        let _ = writeln!(removed, "{id}");
    }
    Ok(removed)
}

/// Ends a sandbox, if it runs, and removes it.
fn remove_now(sandboxes: &Sandboxes, args: &RmArgs, wanted: &str) -> Result<ContainerId, Failure> {
    let (id, _) = sandboxes.directory_of(wanted)?;
    crate::stop::end_now(&args.state_dir, id.as_str())?;
    let deadline = Instant::now() + KILLED_PATIENCE;
    loop {
        match sandboxes.remove(id.as_str()) {
            // It was one that leaves nothing.
            Ok(_) | Err(StateError::NotFound(_)) => return Ok(id),
            // A killed process is gone in a moment.
            Err(StateError::Running(_)) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn table(records: &[Record], now: SystemTime) -> String {
    let mut rows = vec![
        ["SANDBOX", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAME"].map(str::to_owned),
    ];
    for record in records {
        let created = UNIX_EPOCH + Duration::from_millis(record.created_ms);
        let age = now.duration_since(created).unwrap_or_default();
        let status = match record.status {
            Status::Running if record.paused => "running (paused)".to_owned(),
            Status::Running => match record.health {
                Some(health) => format!("running ({})", health.status),
                None => "running".to_owned(),
            },
            Status::Exited { exit_code } => format!("exited ({exit_code})"),
        };
        rows.push([
            record.id.to_string(),
            shortened(&record.image, 40),
            shortened(&record.command.join(" "), 30),
            ago(age),
            status,
            shortened(&ports(&record.ports), 80),
            shortened(record.name.as_deref().unwrap_or_default(), 64),
        ]);
    }
    crate::table::table(&rows)
}

/// Published ports as Docker lists them.
fn ports(published: &[PublishedPort]) -> String {
    let one = |it: &PublishedPort| format!("{}->{}/{}", it.outside, it.inside, it.transport);
    published.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(inside: u16, transport: Transport, outside: &str) -> PublishedPort {
        PublishedPort { inside, transport, outside: outside.parse().unwrap() }
    }

    fn asked(state_dir: &std::path::Path, inner: Option<&str>) -> Result<String, String> {
        let inner = inner.map(str::to_owned);
        let args = PortArgs { sandbox: "box".to_owned(), inner, state_dir: state_dir.to_owned() };
        port(&args).map_err(|failure| failure.to_string())
    }

    #[test]
    fn ports_are_told_as_docker_tells_them() {
        let directory = tempfile::tempdir().unwrap();
        let id = ContainerId::try_from("ab12".to_owned()).unwrap();
        let ports = vec![
            published(80, Transport::Tcp, "0.0.0.0:32768"),
            published(80, Transport::Tcp, "[::]:32768"),
            published(53, Transport::Udp, "127.0.0.1:53"),
        ];
        let record = Record::new(id, Some("box".to_owned()), "i".to_owned(), Vec::new());
        let record = record.with_ports(ports);
        let own = Sandboxes::open(directory.path()).unwrap().create(&record).unwrap();
        let all = "80/tcp -> 0.0.0.0:32768\n80/tcp -> [::]:32768\n53/udp -> 127.0.0.1:53\n";
        let ask = |inner| asked(directory.path(), inner);
        assert_eq!(ask(None).as_deref(), Ok(all));
        assert_eq!(ask(Some("80")).as_deref(), Ok("0.0.0.0:32768\n[::]:32768\n"));
        assert_eq!(ask(Some("53/UDP")).as_deref(), Ok("127.0.0.1:53\n"));
        let refused = ask(Some("53")).unwrap_err();
        assert!(
            refused.starts_with("cofferdam: port 53/tcp of box is not published\n"),
            "{refused}"
        );
        let refused = ask(Some("0")).unwrap_err();
        assert!(refused.starts_with("cofferdam: \"0\": \"0\" is no port\n"), "{refused}");
        let table = table(&[record], SystemTime::now());
        assert!(table.contains("0.0.0.0:32768->80/tcp, [::]:32768->80/tcp, 127.0.0.1:53->53/udp"));
        drop(own);
        assert!(ask(None).is_err());
    }

    /// A record is a file that anybody may have written.
    #[test]
    fn no_name_is_too_long_to_be_listed() {
        let id = ContainerId::try_from("long".to_owned()).unwrap();
        let long = "x".repeat(100_000);
        let record = Record::new(id, Some(long.clone()), long.clone(), vec![long]);
        let table = table(&[record], SystemTime::now());
        assert!(table.lines().all(|line| line.chars().count() < 300), "{}", table.len());
    }
}
