//! Figures as people write them: three digits that count, and a unit that fits.

use crate::record::Unit;

/// A figure with its unit.
pub(super) fn figure(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds => scaled(value, &[(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")]),
        Unit::BytesPerSecond => scaled(
            value,
            &[
                (1.0, "B/s"),
                (1024.0, "KiB/s"),
                (1024.0 * 1024.0, "MiB/s"),
                (1024.0 * 1024.0 * 1024.0, "GiB/s"),
            ],
        ),
        Unit::PerSecond => scaled(value, &[(1.0, "/s"), (1e3, "k/s"), (1e6, "M/s"), (1e9, "G/s")]),
    }
}

/// In the greatest unit that leaves something before the point.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    // What rounds up to the next unit is written in it.
    let fits = |size: f64| value >= size * 0.9995;
    let unit = units.iter().rev().find(|(size, _)| fits(*size)).or(units.first());
    let (size, name) = unit.copied().unwrap_or((1.0, ""));
    format!("{} {name}", digits(value / size))
}

/// Three digits that count, or all before the point.
fn digits(value: f64) -> String {
    let decimals = match value {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// How often something happens.
pub(super) fn count(value: f64) -> String {
    match value {
        value if value >= 1e6 => scaled(value, &[(1e6, "M"), (1e9, "G")]),
        value if value >= 99.95 || value.fract() == 0.0 => format!("{value:.0}"),
        _ => digits(value),
    }
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent.abs() >= 9.95 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

/// A multiple.
pub(super) fn times(cost: f64) -> String {
    format!("{}×", digits(cost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        let seconds = |value| figure(value, Unit::Seconds);
        assert_eq!(seconds(0.0), "0.00 ns");
        assert_eq!(seconds(1.234e-9), "1.23 ns");
        assert_eq!(seconds(0.012_345), "12.3 ms");
        assert_eq!(seconds(0.999_9), "1.00 s");
        assert_eq!(seconds(1234.0), "1234 s");
        assert_eq!(figure(1536.0, Unit::BytesPerSecond), "1.50 KiB/s");
        assert_eq!(figure(2.5e10, Unit::PerSecond), "25.0 G/s");
        assert_eq!(percent(0.0123), "1.2 %");
        assert_eq!(percent(-0.42), "-42 %");
        assert_eq!(times(1.0), "1.00×");
        assert_eq!(times(123.4), "123×");
        assert_eq!(
            [0.5, 7.0, 12.34, 4321.4, 2.5e6].map(count),
            ["0.50", "7", "12.3", "4321", "2.50 M"]
        );
    }
}
