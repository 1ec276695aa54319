//! Money as whole minor units, so that sums neither drift nor depend on their order.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::error::{Quoted, Result, bail};

/// The largest amount of one event, in minor units: a billion dollars in cents.
/// A full history of 65,536 such events still sums to an integer that JavaScript holds exactly.
pub(crate) const MAX_MINOR: i64 = 100_000_000_000;

/// The largest sum that is reported, in minor units: JavaScript's largest exact integer.
pub(crate) const MAX_SUM: i64 = (1 << 53) - 1;

/// A currency: its ISO 4217 code and the number of decimals of its minor unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Currency {
    /// ISO 4217 code, for example `USD`.
    pub code: String,
    /// Decimals of the minor unit: 2 for USD, 0 for JPY; at most 4.
    pub exponent: u8,
}

crate::wire::fields!(Currency { code, exponent });

impl Currency {
    /// Minor units in one major unit: 100 for USD.
    pub fn scale(&self) -> i64 {
        10_i64.pow(u32::from(self.exponent.min(4)))
    }

    /// Reads a decimal such as `12.34` exactly.
    ///
    /// # Errors
    /// `invalid_amount` for a sign, an exponent, a grouping mark, or more decimals than the currency has.
    pub fn parse(&self, text: &str) -> Result<i64> {
        match self.parse_exact(text) {
            Some(minor) => Ok(minor),
            None => bail!(
                InvalidAmount,
                "{} is not an amount in {}; write digits, a point and at most {} decimals, as 12.34, from 0 to {}",
                Quoted(crate::event::clip(text)),
                self.code,
                self.exponent,
                self.format(MAX_MINOR)
            ),
        }
    }

    fn parse_exact(&self, text: &str) -> Option<i64> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if text.len() > 32 {
            return None;
        }
        let is_number = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let kept = fraction.trim_end_matches('0');
        let decimals = usize::from(self.exponent.min(4));
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) || kept.len() > decimals {
            return None;
        }
        let pad = 10_i64.pow((decimals - kept.len()) as u32);
        let minor_part = if kept.is_empty() { 0 } else { kept.parse::<i64>().ok()? * pad };
        let minor = whole.parse::<i64>().ok()?.checked_mul(self.scale())?.checked_add(minor_part)?;
        (minor <= MAX_MINOR).then_some(minor)
    }

    /// Takes the minor unit nearest to a floating-point amount in major units.
    ///
    /// # Errors
    /// `invalid_amount` when it is not finite, is negative, or is over a billion dollars in cents.
    pub fn from_f64(&self, major: f64) -> Result<i64> {
        let minor = libm::round(major * self.scale() as f64);
        if !(0.0..=MAX_MINOR as f64).contains(&minor) || major < 0.0 {
            bail!(
                InvalidAmount,
                "the amount in {} is not a number from 0 to {}; a return is an event of kind \"return\" with a positive amount",
                self.code,
                self.format(MAX_MINOR)
            );
        }
        Ok(minor as i64)
    }

    /// Checks an amount that is already in minor units.
    ///
    /// # Errors
    /// `invalid_amount` when it is negative or too large.
    pub fn from_minor(&self, minor: i64) -> Result<i64> {
        if !(0..=MAX_MINOR).contains(&minor) {
            bail!(
                InvalidAmount,
                "amount {minor} in minor units is not from 0 to {MAX_MINOR}; a return is an event of kind \"return\" with a positive amount"
            );
        }
        Ok(minor)
    }

    /// Writes minor units as a decimal: 1234 is `12.34`.
    pub fn format(&self, minor: i64) -> String {
        let sign = if minor < 0 { "-" } else { "" };
        let (minor, scale) = (minor.unsigned_abs(), self.scale().unsigned_abs());
        match usize::from(self.exponent.min(4)) {
            0 => alloc::format!("{sign}{minor}"),
            width => alloc::format!("{sign}{}.{:0width$}", minor / scale, minor % scale),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd() -> Currency {
        Currency { code: "USD".into(), exponent: 2 }
    }

    #[test]
    fn decimals_are_exact() {
        for (text, minor) in [
            ("0", 0),
            ("12.34", 1234),
            ("12.3", 1230),
            ("12.340", 1234),
            ("0.07", 7),
            ("1000000000", MAX_MINOR),
        ] {
            assert_eq!(usd().parse(text).unwrap(), minor, "{text}");
        }
        assert_eq!(usd().from_f64(0.1 + 0.2).unwrap(), 30);
        assert_eq!(usd().from_f64(1.15).unwrap(), 115);
        let yen = Currency { code: "JPY".into(), exponent: 0 };
        assert_eq!((yen.parse("980").unwrap(), yen.format(980).as_str()), (980, "980"));
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for text in [
            "",
            ".",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1,000",
            "12.345",
            "NaN",
            "99999999999999999999",
            "00000000000000000000000000000000000000500.00",
            "1000000000.01",
            "１",
        ] {
            assert_eq!(usd().parse(text).unwrap_err().code(), "invalid_amount", "{text}");
        }
        for amount in [f64::NAN, f64::INFINITY, -0.01, -0.001, 1e300] {
            assert_eq!(usd().from_f64(amount).unwrap_err().code(), "invalid_amount", "{amount}");
        }
        assert_eq!(usd().from_minor(-1).unwrap_err().code(), "invalid_amount");
    }

    #[test]
    fn formatting_is_the_inverse_of_parsing() {
        for minor in [0, 1, 99, 100, 123_456_789] {
            assert_eq!(usd().parse(&usd().format(minor)).unwrap(), minor);
        }
        assert_eq!(usd().format(-105), "-1.05");
    }
}
