//! Figures of several runs, and what is said of them. Pure.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// One thing, measured several times.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures(pub Vec<f64>);

impl Figures {
    /// From a list in a document.
    pub fn of(list: &Value) -> Result<Self> {
        let list = list.as_array().context("no list of figures")?;
        let figures: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
        anyhow::ensure!(!figures.is_empty(), "no figures in {list:?}");
        Ok(Self(figures))
    }

    /// Half of them are no more; of an even number the upper one of the two in the middle.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The smallest.
    pub fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The largest.
    pub fn most(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// What lies between the extremes.
    pub fn spread(&self) -> f64 {
        self.most() - self.least()
    }
}

/// `NAME run 1: 81.2 ms, 40.6 M instructions`, of any unit of time: the name, empty where the line begins
/// with `run`, and millions of instructions.
pub fn run_line(line: &str) -> Option<(&str, f64)> {
    let (name, rest) = match line.strip_prefix("run ") {
        Some(rest) => ("", rest),
        None => line.split_once(" run ")?,
    };
    let (before, _) = rest.split_once(" M instructions")?;
    Some((name, before.rsplit(' ').next()?.parse().ok()?))
}

/// The figures of all lines of this name.
///
/// # Errors
/// Where there is none.
pub fn named(text: &str, name: &str) -> Result<Figures> {
    let lines = text.lines().filter_map(run_line);
    let figures: Vec<f64> = lines.filter(|(of, _)| *of == name).map(|(_, it)| it).collect();
    anyhow::ensure!(!figures.is_empty(), "no run of {name:?} in:\n{text}");
    Ok(Figures(figures))
}

/// Those of `NAME run 1: … M instructions, 7 KVM exits`.
///
/// # Errors
/// Where there is none.
pub fn exits(text: &str, name: &str) -> Result<Vec<f64>> {
    let of_line = |line: &str| {
        let rest = line.strip_prefix(name)?.strip_prefix(" run ")?;
        rest.strip_suffix(" KVM exits")?.rsplit(' ').next()?.parse().ok()
    };
    let exits: Vec<f64> = text.lines().filter_map(of_line).collect();
    anyhow::ensure!(!exits.is_empty(), "no KVM exits of {name:?} in:\n{text}");
    Ok(exits)
}

/// Each work at each place, of lines as `PLACE WORK run 1: …`: its figures and its exits, and what it is.
///
/// # Errors
/// Where one was left out.
pub fn at_places(
    text: &str,
    places: &[&str],
    works: &[(&str, &str)],
) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    for place in places {
        let mut of_place = Map::new();
        for (work, what) in works {
            let name = format!("{place} {work}");
            let cost = json!({
                "what": what,
                "million_instructions": named(text, &name)?.0,
                "kvm_exits": exits(text, &name)?,
            });
            of_place.insert((*work).to_owned(), cost);
        }
        all.insert((*place).to_owned(), Value::Object(of_place));
    }
    Ok(Map::from_iter([("places".to_owned(), Value::Object(all))]))
}

/// The rest of the one line that begins with this.
///
/// # Errors
/// Where there is no such line.
pub fn line<'t>(text: &'t str, beginning: &str) -> Result<&'t str> {
    let found = text.lines().find_map(|line| line.strip_prefix(beginning)?.strip_prefix(' '));
    found.map(str::trim).with_context(|| format!("no line {beginning:?} in:\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_runs_have_a_figure() {
        assert_eq!(run_line("run 2: 81.2 ms, 40.6 M instructions"), Some(("", 40.6)));
        let more = "run 2: 81.2 ms, 40.6 M instructions, 7 KVM exits";
        assert_eq!(run_line(more), Some(("", 40.6)));
        let named = "peer crun run 1: 32.2 ms, 16.1 M instructions";
        assert_eq!(run_line(named), Some(("peer crun", 16.1)));
        assert_eq!(run_line("  5.0 ms after Unpacking initramfs..."), None);
    }

    #[test]
    fn one_that_is_far_off_moves_the_spread_and_not_the_median() {
        let figures = Figures(vec![10.0, 11.0, 90.0]);
        assert_eq!((figures.median(), figures.spread()), (11.0, 80.0));
        assert!(Figures::of(&serde_json::json!([])).is_err());
    }

    #[test]
    fn what_is_not_said_is_an_error() {
        let text = "host kernel 6.1\nversion crun 1.8\na run 1: 2.0 ms, 1.0 M instructions";
        assert_eq!(line(text, "version crun").unwrap(), "1.8");
        assert_eq!(named(text, "a").unwrap(), Figures(vec![1.0]));
        assert!(line(text, "version podman").is_err() && named(text, "b").is_err());
    }
}
