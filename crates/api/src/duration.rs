//! Durations as the API writes them: `metav1.Duration`, the text of Go's `time.Duration`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// A signed duration with nanoseconds, written like `90s`, `1m30s`, `1.5h` or `-300ms`; at most
/// about 292 years in either direction, as in Go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    nanoseconds: i64,
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a sequence of number and unit.
    #[error("invalid duration {0:?}: write it like 90s or 1m30s")]
    Invalid(String),
    /// A number without a unit, or with an unknown one.
    #[error("missing or unknown unit in duration {0:?}: use ns, us, ms, s, m or h")]
    Unit(String),
    /// Longer than 292 years.
    #[error("duration {0:?} is too long")]
    TooLong(String),
}

impl Duration {
    /// A duration of whole seconds; longer ones than can be written become the longest.
    pub fn from_secs(seconds: u32) -> Self {
        Self {
            nanoseconds: i64::from(seconds).saturating_mul(SECOND.cast_signed()),
        }
    }

    /// The length in nanoseconds, negative for a negative duration.
    pub fn nanoseconds(self) -> i64 {
        self.nanoseconds
    }

    /// The length in whole seconds, the rest cut off towards zero.
    pub fn seconds(self) -> i64 {
        self.nanoseconds / SECOND.cast_signed()
    }

    /// The length, or `None` if the duration is negative.
    pub fn to_std(self) -> Option<time::Duration> {
        u64::try_from(self.nanoseconds)
            .ok()
            .map(time::Duration::from_nanos)
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || DurationError::Invalid(text.to_owned());
        let too_long = || DurationError::TooLong(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let number_end = rest
                .find(|c: char| c != '.' && !c.is_ascii_digit())
                .ok_or_else(|| DurationError::Unit(text.to_owned()))?;
            let (number, after) = rest.split_at(number_end);
            let unit_end = after
                .find(|c: char| c == '.' || c.is_ascii_digit())
                .unwrap_or(after.len());
            let (unit, next) = after.split_at(unit_end);
            let scale = match unit {
                "ns" => 1,
                "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
                "ms" => MILLISECOND,
                "s" => SECOND,
                "m" => MINUTE,
                "h" => HOUR,
                _ => return Err(DurationError::Unit(text.to_owned())),
            };
            let part = scaled(number, scale).ok_or_else(invalid)?;
            total = total.checked_add(part).ok_or_else(too_long)?;
            rest = next;
        }
        let signed = if negative { -total } else { total };
        let nanoseconds = i64::try_from(signed).map_err(|_| too_long())?;
        Ok(Self { nanoseconds })
    }
}

/// `number` (digits with at most one point) times `scale`, cut off to whole nanoseconds. A number
/// too large to be told exactly stays too large.
fn scaled(number: &str, scale: u64) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let digits = |text: &str| {
        text.bytes().fold(0_i128, |value, digit| {
            value
                .saturating_mul(10)
                .saturating_add(i128::from(digit - b'0'))
        })
    };
    let scale = i128::from(scale);
    let mut total = digits(whole).saturating_mul(scale);
    // Eighteen digits are more than the finest unit can tell apart.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let divisor = fraction.bytes().fold(1_i128, |divisor, _| divisor * 10);
    total = total.saturating_add(digits(fraction) * scale / divisor);
    Some(total)
}

impl fmt::Display for Duration {
    /// The text that Go prints: `1m30s`, `300ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.nanoseconds.unsigned_abs();
        if self.nanoseconds < 0 {
            f.write_str("-")?;
        }
        let (unit, name) = match total {
            0 => return f.write_str("0s"),
            1..MICROSECOND => (1, "ns"),
            MICROSECOND..MILLISECOND => (MICROSECOND, "\u{b5}s"),
            MILLISECOND..SECOND => (MILLISECOND, "ms"),
            _ => (SECOND, "s"),
        };
        let (hours, minutes) = (total / HOUR, total % HOUR / MINUTE);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        let rest = total % MINUTE;
        write!(f, "{}", rest / unit)?;
        let fraction = rest % unit;
        if fraction > 0 {
            let width = usize::try_from(unit.ilog10()).unwrap_or_default();
            let digits = format!("{fraction:0width$}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str(name)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn go_texts_are_read_and_written() {
        for (text, nanoseconds, printed) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("-0s", 0, "0s"),
            ("90s", 90_000_000_000, "1m30s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("1h", 3_600_000_000_000, "1h0m0s"),
            (".5s", 500_000_000, "500ms"),
            ("1.s", 1_000_000_000, "1s"),
            ("300ms", 300_000_000, "300ms"),
            ("1.25ms", 1_250_000, "1.25ms"),
            ("7us", 7_000, "7\u{b5}s"),
            ("7\u{b5}s1ns", 7_001, "7.001\u{b5}s"),
            ("-2.000000001s", -2_000_000_001, "-2.000000001s"),
            ("+3s", 3_000_000_000, "3s"),
        ] {
            let duration: Duration = text.parse().expect(text);
            assert_eq!(duration.nanoseconds(), nanoseconds, "{text}");
            assert_eq!(duration.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |text: &str| text.parse::<Duration>().expect_err(text);
        for text in ["", "-", ".s", "1.2.3s"] {
            assert!(matches!(error(text), DurationError::Invalid(_)), "{text}");
        }
        for text in ["3", "3 s", "3d", "s", "1s 2s", "\u{661}s"] {
            assert!(
                matches!(
                    error(text),
                    DurationError::Unit(_) | DurationError::Invalid(_)
                ),
                "{text}"
            );
        }
        for text in ["9999999h", "99999999999999999999999999999999999999999999h"] {
            assert!(matches!(error(text), DurationError::TooLong(_)), "{text}");
        }
    }

    #[test]
    fn a_negative_duration_has_no_length() {
        let negative: Duration = "-1s".parse().expect("valid");
        assert_eq!(negative.to_std(), None);
        assert_eq!(
            Duration::from_secs(90).to_std(),
            Some(time::Duration::from_secs(90))
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanoseconds: i64) {
            let duration = Duration { nanoseconds };
            prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        }

        #[test]
        fn parsing_never_panics(text in "[-+]?[0-9.nuµmsh \\PC]*") {
            let _ = text.parse::<Duration>();
        }
    }
}
