//! The one figure in a program's output. What a guest prints is read as data: a figure that nothing can have, or none,
//! is an error.

/// Where a figure stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// In stress-ng's table of metrics: operations a second of real time.
    Stressor(&'static str),
    /// The number after these words, in this unit.
    After(&'static str, f64),
    /// The last field of the last line that begins so, and how fields are separated.
    LastOf(&'static str, char),
    /// The number at this place of the last JSON document (RFC 6901).
    Json(&'static str),
}

/// Why an output has no figure.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ReadingError {
    /// It is not there.
    #[error("its output has no figure where one belongs")]
    Missing,
    /// No measurement gives it.
    #[error("{0} is no figure of anything")]
    Absurd(f64),
}

/// Figures beyond this are no measurement.
const MOST: f64 = 1e17;

impl Reading {
    /// The figure.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of(self, output: &str) -> Result<f64, ReadingError> {
        let found = match self {
            Self::Stressor(name) => stressor(output, name),
            Self::After(words, scale) => after(output, words).map(|number| number * scale),
            Self::LastOf(start, separator) => last_of(output, start, separator),
            Self::Json(place) => json(output, place),
        };
        let figure = found.ok_or(ReadingError::Missing)?;
        if figure > 0.0 && figure < MOST { Ok(figure) } else { Err(ReadingError::Absurd(figure)) }
    }
}

/// `stress-ng: metrc: [7] fork  1234  1.00  0.10  0.50  1234.00  2056.67`
fn stressor(output: &str, name: &str) -> Option<f64> {
    let rows = output.lines().filter_map(|line| line.split_once("] "));
    let row = rows.map(|(_, row)| row.split_whitespace().collect::<Vec<_>>());
    row.filter(|row| row.first() == Some(&name) && row.len() >= 7)
        .find_map(|row| row.get(5)?.parse().ok())
}

/// The first number after these words.
fn after(output: &str, words: &str) -> Option<f64> {
    let (_, rest) = output.split_once(words)?;
    let rest = rest.trim_start();
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    rest.get(..end.unwrap_or(rest.len()))?.parse().ok()
}

fn last_of(output: &str, start: &str, separator: char) -> Option<f64> {
    let line = output.lines().rfind(|line| line.starts_with(start))?;
    line.rsplit(separator).next()?.trim().parse().ok()
}

fn json(output: &str, place: &str) -> Option<f64> {
    // Programs say other things before it.
    let document = output.get(output.find('{')?..=output.rfind('}')?)?;
    let value: serde_json::Value = serde_json::from_str(document).ok()?;
    value.pointer(place)?.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STRESS_NG: &str = "\
stress-ng: info:  [7] dispatching hogs: 1 fork
stress-ng: metrc: [7] stressor       bogo ops real time  usr time  sys time   bogo ops/s     bogo ops/s
stress-ng: metrc: [7]                           (secs)    (secs)    (secs)   (real time) (usr+sys time)
stress-ng: metrc: [7] fork               4321      1.00      0.05      0.63      4320.50        6354.41
";

    #[test]
    fn each_program_is_understood() {
        assert_eq!(Reading::Stressor("fork").of(STRESS_NG), Ok(4320.5));
        assert_eq!(Reading::Stressor("pipe").of(STRESS_NG), Err(ReadingError::Missing));
        let sysbench = "CPU speed:\n    events per second:  1051.29\n\nGeneral statistics:";
        assert_eq!(Reading::After("events per second:", 1.0).of(sysbench), Ok(1051.29));
        let memory = "10240.00 MiB transferred (8000.50 MiB/sec)";
        assert_eq!(Reading::After("MiB transferred (", 2.0).of(memory), Ok(16001.0));
        let openssl = "+DT:sha256:1:8192\n+R:49337:sha256:1.000000\n+F:22:sha256:404168704.00\n";
        assert_eq!(Reading::LastOf("+F:", ':').of(openssl), Ok(404_168_704.0));
        let fio = "note: both\n{\"jobs\": [{\"read\": {\"iops\": 12.5}}]}\n";
        assert_eq!(Reading::Json("/jobs/0/read/iops").of(fio), Ok(12.5));
    }

    #[test]
    fn what_is_no_measurement_is_refused() {
        let reading = Reading::After("it:", 1.0);
        assert_eq!(reading.of("it: 0"), Err(ReadingError::Absurd(0.0)));
        assert_eq!(reading.of("it: 1.2.3"), Err(ReadingError::Missing));
        assert_eq!(reading.of("it: nan"), Err(ReadingError::Missing));
        assert_eq!(reading.of("it: 999999999999999999999"), Err(ReadingError::Absurd(1e21)));
    }

    proptest! {
        #[test]
        fn any_output_is_borne(output in ".{0,200}", at in 0usize..4) {
            let readings = [
                Reading::Stressor("fork"), Reading::After("a", 1.0), Reading::LastOf("", ':'),
                Reading::Json("/jobs/0/read/iops"),
            ];
            if let Ok(figure) = readings[at].of(&output) {
                prop_assert!(figure.is_finite() && figure > 0.0);
            }
        }
    }
}
