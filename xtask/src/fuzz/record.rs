//! What all fuzzing so far adds up to, target by target: a small JSON file that is kept with the sources.
//!
//! Owns: the file and the adding. A target has its hour once its sessions come to one together.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::Session;
use crate::process;
use crate::workspace::Workspace;

const FILE: &str = "tests/fuzz.json";
/// What a processor's time is counted in, on Linux: USER_HZ.
const TICKS_PER_SECOND: f64 = 100.0;

/// The record.
pub struct Record {
    path: PathBuf,
    commit: String,
    document: Map<String, Value>,
}

impl Record {
    /// Reads it, or begins it.
    ///
    /// # Errors
    /// Where it is no such file.
    pub fn open(workspace: &Workspace) -> Result<Self> {
        let path = workspace.root.join(FILE);
        let document = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is no JSON object", path.display()))?,
            Err(_) => Map::new(),
        };
        Ok(Self { path, commit: workspace.commit()?, document })
    }

    /// How much of a processor a target has had, in seconds.
    pub fn seconds(&self, target: &str) -> f64 {
        self.of("targets", target)["cpu_seconds"].as_f64().unwrap_or(0.0)
    }

    /// Adds a session to what is known of its target, and writes all of it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn add(&mut self, target: &str, session: &Session) -> Result<()> {
        let mut sum = added(&self.of("targets", target), session);
        sum["date"] = process::now()?.into();
        sum["commit"] = self.commit.clone().into();
        self.put("targets", target, sum)
    }

    /// Keeps what a checker of memory said of every input.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn keep_memcheck(&mut self, inputs: usize, errors: u64) -> Result<()> {
        let found = json!({
            "date": process::now()?, "commit": self.commit, "inputs": inputs, "errors": errors,
        });
        self.put("checks", "valgrind", found)
    }

    fn of(&self, kind: &str, name: &str) -> Value {
        self.document.get(kind).map_or(Value::Null, |all| all[name].clone())
    }

    fn put(&mut self, kind: &str, name: &str, value: Value) -> Result<()> {
        let all = self.document.entry(kind).or_insert_with(|| json!({}));
        all[name] = value;
        let text = serde_json::to_string_pretty(&self.document)? + "\n";
        // In one step: whoever is stopped meanwhile loses nothing that was added before.
        let new = self.path.with_extension("json.new");
        fs::write(&new, text)?;
        Ok(fs::rename(&new, &self.path)?)
    }
}

/// What is known of a target, with one session more. Pure.
fn added(before: &Value, session: &Session) -> Value {
    let sum = |name: &str, more: u64| before[name].as_u64().unwrap_or(0) + more;
    let seconds = before["cpu_seconds"].as_f64().unwrap_or(0.0) + session.cpu_seconds;
    json!({
        "cpu_seconds": (seconds * 10.0).round() / 10.0,
        "executions": sum("executions", session.executions),
        "crashes": sum("crashes", u64::from(session.failure.is_some())),
        "edges": session.edges,
        "inputs": session.inputs,
    })
}

/// How much of a processor a running process has had, in seconds.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    ticks(&text).map(|ticks| ticks as f64 / TICKS_PER_SECOND)
}

/// User's and system's ticks in a process's `stat`: the name in brackets may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(cpu_seconds: f64, failure: Option<String>) -> Session {
        Session { cpu_seconds, executions: 100, edges: 7, inputs: 9, failure }
    }

    #[test]
    fn sessions_add_up_and_crashes_stay() {
        let first = added(&Value::Null, &session(1.26, Some("it crashed".to_owned())));
        let both = added(&first, &session(2.0, None));
        let wanted = json!({
            "cpu_seconds": 3.3, "executions": 200, "crashes": 1, "edges": 7, "inputs": 9,
        });
        assert_eq!(both, wanted);
    }

    #[test]
    fn a_processors_time_is_told_whatever_a_process_is_called() {
        let stat = "7 (a ) name) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(300));
        assert!(cpu_seconds(std::process::id()).is_some());
    }
}
