//! The form of what `doctor` says: lines for people, one JSON document for programs.
//!
//! ```json
//! {
//!   "version": 1,
//!   "works": true,
//!   "accelerator": "kvm",
//!   "summary": "run will work, on KVM",
//!   "checks": [{"name": "kvm-device", "status": "ok", "value": "…", "hint": "…"}]
//! }
//! ```
//! `accelerator` is `kvm`, `tcg` or null; `status` is `ok`, `warn` or `fail`; `hint` is there only where there
//! is something to do. Names of checks stay; new ones may come. A change of meaning is a new `version`.

use crate::error::clean;
use serde::Serialize;
use std::fmt;

const VERSION: u32 = 1;
/// How wide the column of names is.
const NAME_WIDTH: usize = 18;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// `run` works, but something is lost.
    Warn,
    /// `run` does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name, for programs too.
    pub name: &'static str,
    /// How it is.
    pub status: Level,
    /// What was found.
    pub value: String,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether `run`, with no flag, will work.
    pub works: bool,
    /// With which accelerator.
    pub accelerator: Option<&'static str>,
    /// In words.
    pub summary: String,
}

/// Everything that `doctor` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Each check, in order.
    pub checks: Vec<Check>,
    /// What it comes to.
    pub verdict: Verdict,
}

impl Check {
    /// All is well.
    pub fn ok(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, status: Level::Ok, value: value.into(), hint: None }
    }

    /// Something is lost.
    pub fn warn(name: &'static str, value: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, status: Level::Warn, value: value.into(), hint: Some(hint.into()) }
    }

    /// It does not work.
    pub fn fail(name: &'static str, value: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, status: Level::Fail, value: value.into(), hint: Some(hint.into()) }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let Check { name, status, value, hint } = check;
            writeln!(f, "{status:<4}  {name:<NAME_WIDTH$} — {}", clean(value))?;
            if let Some(hint) = hint {
                writeln!(f, "      hint: {}", clean(hint))?;
            }
        }
        let level = if self.verdict.works { Level::Ok } else { Level::Fail };
        writeln!(f, "{level:<4}  {}", clean(&self.verdict.summary))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    #[serde(flatten)]
    verdict: &'a Verdict,
    checks: &'a [Check],
}

impl Report {
    /// The JSON document, with a line feed at its end.
    pub fn to_json(&self) -> String {
        let document = Document { version: VERSION, verdict: &self.verdict, checks: &self.checks };
        // Strings and numbers only: there is nothing in it that JSON cannot hold.
        let text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text + "\n"
    }
}
