//! Sizes as Docker writes them: `512m`, `1.5g`, `64MiB`; units are powers of 1024, whatever their case.

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// It does not have the form.
    #[error("{0:?} is no size")]
    Malformed(String),
    /// It does not fit.
    #[error("{0:?} is more than any memory")]
    TooLarge(String),
}

/// What helps with any of them.
pub const SIZE_HINT: &str = "a size is a number with an optional unit b, k, m, g or t, as in 512m";

/// One MiB, in bytes.
pub const MIB: u64 = 1024 * 1024;

/// Bytes. A number without a unit is bytes.
///
/// # Errors
/// [`SizeError`] for anything else than `NUMBER[.NUMBER][ ][k|m|g|t|p][i][b]`.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let malformed = || SizeError::Malformed(text.to_owned());
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(malformed()),
    };
    let too_large = || SizeError::TooLarge(text.to_owned());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(malformed());
    }
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let whole = whole.checked_mul(1 << shift).ok_or_else(too_large)?;
    // Nine digits tell any two sizes apart that a human would write; the rest is cut off.
    let digits = fraction.get(..9).unwrap_or(fraction);
    let scale = 10u64.pow(u32::try_from(digits.len()).unwrap_or(0));
    let fraction: u64 = digits.parse().map_err(|_| malformed())?;
    let part = u128::from(fraction) * (1u128 << shift) / u128::from(scale);
    whole.checked_add(u64::try_from(part).map_err(|_| too_large())?).ok_or_else(too_large)
}

/// A size as a human reads it: the largest unit that leaves no remainder.
pub fn show(bytes: u64) -> String {
    [(1 << 40, "TiB"), (1 << 30, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")]
        .into_iter()
        .find(|&(unit, _)| bytes >= unit && bytes.is_multiple_of(unit))
        .map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{} {name}", bytes / unit))
}
