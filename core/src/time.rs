//! Timestamps, durations and calendar periods, all in UTC on the proleptic Gregorian calendar.
//!
//! There is no clock here: time comes with the call.

use alloc::string::String;
use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    error::{Error, Quoted, Result, bail},
    wire::{Reader, Wire, Writer},
};

/// Milliseconds in a day.
pub const DAY_MS: i64 = 86_400_000;

/// 2200-01-01T00:00:00Z, the first instant that is refused.
const END_MS: i64 = 7_258_118_400_000;

/// An instant: milliseconds since 1970-01-01T00:00:00Z, before the year 2200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Takes milliseconds since 1970 in UTC.
    ///
    /// # Errors
    /// `invalid_time` before 1970-01-01 or from 2200-01-01 on.
    pub fn from_ms(ms: i64) -> Result<Self> {
        if !(0..END_MS).contains(&ms) {
            bail!(
                InvalidTime,
                "timestamp {ms} is outside 1970-01-01 … 2199-12-31; give milliseconds since 1970 in UTC"
            );
        }
        Ok(Self(ms))
    }

    /// Reads `2017-03-31`, `2017-03-31T12:00:00Z` or `2017-03-31T12:00:00.250Z`.
    ///
    /// # Errors
    /// `invalid_time` when the text has another form or names a day that does not exist.
    pub fn parse(text: &str) -> Result<Self> {
        match parse_iso(text) {
            Some(ms) => Self::from_ms(ms),
            None => bail!(
                InvalidTime,
                "{} is not a date of the form 2017-03-31 or 2017-03-31T12:00:00Z (UTC)",
                Quoted(crate::event::clip(text))
            ),
        }
    }

    /// Milliseconds since 1970 in UTC.
    pub fn ms(self) -> i64 {
        self.0
    }

    /// The number of the day since 1970-01-01.
    pub fn day(self) -> i64 {
        self.0.div_euclid(DAY_MS)
    }

    /// Year, month (1–12) and day of the month (1–31).
    pub fn civil(self) -> (i64, u8, u8) {
        civil_from_days(self.day())
    }

    /// The date as `2017-03-31`.
    pub fn date(self) -> String {
        let (year, month, day) = self.civil();
        alloc::format!("{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_day = self.0.rem_euclid(DAY_MS);
        let (h, m, s, ms) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60, in_day % 1000);
        write!(f, "{}T{h:02}:{m:02}:{s:02}", self.date())?;
        if ms != 0 {
            write!(f, ".{ms:03}")?;
        }
        f.write_str("Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_ms(i64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A positive length of time, written `28d`, `2w`, `12h` or `30min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(i64);

impl Duration {
    /// A whole number of days.
    pub const fn days(days: u16) -> Self {
        Self(days as i64 * DAY_MS)
    }

    /// Milliseconds.
    pub fn ms(self) -> i64 {
        self.0
    }

    /// From milliseconds.
    ///
    /// # Errors
    /// `invalid_duration` when it is not positive, or is longer than time.
    pub(crate) fn from_ms(ms: i64) -> Result<Self> {
        if !(1..=END_MS).contains(&ms) {
            bail!(InvalidDuration, "{ms} milliseconds are not a duration");
        }
        Ok(Self(ms))
    }
}

impl FromStr for Duration {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit_ms = match unit {
            "w" => 7 * DAY_MS,
            "d" => DAY_MS,
            "h" => 3_600_000,
            "min" => 60_000,
            _ => 0,
        };
        let ms = number.parse::<i64>().ok().and_then(|n| n.checked_mul(unit_ms)).unwrap_or(0);
        if !(1..=END_MS).contains(&ms) {
            bail!(
                InvalidDuration,
                "{text:?} is not a duration; write a whole number and a unit: 28d, 2w, 12h or 30min"
            );
        }
        Ok(Self(ms))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms % DAY_MS == 0 => write!(f, "{}d", ms / DAY_MS),
            ms if ms % 3_600_000 == 0 => write!(f, "{}h", ms / 3_600_000),
            ms => write!(f, "{}min", ms / 60_000),
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = alloc::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The stretch of time over which a shop counts spend towards a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Period {
    /// Calendar months.
    Month,
    /// Calendar quarters: January, April, July, October.
    Quarter,
    /// Calendar halves: January, July.
    Half,
    /// Calendar years.
    Year,
    /// Stretches of `length` days, one of which starts at `anchor`.
    Days {
        /// Days in a period, at least 1.
        length: u16,
        /// The first day of one of the periods, milliseconds at 00:00 UTC.
        #[serde(with = "date")]
        anchor: Timestamp,
    },
}

impl Wire for Timestamp {
    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Self::from_ms(i64::read(reader)?).ok()
    }
}

impl Wire for Duration {
    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Self::from_ms(i64::read(reader)?).ok()
    }
}

crate::wire::variants!(Period { Month, Quarter, Half, Year, Days { length, anchor } });

impl Period {
    /// The period that contains `now`: its first instant, and the first instant after it.
    pub fn around(self, now: Timestamp) -> (Timestamp, Timestamp) {
        let months = match self {
            Self::Month => 1,
            Self::Quarter => 3,
            Self::Half => 6,
            Self::Year => 12,
            Self::Days { length, anchor } => {
                let length = i64::from(length.max(1)) * DAY_MS;
                let start = anchor.0 + (now.0 - anchor.0).div_euclid(length) * length;
                return (Timestamp(start), Timestamp(start + length));
            }
        };
        let (year, month, _) = now.civil();
        let first = (i64::from(month) - 1) / months * months;
        (month_start(year, first), month_start(year, first + months))
    }

    /// The period that ends where the one around `now` starts.
    pub fn before(self, now: Timestamp) -> (Timestamp, Timestamp) {
        let (start, _) = self.around(now);
        (self.around(Timestamp(start.0 - 1)).0, start)
    }
}

/// Writes and reads an anchor as a date.
mod date {
    use super::{Timestamp, de};
    use alloc::borrow::Cow;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(t: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&t.date())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        Timestamp::parse(&Cow::<'de, str>::deserialize(d)?).map_err(de::Error::custom)
    }
}

/// The same of a moment that need not be given.
pub(crate) mod moment {
    use super::{Timestamp, de};
    use alloc::{borrow::Cow, string::ToString};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(t: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
        match t {
            Some(t) => s.serialize_some(&t.to_string()),
            None => s.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<Cow<'de, str>>::deserialize(d)?;
        text.map(|text| Timestamp::parse(&text)).transpose().map_err(de::Error::custom)
    }
}

/// The first instant of a month counted from January (0); 12 is January of the next year.
fn month_start(year: i64, month: i64) -> Timestamp {
    Timestamp(days_from_civil(year + month / 12, month % 12 + 1, 1) * DAY_MS)
}

/// Days since 1970-01-01 of a civil date (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u8, day as u8)
}

fn parse_iso(text: &str) -> Option<i64> {
    if text.len() > 40 {
        return None;
    }
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let days = days_from_civil(year, month, day);
    // A day that does not exist (30 February) comes back as another one.
    if !(1..=12).contains(&month) || civil_from_days(days) != (year, month as u8, day as u8) {
        return None;
    }
    Some(days * DAY_MS + time.map_or(Some(0), parse_time)?)
}

fn parse_time(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00")).unwrap_or(text);
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.splitn(3, ':');
    let (h, m) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let s = match parts.next() {
        Some(s) => digits(s, 2)?,
        // A fraction of what, if there are no seconds?
        None if clock.len() == text.len() => 0,
        None => return None,
    };
    // Digits beyond the millisecond are dropped, as every clock of that resolution does.
    let ms = fraction.get(..3).unwrap_or(fraction);
    let scale = [0, 100, 10, 1].get(ms.len())?;
    let ms = digits(ms, ms.len())? * scale;
    (fraction.bytes().all(|b| b.is_ascii_digit()) && h < 24 && m < 60 && s < 60)
        .then_some(((h * 60 + m) * 60 + s) * 1000 + ms)
}

fn digits(text: &str, length: usize) -> Option<i64> {
    (text.len() == length && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn ms(text: &str) -> i64 {
        Timestamp::parse(text).unwrap().ms()
    }

    #[test]
    fn dates_agree_with_known_instants() {
        assert_eq!(ms("1970-01-01"), 0);
        assert_eq!(ms("2000-02-29"), 951_782_400_000);
        assert_eq!(ms("2017-03-31T12:34:56.250Z"), 1_490_963_696_250);
        assert_eq!(ms("2199-12-31T23:59:59.999Z"), END_MS - 1);
        let t = Timestamp::parse("2017-03-31T12:34:56.250Z").unwrap();
        assert_eq!(t.to_string(), "2017-03-31T12:34:56.250Z");
    }

    #[test]
    fn every_day_round_trips() {
        for day in (0..END_MS / DAY_MS).step_by(13) {
            let t = Timestamp(day * DAY_MS);
            assert_eq!(Timestamp::parse(&t.date()).unwrap(), t);
        }
    }

    #[test]
    fn impossible_times_are_refused() {
        for text in [
            "2017-02-29",
            "2017-13-01",
            "17-01-01",
            "2017-01-01T25:00:00Z",
            "",
            "2017-01-01T10:00+02:00",
            "2017-01-01T10:00.5Z",
            "2200-01-01",
            "2017-01-01T1€:00Z",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap_err().code(), "invalid_time", "{text}");
        }
        assert_eq!(Timestamp::from_ms(-1).unwrap_err().code(), "invalid_time");
        assert_eq!(Timestamp::from_ms(i64::MAX).unwrap_err().code(), "invalid_time");
    }

    #[test]
    fn periods_have_calendar_bounds() {
        let t = Timestamp::parse("2017-05-15T08:00:00Z").unwrap();
        let bounds = |p: Period| (p.around(t).0.date(), p.around(t).1.date(), p.before(t).0.date());
        let expect = |a: &str, b: &str, c: &str| (a.to_string(), b.to_string(), c.to_string());
        assert_eq!(bounds(Period::Month), expect("2017-05-01", "2017-06-01", "2017-04-01"));
        assert_eq!(bounds(Period::Quarter), expect("2017-04-01", "2017-07-01", "2017-01-01"));
        assert_eq!(bounds(Period::Half), expect("2017-01-01", "2017-07-01", "2016-07-01"));
        assert_eq!(bounds(Period::Year), expect("2017-01-01", "2018-01-01", "2016-01-01"));
        let days = Period::Days { length: 10, anchor: Timestamp::parse("2017-05-10").unwrap() };
        assert_eq!(bounds(days), expect("2017-05-10", "2017-05-20", "2017-04-30"));
    }

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in [("28d", 28 * DAY_MS), ("12h", 43_200_000), ("30min", 1_800_000)] {
            let d: Duration = text.parse().unwrap();
            assert_eq!((d.ms(), d.to_string().as_str()), (ms, text));
        }
        assert_eq!("2w".parse::<Duration>().unwrap(), Duration::days(14));
        for text in ["", "d", "0d", "-1d", "1.5d", "99999999999999999d", "1y", "€"] {
            assert_eq!(text.parse::<Duration>().unwrap_err().code(), "invalid_duration", "{text}");
        }
    }
}
