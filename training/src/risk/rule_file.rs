//! Rules in a file: each a line of TOML, a name and thresholds on columns of numbers joined by "and".

use std::{fs, path::Path};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use crate::{
    locate::nearest,
    models::risk::rules::{Condition, Rule, Side},
};

/// Rules that were declared.
#[derive(Debug)]
pub(super) struct RuleFile {
    /// Their names.
    pub(super) names: Vec<String>,
    /// What they say of inputs.
    pub(super) rules: Vec<Rule>,
    /// The first twelve digits of the file's SHA-256: rules that were changed have another version.
    pub(super) version: String,
}

/// Digits of a version.
const DIGITS: usize = 12;

/// Reads rules over inputs of these names.
///
/// # Errors
/// When the file cannot be read or is no TOML, has no rule, or a rule is not one.
pub(super) fn read(path: &Path, inputs: &[String]) -> anyhow::Result<RuleFile> {
    let of = || path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", of()))?;
    parse(&text, inputs).with_context(of)
}

fn parse(text: &str, inputs: &[String]) -> anyhow::Result<RuleFile> {
    let table: toml::Table = text.parse()?;
    ensure!(!table.is_empty(), "there is no rule; a rule is a line such as {EXAMPLE}");
    let (mut names, mut rules) = (Vec::new(), Vec::new());
    for (name, value) in table {
        let Some(text) = value.as_str() else {
            bail!("rule {name:?} is no text; a rule is a line such as {EXAMPLE}")
        };
        let conditions = text.split(" and ").map(|text| condition(text, inputs));
        rules.push(conditions.collect::<anyhow::Result<_>>().with_context(|| format!("rule {name:?}"))?);
        names.push(name);
    }
    let mut version = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    version.truncate(DIGITS);
    Ok(RuleFile { names, rules, version })
}

const EXAMPLE: &str = "\"large and new\" = \"amount >= 500 and account_days <= 3\"";

fn condition(text: &str, inputs: &[String]) -> anyhow::Result<Condition> {
    let sides = [(">=", Side::AtLeast), ("<=", Side::AtMost)];
    let parted = sides.iter().find_map(|(sign, side)| text.split_once(sign).map(|parts| (parts, *side)));
    let Some(((column, value), side)) = parted else {
        bail!("{:?} has neither >= nor <=; a condition is such as amount >= 500", text.trim());
    };
    let (column, value) = (column.trim(), value.trim());
    let Some(input) = inputs.iter().position(|name| name == column) else {
        let near = nearest(column, inputs.iter().map(String::as_str));
        let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        bail!("there is no input {column:?}{near}");
    };
    let value: f32 = value.parse().with_context(|| format!("{value:?} is no number"))?;
    ensure!(value.is_finite(), "a threshold is finite, not {value}");
    Ok(Condition { input, side, value })
}

/// A rule as it would be written in a file.
pub(super) fn text(rule: &Rule, inputs: &[String]) -> String {
    let condition = |Condition { input, side, value }: &Condition| {
        let sign = if *side == Side::AtLeast { ">=" } else { "<=" };
        format!("{} {sign} {value}", inputs.get(*input).map_or("?", String::as_str))
    };
    rule.iter().map(condition).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> Vec<String> {
        ["amount", "account_days", "country=XX"].map(str::to_owned).into()
    }

    #[test]
    fn rules_are_read_and_written_alike() {
        let text_of =
            "\"large and new\" = \"amount >= 500.5 and account_days <= 3\"\nabroad = 'country=XX >= 1'\n";
        let file = parse(text_of, &inputs()).unwrap();
        let written: Vec<String> = file.rules.iter().map(|rule| text(rule, &inputs())).collect();
        let mut both: Vec<_> =
            file.names.iter().map(String::as_str).zip(written.iter().map(String::as_str)).collect();
        both.sort_unstable();
        assert_eq!(
            both,
            [("abroad", "country=XX >= 1"), ("large and new", "amount >= 500.5 and account_days <= 3")]
        );
        // sha256sum of the text.
        assert_eq!(file.version.len(), DIGITS);
        assert_ne!(file.version, parse(&text_of.replace("500.5", "501"), &inputs()).unwrap().version);
        assert_eq!(file.version, parse(text_of, &inputs()).unwrap().version);
    }

    #[test]
    fn what_is_no_rule_says_what_one_is() {
        let refused = |text: &str| format!("{:#}", parse(text, &inputs()).unwrap_err());
        assert!(refused("").contains("a rule is a line such as"));
        assert!(refused("a = 5").contains("rule \"a\" is no text"));
        assert!(refused("a = 'amount > 5'").contains("neither >= nor <="));
        assert!(refused("a = 'amuont >= 5'").contains("did you mean \"amount\"?"));
        assert!(refused("a = 'amount >= many'").contains("\"many\" is no number"));
        assert!(refused("a = 'amount >= inf'").contains("finite"));
        assert!(refused("a = ").contains("TOML"));
    }
}
