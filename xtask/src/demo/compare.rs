//! The same members in four runtimes: features, probabilities and profiles by bits, tiers and standing exactly.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// One member's scores in one runtime.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    member: String,
    bits: Vec<u32>,
    probabilities: Vec<u32>,
    pub(crate) tier: u64,
    /// Empty where a runtime does not say it.
    pub(crate) tier_name: String,
    standing: Value,
    /// None where the bundle has no profiles.
    profile: Option<Profile>,
}

/// How one member behaves, in one runtime.
#[derive(Debug, Clone, PartialEq)]
struct Profile {
    /// The embedding, the chance of no purchase, the days to the next one, and the interests' shares.
    bits: Vec<u32>,
    /// The segment's name, and the interests'.
    names: Vec<String>,
}

/// What `tiercast score` says of every member.
#[derive(Debug)]
pub(crate) struct Native {
    /// The moment of the assessments, which the other runtimes are given.
    pub(crate) as_of: String,
    pub(crate) rows: BTreeMap<String, Row>,
}

impl Native {
    /// Reads its output with features.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let values = list(path)?;
        let as_of =
            values.first().and_then(|row| row["asOf"].as_str()).context("no asOf in the native scores")?;
        let rows = read(path)?.into_iter().map(|row| (row.member.clone(), row)).collect();
        Ok(Self { as_of: as_of.to_owned(), rows })
    }

    /// Whether its members have profiles.
    pub(crate) fn has_profiles(&self) -> bool {
        self.rows.values().any(|row| row.profile.is_some())
    }
}

/// How far a runtime agrees with the native scores.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    pub(crate) members: usize,
    pub(crate) feature_bits: usize,
    pub(crate) tiers: usize,
    pub(crate) standings: usize,
    pub(crate) probability_bits: usize,
    /// Members without a profile in either agree as well.
    pub(crate) profiles: usize,
    /// The first few differences, in words.
    pub(crate) differences: Vec<String>,
}

/// How many differences are told.
const TOLD: usize = 5;

impl Agreement {
    /// Compares a runtime's rows with the native ones of the same members, of whom there were so many.
    pub(crate) fn of(native: &Native, other: &[Row], members: usize) -> Self {
        let mut agreement = Self { members, ..Self::default() };
        if other.len() != members {
            agreement.tell(format!("{} members were scored, not {members}", other.len()));
        }
        let mut seen = BTreeSet::new();
        for theirs in other {
            if !seen.insert(&theirs.member) {
                agreement.tell(format!("{}: scored more than once", theirs.member));
            }
            match native.rows.get(&theirs.member) {
                Some(ours) => agreement.add(ours, theirs),
                None => agreement.tell(format!("{}: not scored natively", theirs.member)),
            }
        }
        agreement
    }

    /// Whether there is no difference.
    pub(crate) fn is_whole(&self) -> bool {
        self.differences.is_empty()
    }

    fn add(&mut self, ours: &Row, theirs: &Row) {
        let member = &ours.member;
        match ours.bits == theirs.bits {
            true => self.feature_bits += 1,
            false => self.tell(format!("{member}: features {}", bits_difference(&ours.bits, &theirs.bits))),
        }
        match ours.tier == theirs.tier {
            true => self.tiers += 1,
            false => self.tell(format!("{member}: tier {}, natively {}", theirs.tier, ours.tier)),
        }
        match ours.standing == theirs.standing {
            true => self.standings += 1,
            false => self.tell(format!("{member}: standing {}, natively {}", theirs.standing, ours.standing)),
        }
        match ours.probabilities == theirs.probabilities {
            true => self.probability_bits += 1,
            false => self.tell(format!(
                "{member}: probabilities {}",
                bits_difference(&ours.probabilities, &theirs.probabilities)
            )),
        }
        match ours.profile == theirs.profile {
            true => self.profiles += 1,
            false => self.tell(format!(
                "{member}: profile {}",
                profile_difference(ours.profile.as_ref(), theirs.profile.as_ref())
            )),
        }
    }

    fn tell(&mut self, difference: String) {
        match self.differences.len() {
            n if n < TOLD => self.differences.push(difference),
            TOLD => self.differences.push("… and more".to_owned()),
            _ => {}
        }
    }
}

fn bits_difference(ours: &[u32], theirs: &[u32]) -> String {
    match ours.iter().zip(theirs).position(|(a, b)| a != b) {
        Some(i) => format!("{i}: {:08x}, natively {:08x}", theirs[i], ours[i]),
        None => format!("{}, natively {}", theirs.len(), ours.len()),
    }
}

fn profile_difference(ours: Option<&Profile>, theirs: Option<&Profile>) -> String {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours.names != theirs.names => {
            format!("names {:?}, natively {:?}", theirs.names, ours.names)
        }
        (Some(ours), Some(theirs)) => bits_difference(&ours.bits, &theirs.bits),
        (ours, _) => (if ours.is_some() { "missing" } else { "not there natively" }).to_owned(),
    }
}

/// How many members `tiercast members` wrote.
pub(crate) fn count(members: &Path) -> Result<usize> {
    let text = fs::read_to_string(members).with_context(|| format!("cannot read {}", members.display()))?;
    let file: Value = serde_json::from_str(&text).with_context(|| members.display().to_string())?;
    file["members"].as_array().map(Vec::len).with_context(|| format!("{}: no members", members.display()))
}

/// Reads what a runtime wrote: features as `bits` (hexadecimal) or as numbers, null for a missing one.
pub(crate) fn read(path: &Path) -> Result<Vec<Row>> {
    let rows = list(path)?;
    rows.iter().map(|row| parse(row).with_context(|| format!("{}: {row}", path.display()))).collect()
}

fn list(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let rows: Vec<Value> = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    ensure!(!rows.is_empty(), "{}: no member was scored", path.display());
    Ok(rows)
}

fn parse(row: &Value) -> Result<Row> {
    Ok(Row {
        member: row["member"].as_str().context("no member")?.to_owned(),
        bits: bits(row)?,
        probabilities: probabilities(&row["probabilities"])?,
        tier: row["tier"].as_u64().context("no tier")?,
        tier_name: row["tierName"].as_str().unwrap_or_default().to_owned(),
        standing: plain(row["standing"].clone()),
        profile: row.get("churn").map(|_| profile(row)).transpose()?,
    })
}

fn profile(row: &Value) -> Result<Profile> {
    let interests = row["interests"].as_array().context("no interests")?;
    let embedding = row["embedding"].as_array().context("no embedding")?;
    let shares = interests.iter().map(|interest| &interest["share"]);
    let numbers = embedding.iter().chain([&row["churn"], &row["nextPurchase"]]).chain(shares);
    let names = interests.iter().map(|interest| &interest["name"]);
    let name = |name: &Value| name.as_str().map(str::to_owned).context("a name is missing");
    ensure!(!embedding.is_empty(), "an empty embedding");
    Ok(Profile {
        bits: sound_bits(&numbers.cloned().collect()).context("no profile")?,
        names: [&row["segment"]].into_iter().chain(names).map(name).collect::<Result<_>>()?,
    })
}

fn bits(row: &Value) -> Result<Vec<u32>> {
    if let Some(words) = row["bits"].as_array() {
        let word = |w: &Value| u32::from_str_radix(w.as_str().unwrap_or_default(), 16).context("bits");
        return words.iter().map(word).collect();
    }
    float_bits(&row["features"]).context("no features")
}

fn probabilities(numbers: &Value) -> Result<Vec<u32>> {
    sound_bits(numbers).context("no probabilities")
}

/// The bits of numbers of which none may be missing: two that are not numbers would agree.
fn sound_bits(numbers: &Value) -> Result<Vec<u32>> {
    let bits = float_bits(numbers).with_context(|| format!("not numbers: {numbers}"))?;
    let sound = bits.iter().all(|bits| f32::from_bits(*bits).is_finite());
    ensure!(sound && !bits.is_empty(), "not finite numbers: {numbers}");
    Ok(bits)
}

/// The bits of 32-bit floats; null is NaN. The shortest decimal of one gives it again when read as f64 and rounded.
fn float_bits(numbers: &Value) -> Option<Vec<u32>> {
    let bits = |x: &Value| match x {
        Value::Null => Some(f32::NAN.to_bits()),
        x => Some((x.as_f64()? as f32).to_bits()),
    };
    numbers.as_array()?.iter().map(bits).collect()
}

/// Without absent values, and with one form for whole numbers.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, plain(v))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(plain).collect()),
        Value::Number(n) => n.as_f64().map_or(Value::Null, Value::from),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(features: Value, tier: u64, p: f64) -> Row {
        let standing = json!({"tier": 2, "spend": 12.0, "next": null});
        let row = json!({"member": "m", "features": features, "probabilities": [p, 1.0 - p], "tier": tier, "standing": standing});
        parse(&row).expect("a row")
    }

    fn native(row: Row) -> Native {
        Native { as_of: String::new(), rows: BTreeMap::from([(row.member.clone(), row)]) }
    }

    #[test]
    fn equal_rows_agree_in_either_form() {
        let ours = native(row(json!([1.5, null]), 1, 0.25));
        let theirs = parse(&json!({"member": "m", "bits": ["3fc00000", "7fc00000"],
            "probabilities": [0.25, 0.75], "tier": 1, "standing": {"spend": 12, "tier": 2}}));
        let agreement = Agreement::of(&ours, &[theirs.expect("a row")], 1);
        assert!(agreement.is_whole(), "{:?}", agreement.differences);
        assert_eq!(
            (agreement.feature_bits, agreement.probability_bits, agreement.tiers, agreement.standings),
            (1, 1, 1, 1)
        );
    }

    fn with_profile(embedding: Value, segment: &str, share: f64) -> Row {
        let interests = json!([{"name": "tea", "share": share}]);
        let row = json!({"member": "m", "features": [1.5], "probabilities": [0.25, 0.75], "tier": 1, "standing": {},
            "churn": 0.5, "nextPurchase": 7.5, "segment": segment, "interests": interests, "embedding": embedding});
        parse(&row).expect("a row")
    }

    #[test]
    fn profiles_are_compared_by_bits_and_names() {
        let ours = with_profile(json!([0.5, -0.25]), "rare", 0.75);
        let agreement = |other: Row| Agreement::of(&native(ours.clone()), &[other], 1);
        assert_eq!((agreement(ours.clone()).profiles, agreement(ours.clone()).is_whole()), (1, true));
        for other in [
            with_profile(json!([0.5, -0.250_000_03]), "rare", 0.75),
            with_profile(json!([0.5]), "rare", 0.75),
            with_profile(json!([0.5, -0.25]), "frequent", 0.75),
            with_profile(json!([0.5, -0.25]), "rare", 0.750_000_1),
            Row { profile: None, ..ours.clone() },
        ] {
            assert_eq!((agreement(other.clone()).profiles, agreement(other).differences.len()), (0, 1));
        }
        let half = json!({"member": "m", "features": [1.5], "probabilities": [1.0], "tier": 1, "churn": 0.5});
        assert!(parse(&half).is_err());
    }

    #[test]
    fn every_kind_of_difference_is_told() {
        let ours = row(json!([1.5]), 1, 0.25);
        let differences = |other: Row| Agreement::of(&native(ours.clone()), &[other], 1).differences.len();
        assert_eq!(differences(ours.clone()), 0);
        assert_eq!(differences(row(json!([1.500_000_2]), 1, 0.25)), 1);
        assert_eq!(differences(row(json!([1.5, 2.0]), 1, 0.25)), 1);
        assert_eq!(differences(row(json!([1.5]), 2, 0.25)), 1);
        assert_eq!(differences(row(json!([1.5]), 1, 0.250_000_03)), 1);
        assert_eq!(differences(Row { standing: json!({"tier": 3}), ..ours.clone() }), 1);
        assert_eq!(differences(Row { member: "n".to_owned(), ..ours.clone() }), 1);
        assert!(!Agreement::of(&native(ours.clone()), &[], 1).is_whole());
        assert!(!Agreement::of(&native(ours.clone()), &[ours.clone(), ours], 2).is_whole());
    }

    #[test]
    fn a_row_without_its_numbers_is_refused() {
        let row = |features: Value, probabilities: Value| {
            parse(&json!({"member": "m", "features": features, "probabilities": probabilities, "tier": 1}))
        };
        assert!(row(json!([1.5, null]), json!([0.25, 0.75])).is_ok());
        for probabilities in
            [json!(null), json!([]), json!([0.25, null]), json!([0.25, "NaN"]), json!([0.25, 1e39])]
        {
            assert!(row(json!([1.5]), probabilities.clone()).is_err(), "{probabilities}");
        }
        assert!(row(json!(["1.5"]), json!([0.25, 0.75])).is_err());
        assert!(row(json!(null), json!([0.25, 0.75])).is_err());
    }
}
