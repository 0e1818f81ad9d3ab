//! How it is known whether a container is well: by a command in it, of the image's or the user's, as Docker has it.

use crate::cli::health::HealthArgs;
use crate::error::Explain;
use image::HealthCheck;
use std::time::Duration;

/// Docker's.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;
/// An image that wants to be asked more often is asked so often.
const LEAST: Duration = Duration::from_millis(100);
/// The longest command, in bytes.
const MOST_BYTES: usize = 32 * 1024;

/// A text that says nothing of that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HealthError {
    /// No time.
    #[error("{flag} {typed:?} is no time")]
    Time {
        /// Which flag.
        flag: &'static str,
        /// What was typed.
        typed: String,
    },
    /// One that is too short.
    #[error("{0} is less than 100ms")]
    Short(&'static str),
    /// A command that is too long.
    #[error("the health check is longer than {MOST_BYTES} bytes")]
    Long,
    /// One that holds what no argument can.
    #[error("the health check holds a null character")]
    Null,
}

impl Explain for HealthError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Time { .. } | Self::Short(_) => Some("as in 500ms, 30s or 1m30s".to_owned()),
            Self::Long => Some("put it into a file of the image's".to_owned()),
            Self::Null => None,
        }
    }
}

/// What was typed of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthChoices {
    disabled: bool,
    command: Option<String>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    start_period: Option<Duration>,
    retries: Option<u32>,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPlan {
    /// Program and arguments; at least one.
    pub args: Vec<String>,
    /// From the end of one to the begin of the next.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// For so long nothing counts that fails, until one has succeeded.
    pub start_period: Duration,
    /// So many in a row that fail are a container that is not well.
    pub retries: u32,
}

impl HealthChoices {
    /// Reads what was typed.
    ///
    /// # Errors
    /// [`HealthError`].
    pub fn resolve(args: &HealthArgs) -> Result<Self, HealthError> {
        let time = |flag, typed: &Option<String>| match typed {
            None => Ok(None),
            Some(typed) => match humantime::parse_duration(typed) {
                Ok(time) => Ok(Some(time)),
                Err(_) => Err(HealthError::Time { flag, typed: typed.clone() }),
            },
        };
        let long = |flag, time: Option<Duration>| match time {
            Some(time) if time < LEAST => Err(HealthError::Short(flag)),
            other => Ok(other),
        };
        let interval = "--health-interval";
        let timeout = "--health-timeout";
        Ok(Self {
            disabled: args.no_healthcheck,
            command: args.health_cmd.clone(),
            interval: long(interval, time(interval, &args.health_interval)?)?,
            timeout: long(timeout, time(timeout, &args.health_timeout)?)?,
            start_period: time("--health-start-period", &args.health_start_period)?,
            retries: args.health_retries,
        })
    }

    /// With what the image says; `None` where nobody asks.
    ///
    /// # Errors
    /// [`HealthError`].
    pub fn with_image(&self, image: &HealthCheck) -> Result<Option<HealthPlan>, HealthError> {
        let shell = |text: &str| ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
        let args = match (&self.command, image.test.split_first()) {
            _ if self.disabled => return Ok(None),
            (Some(typed), _) => shell(typed),
            (None, Some((kind, rest))) if kind == "CMD" && !rest.is_empty() => rest.to_vec(),
            (None, Some((kind, rest))) if kind == "CMD-SHELL" && !rest.is_empty() => {
                shell(&rest.join(" "))
            }
            // NONE, and nothing that is known.
            (None, _) => return Ok(None),
        };
        if args.iter().map(String::len).sum::<usize>() > MOST_BYTES {
            return Err(HealthError::Long);
        }
        if args.iter().any(|text| text.contains('\0')) {
            return Err(HealthError::Null);
        }
        let or = |typed: Option<Duration>, nanoseconds: i64, usual: Duration| {
            let images = u64::try_from(nanoseconds).ok().filter(|&it| it > 0);
            let images = images.map(|it| Duration::from_nanos(it).max(LEAST));
            typed.or(images).unwrap_or(usual)
        };
        let retries = u32::try_from(image.retries).ok().filter(|&it| it > 0);
        Ok(Some(HealthPlan {
            args,
            interval: or(self.interval, image.interval_ns, INTERVAL),
            timeout: or(self.timeout, image.timeout_ns, TIMEOUT),
            start_period: or(self.start_period, image.start_period_ns, Duration::ZERO),
            retries: self.retries.filter(|&it| it > 0).or(retries).unwrap_or(RETRIES),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(test: &[&str]) -> HealthCheck {
        let test = test.iter().map(|it| (*it).to_owned()).collect();
        HealthCheck { test, interval_ns: 5_000_000_000, retries: 2, ..HealthCheck::default() }
    }

    #[test]
    fn what_was_typed_comes_before_what_the_image_says() {
        let none = HealthChoices::default();
        let plan = none.with_image(&image(&["CMD", "a", "b"])).unwrap().unwrap();
        assert_eq!((plan.args.join(" ").as_str(), plan.retries), ("a b", 2));
        assert_eq!((plan.interval, plan.timeout), (Duration::from_secs(5), TIMEOUT));
        let typed = HealthChoices {
            command: Some("c d".to_owned()),
            interval: Some(Duration::from_secs(1)),
            ..HealthChoices::default()
        };
        let plan = typed.with_image(&image(&["NONE"])).unwrap().unwrap();
        assert_eq!((plan.args[2].as_str(), plan.interval.as_secs()), ("c d", 1));
        let off = HealthChoices { disabled: true, ..typed };
        assert_eq!(off.with_image(&image(&["CMD", "a"])), Ok(None));
    }

    #[test]
    fn an_image_may_say_anything() {
        let none = HealthChoices::default();
        for test in [&[][..], &["NONE"], &["CMD"], &["CMD-SHELL"], &["OTHER", "x"]] {
            assert_eq!(none.with_image(&image(test)), Ok(None), "{test:?}");
        }
        let shell = none.with_image(&image(&["CMD-SHELL", "exit 1"])).unwrap().unwrap();
        assert_eq!(shell.args, ["/bin/sh", "-c", "exit 1"]);
        let odd =
            HealthCheck { interval_ns: 1, timeout_ns: -1, retries: -5, ..image(&["CMD", "a"]) };
        let plan = none.with_image(&odd).unwrap().unwrap();
        assert_eq!((plan.interval, plan.timeout, plan.retries), (LEAST, TIMEOUT, RETRIES));
        let long = "x".repeat(MOST_BYTES + 1);
        assert_eq!(none.with_image(&image(&["CMD", &long])), Err(HealthError::Long));
        assert_eq!(none.with_image(&image(&["CMD", "\0"])), Err(HealthError::Null));
    }

    #[test]
    fn times_are_times() {
        let typed = |interval: &str| HealthArgs {
            health_interval: Some(interval.to_owned()),
            ..HealthArgs::default()
        };
        let choices = HealthChoices::resolve(&typed("1m30s")).unwrap();
        assert_eq!(choices.interval, Some(Duration::from_secs(90)));
        let wrong = HealthChoices::resolve(&typed("soon")).unwrap_err().to_string();
        assert_eq!(wrong, "--health-interval \"soon\" is no time");
        let short = HealthChoices::resolve(&typed("1ms")).unwrap_err().to_string();
        assert_eq!(short, "--health-interval is less than 100ms");
    }
}
