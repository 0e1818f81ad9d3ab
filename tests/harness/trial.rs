//! Cases, and how each becomes one trial for each place where it runs.

use super::{World, reference_host};
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
    /// On KVM, in the reference host.
    Kvm,
    /// On TCG, natively.
    Tcg,
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

    /// Runs it; a failure's words where it fails. Keeps how long it took.
    pub fn outcome(&self, world: &World) -> Result<(), String> {
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.run)(world)));
        took(format!("{}::{}", world.accelerator.name(), self.name()), begun.elapsed());
        outcome.map_err(|panic| format!("{}: {}", PANICKED_AT.take(), words_of(&*panic)))
    }
}

static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// Keeps how long a case took.
pub fn took(name: String, time: Duration) {
    TIMES.lock().expect("nobody panics with it").push((time, name));
}

/// Says which cases took longest: a case that grows slow is seen before all of them are.
pub fn print_slowest() {
    let mut times = TIMES.lock().expect("nobody panics with it");
    times.sort();
    let slowest: Vec<String> =
        times.iter().rev().take(12).map(|(time, name)| format!("{name} {time:.1?}")).collect();
    println!("slowest: {}", slowest.join(", "));
}

thread_local! {
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

/// Trials that run here.
pub fn native(cases: Vec<(String, Case)>, world: &Arc<World>) -> Vec<Trial> {
    let trial = |(name, case): (String, Case)| {
        let world = Arc::clone(world);
        Trial::test(name, move || case.outcome(&world).map_err(Into::into))
    };
    cases.into_iter().map(trial).collect()
}

/// Trials that all run in one boot of the reference host, which begins when the first is asked for.
pub fn hosted(cases: Vec<(String, Case)>, prefix: &'static str) -> Vec<Trial> {
    let names = cases.iter().map(|(_, case)| case.name()).collect();
    let session = Arc::new(reference_host::Session::new(prefix, names));
    let trial = |(name, case): (String, Case)| {
        let session = Arc::clone(&session);
        Trial::test(name, move || session.outcome(&case.name()).map_err(Into::into))
    };
    cases.into_iter().map(trial).collect()
}
