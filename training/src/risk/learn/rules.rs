//! Rules beside the models: the thresholds that the rows to learn from would make somebody write, and declared ones.

use anyhow::{Context, ensure};
use serde_json::json;

use super::{Model, Parts, Scorer, validation};
use crate::{
    models::risk::{
        Labelled,
        alerts::Budget,
        rules::{self, Made, Rules},
    },
    project::count,
    risk::{
        evaluate::Args,
        rows::Rows,
        rule_file::{self, RuleFile},
    },
};

/// What looks for thresholds within so many alerts.
type Make = fn(&Labelled<'_>, usize) -> anyhow::Result<Option<Made>>;

/// Adds the best one and two thresholds.
pub(super) fn made(
    args: &Args,
    rows: &Rows,
    parts: &Parts,
    (earlier, later, train): (&Labelled<'_>, &Labelled<'_>, &Labelled<'_>),
    models: &mut Vec<Model>,
) -> anyhow::Result<()> {
    let alerts = |from: usize, to: usize| -> anyhow::Result<usize> {
        let budget = Budget::new(rows.times[from]..=rows.times[to - 1], args.alerts_per_day)?;
        Ok((budget.total() as usize).max(1))
    };
    let (few, all) = (alerts(0, rows.later)?, alerts(0, rows.test)?);
    let ways: [(&str, &str, Make); 2] = [
        ("one-threshold", "one threshold", rules::best_single),
        ("two-thresholds", "two thresholds", rules::best_pair),
    ];
    let before_rules = models.len();
    for (name, title, make) in ways {
        let (Some(before), Some(after)) = (make(earlier, few)?, make(train, all)?) else { continue };
        let text = rule_file::text(&after.rule, &rows.names);
        let found = format!(
            "{text}: the {title} that find most frauds within {all} alerts of the rows to learn from, {} of {}",
            after.found,
            train.frauds()
        );
        let before = Rules::new(vec![before.rule], &parts.earlier)?.scores(&parts.later);
        models.push(Model {
            name,
            title,
            about: found.replace("threshold that find", "threshold that finds"),
            settings: json!({ "rule": text, "alerts": after.alerts, "found": after.found }),
            ..ruled(Rules::new(vec![after.rule], &parts.train)?, before, parts, later)
        });
    }
    ensure!(
        models.len() > before_rules,
        "no threshold finds a fraud within {all} alerts of the rows to learn from; raise --alerts-per-day"
    );
    Ok(())
}

/// Rules with their scores.
fn ruled(rules: Rules, before: Vec<f64>, parts: &Parts, later: &Labelled<'_>) -> Model {
    let validation = validation(&before, Some(later));
    let test = rules.scores(&parts.test);
    Model {
        name: "rules",
        title: "declared rules",
        about: String::new(),
        settings: json!(null),
        later: before,
        test,
        says_chances: false,
        validation,
        tried: Vec::new(),
        scorer: Scorer::Rules(rules),
    }
}

pub(super) fn declared(
    file: RuleFile,
    rows: &Rows,
    parts: &Parts,
    later: &Labelled<'_>,
) -> anyhow::Result<Model> {
    let texts: Vec<String> = file
        .rules
        .iter()
        .zip(&file.names)
        .map(|(rule, name)| format!("{name}: {}", rule_file::text(rule, &rows.names)))
        .collect();
    let before =
        Rules::new(file.rules.clone(), &parts.earlier).context("the declared rules")?.scores(&parts.later);
    Ok(Model {
        about: format!(
            "{}, version {}; thresholds move together",
            count(file.rules.len(), "rule"),
            file.version
        ),
        settings: json!({ "rules": texts, "version": file.version }),
        ..ruled(Rules::new(file.rules, &parts.train)?, before, parts, later)
    })
}
