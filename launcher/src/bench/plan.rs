//! What is to be measured, where and how often, made of what was typed.

use super::layer::{self, Layer, NAMES, PeerError, UnknownLayer};
use super::suite::{ITEMS, Item};
use super::surface::{WORKS, Work};
use crate::cli::BenchArgs;
use crate::error::Explain;
use crate::exit_code::FailureClass;
use ::bench::{MAX_SAMPLES, Record, RecordError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// More rounds than this that are not kept warm nothing any more.
const MAX_WARMUPS: usize = 100;

/// The plan.
#[derive(Debug)]
pub struct BenchPlan {
    /// Where, the base first.
    pub layers: Vec<Layer>,
    /// Peers that were named and are not installed.
    pub absent: Vec<String>,
    /// What.
    pub items: Vec<Item>,
    /// For what it is counted what is reached of the host's kernel.
    pub works: Vec<Work>,
    /// How many samples of each.
    pub repeats: usize,
    /// How many rounds come before them.
    pub warmups: usize,
    /// Where the reports go.
    pub out: Option<PathBuf>,
    /// What they are compared with.
    pub old: Option<Record>,
}

/// What was typed makes no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is no such layer.
    #[error(transparent)]
    Layer(#[from] UnknownLayer),
    /// One layer twice.
    #[error("{0:?} is to be measured twice")]
    Twice(String),
    /// There is no such group.
    #[error("no workloads are in a group called {0:?}")]
    Group(String),
    /// No number in its range.
    #[error("{flag} {value:?} is no number from {least} to {most}")]
    Count {
        /// The flag.
        flag: &'static str,
        /// What was typed.
        value: String,
        /// The least it takes.
        least: usize,
        /// The most it takes.
        most: usize,
    },
    /// A peer cannot be a layer.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The older record cannot be read.
    #[error("cannot read the record {0:?}")]
    Open(PathBuf, #[source] io::Error),
    /// The older record is none.
    #[error("cannot compare with {0:?}")]
    Record(PathBuf, #[source] RecordError),
}

impl Explain for PlanError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Layer(_) => Some(format!("there are {}", NAMES.join(", "))),
            Self::Group(_) => {
                let mut groups: Vec<&str> = groups().collect();
                groups.sort_unstable();
                groups.dedup();
                Some(format!("there are {}", groups.join(", ")))
            }
            Self::Peer(error) => error.hint(),
            Self::Record(..) => Some("--out DIR writes one as record.json".into()),
            Self::Twice(_) | Self::Count { .. } | Self::Open(..) => None,
        }
    }

    fn class(&self) -> FailureClass {
        FailureClass::Launcher
    }
}

impl BenchPlan {
    /// Resolves what was typed, and reads the older record.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn resolve(args: &BenchArgs) -> Result<Self, PlanError> {
        let mut layers = Vec::new();
        let usual: Vec<String> = Layer::usual(args).into_iter().map(str::to_owned).collect();
        let names = if args.layers.is_empty() { &usual } else { &args.layers };
        for name in names {
            let layer = Layer::named(name, args)?;
            layers.push(layer);
        }
        let works = WORKS.iter().filter(|work| is_wanted(&args.suite, work.group));
        let mut plan = Self {
            layers,
            absent: Vec::new(),
            items: chosen(&args.suite)?,
            works: works.copied().collect(),
            repeats: count("--repeats", &args.repeats, 1, MAX_SAMPLES)?,
            warmups: count("--warmups", &args.warmups, 0, MAX_WARMUPS)?,
            out: args.out.clone(),
            old: args.compare.as_deref().map(read).transpose()?,
        };
        // Last, for what they need takes a while to make.
        let peers = layer::peers(args)?;
        plan.layers.extend(peers.layers);
        plan.absent = peers.absent;
        let names = plan.layers.iter().map(Layer::name).enumerate();
        let mut again =
            names.filter(|(at, name)| plan.layers.iter().take(*at).any(|it| it.name() == *name));
        match again.next() {
            Some((_, name)) => Err(PlanError::Twice(name.to_owned())),
            None => Ok(plan),
        }
    }
}

/// The workloads of these groups; all where none is named.
fn chosen(named: &[String]) -> Result<Vec<Item>, PlanError> {
    for group in named {
        if !groups().any(|known| known == group) {
            return Err(PlanError::Group(group.clone()));
        }
    }
    Ok(ITEMS.iter().filter(|item| is_wanted(named, item.group)).copied().collect())
}

/// The groups that there are, some of them often.
fn groups() -> impl Iterator<Item = &'static str> {
    ITEMS.iter().map(|item| item.group).chain(WORKS.iter().map(|work| work.group))
}

/// Whether a group was named; all are where none is.
fn is_wanted(named: &[String], group: &str) -> bool {
    named.is_empty() || named.iter().any(|it| it == group)
}

fn count(flag: &'static str, value: &str, least: usize, most: usize) -> Result<usize, PlanError> {
    let wrong = || PlanError::Count { flag, value: value.to_owned(), least, most };
    let number: usize = value.parse().map_err(|_| wrong())?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(wrong()) }
}

fn read(path: &Path) -> Result<Record, PlanError> {
    let mut text = Vec::new();
    // One byte more than is read says that there is more.
    let most = ::bench::MAX_RECORD_BYTES as u64 + 1;
    let file = std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut text));
    file.map_err(|error| PlanError::Open(path.to_owned(), error))?;
    Record::read(&text).map_err(|error| PlanError::Record(path.to_owned(), error))
}
