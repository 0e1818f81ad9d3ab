//! Cases, and how each becomes one trial for each place where it runs.

use super::native_kvm::NativeKvm;
use super::{World, cores, reference_host};
use libtest_mimic::{Arguments, Trial};
use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Where a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// With each accelerator.
    Both,
    /// Natively on TCG, and on KVM in a soak alone: it is of what the agent does and the guest's kernel, which are
    /// the same bytes under both. That they do it under KVM, too, the whole of Docker's defaults, an audit and
    /// each story show.
    Guest,
    /// On KVM, in the reference host.
    Kvm,
    /// On TCG, natively.
    Tcg,
    /// Natively, where `--accel auto` takes TCG.
    AutoTcg,
    /// Natively, where there is a KVM that may be opened, of whatever use.
    OpenKvm,
    /// In the reference host, under container engines.
    Outer,
}

/// One thing that is to be seen to be so.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The module and the function.
    pub path: (&'static str, &'static str),
    /// Where.
    pub place: Where,
    /// Panics where it is not so.
    pub run: fn(&World),
}

/// Lists a file's cases: `cases! { Both: a, b; Kvm: c; }`.
#[macro_export]
macro_rules! cases {
    ($($place:ident: $($name:ident),+ $(,)?;)+) => {
        /// The cases of this file.
        pub const CASES: &[$crate::harness::Case] = &[$($($crate::harness::Case {
            path: (module_path!(), stringify!($name)),
            place: $crate::harness::Where::$place,
            run: $name,
        }),+),+];
    };
}

impl Case {
    /// `file::function`.
    pub fn name(&self) -> String {
        format!("{}::{}", self.path.0.rsplit("::").next().unwrap_or_default(), self.path.1)
    }

    /// Runs it, and keeps how long it took.
    pub fn outcome(&self, world: &World) -> Outcome {
        let begun = Instant::now();
        NOTES.take();
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.run)(world)));
        took(format!("{}::{}", world.accelerator.name(), self.name()), begun.elapsed());
        let words =
            |panic: Box<dyn Any + Send>| format!("{}: {}", PANICKED_AT.take(), words_of(&*panic));
        Outcome { failure: outcome.err().map(words), notes: NOTES.take() }
    }
}

/// How a case went.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Why it failed, where it did.
    pub failure: Option<String>,
    /// What it has to tell besides, for a soak's record.
    pub notes: Vec<String>,
}

impl Outcome {
    /// One that failed before it could tell anything.
    pub fn failed(words: String) -> Self {
        Self { failure: Some(words), notes: Vec::new() }
    }

    fn into_result(self) -> Result<(), libtest_mimic::Failed> {
        self.failure.map_or(Ok(()), |words| Err(words.into()))
    }
}

/// Adds to what the running case has to tell.
pub fn note(words: String) {
    NOTES.with_borrow_mut(|notes| notes.push(words));
}

static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// Keeps how long a case took.
pub fn took(name: String, time: Duration) {
    TIMES.lock().expect("nobody panics with it").push((time, name));
}

/// Says which cases took longest: a case that grows slow is seen before all of them are. `COFFERDAM_TEST_TIMES`
/// names a file for how long each one took, in seconds.
pub fn print_slowest() {
    let mut times = TIMES.lock().expect("nobody panics with it");
    times.sort();
    let slowest: Vec<String> =
        times.iter().rev().take(12).map(|(time, name)| format!("{name} {time:.1?}")).collect();
    println!("slowest: {}", slowest.join(", "));
    if let Some(path) = std::env::var_os("COFFERDAM_TEST_TIMES") {
        let line =
            |(time, name): &(Duration, String)| format!("{:.2} {name}\n", time.as_secs_f64());
        let lines: String = times.iter().map(line).collect();
        std::fs::write(&path, lines).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

thread_local! {
    static NOTES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static PANICKED_AT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps a panic's place for the failure's words, where the default would print it at once.
pub fn keep_panics_quiet() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        PANICKED_AT.set(place);
    }));
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

/// The cases of one place that the arguments ask for, each with the name of its trial.
pub fn wanted(
    arguments: &Arguments,
    cases: &[Case],
    prefix: &str,
    places: &[Where],
) -> Vec<(String, Case)> {
    cases
        .iter()
        .filter(|case| places.contains(&case.place))
        .map(|case| (format!("{prefix}::{}", case.name()), *case))
        .filter(|(name, _)| !arguments.is_filtered_out(&Trial::test(name.clone(), || Ok(()))))
        .collect()
}

static NOT_TESTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Trials that run here. Those that this machine's KVM is not right for are ignored, and said so.
pub fn native(cases: Vec<(String, Case)>, world: &Arc<World>, kvm: NativeKvm) -> Vec<Trial> {
    let trial = |(name, case): (String, Case)| {
        let world = Arc::clone(world);
        let amiss = kvm.is_wrong_for(case.place);
        if let Some(why) = amiss {
            not_tested(&name, why);
        }
        let outcome = move || {
            let _core = cores::take();
            case.outcome(&world).into_result()
        };
        Trial::test(name, outcome).with_ignored_flag(amiss.is_some())
    };
    cases.into_iter().map(trial).collect()
}

/// Keeps for the end that a case was left out.
pub fn not_tested(name: &str, why: &str) {
    NOT_TESTED.lock().expect("nobody panics with it").push(format!("{name} ({why})"));
}

/// Says, where it cannot be missed, what was left out.
pub fn print_not_tested() {
    for words in NOT_TESTED.lock().expect("nobody panics with it").iter() {
        println!("WARNING: not tested: {words}");
    }
}

/// Trials that all run in one boot of the reference host.
pub fn hosted(cases: Vec<(String, Case)>, session: reference_host::Session) -> Vec<Trial> {
    let session = Arc::new(session);
    let trial = |(name, case): (String, Case)| {
        let session = Arc::clone(&session);
        Trial::test(name, move || session.outcome(&case.name()).into_result())
    };
    cases.into_iter().map(trial).collect()
}
