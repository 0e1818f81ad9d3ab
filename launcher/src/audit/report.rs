//! The form of what `audit` says: lines for people, one JSON document for programs.
//!
//! ```json
//! {
//!   "version": 1,
//!   "rules": [{
//!     "rule": 1, "name": "not root, capabilities dropped", "holds": false,
//!     "findings": [{"where": "outside", "name": "our-processes", "holds": true, "evidence": "…"}]
//!   }]
//! }
//! ```
//! A rule holds where all its findings do; `hint` is there only where one does not. Names of findings stay; new
//! ones may come. A change of meaning is a new `version`.

use crate::error::clean;
use serde::Serialize;
use std::fmt;

const VERSION: u32 = 1;
/// How wide the column of names is.
const NAME_WIDTH: usize = 18;

/// On which side of the hardware wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The outer container and our processes.
    Outside,
    /// The container in the VM.
    Inside,
}

/// One thing that was seen to be so, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// On which side.
    #[serde(rename = "where")]
    pub side: Side,
    /// Its name, for programs too.
    pub name: &'static str,
    /// Whether what the rule asks for is so.
    pub holds: bool,
    /// By what that is known.
    pub evidence: String,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'static str>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its number, from 1.
    pub rule: u8,
    /// What it asks for.
    pub name: &'static str,
    /// Whether all of it is so.
    pub holds: bool,
    /// What was seen.
    pub findings: Vec<Finding>,
}

impl Rule {
    /// A rule, judged by what was seen.
    pub fn new(rule: u8, name: &'static str, findings: Vec<Finding>) -> Self {
        Self { rule, name, holds: findings.iter().all(|finding| finding.holds), findings }
    }
}

/// Everything that `audit` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    version: u32,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

impl Report {
    /// A report of these rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { version: VERSION, rules }
    }

    /// The JSON document, with a line feed at its end.
    pub fn to_json(&self) -> String {
        // Strings, numbers and truths only: there is nothing in it that JSON cannot hold.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Outside => "outside",
            Side::Inside => "inside",
        };
        let mark = if self.holds { "ok" } else { "no" };
        let Self { name, evidence, .. } = self;
        writeln!(f, "    {mark}  {side:<7}  {name:<NAME_WIDTH$} — {}", clean(evidence))?;
        match self.hint.filter(|_| !self.holds) {
            Some(hint) => writeln!(f, "        hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Rule { rule, name, holds, findings } in &self.rules {
            let holds = if *holds { "holds" } else { "does not hold" };
            writeln!(f, "{rule}  {name}: {holds}")?;
            findings.iter().try_for_each(|finding| finding.fmt(f))?;
        }
        let held = self.rules.iter().filter(|rule| rule.holds).count();
        writeln!(f, "{held} of {} rules hold", self.rules.len())
    }
}
