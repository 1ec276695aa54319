//! The report for a terminal, and what it says in sentences.

use tiercast_core::Timestamp;

use super::{
    evaluate::Args,
    record::{Alert, ByAlerts, FiguresRecord, ModelRecord, Report},
    rows::Rows,
};
use crate::{
    evaluate::words::{short_number, thousands},
    models::risk::resample::Interval,
    project::count,
};

/// Frauds in the test below which figures are a first impression.
const FEW: usize = 200;
/// Milliseconds of an hour and a day.
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A time: of a calendar, or since whatever the column counts from.
pub(super) fn time(ms: i64, dated: bool) -> String {
    match Timestamp::from_ms(ms) {
        Ok(time) if dated => time.to_string(),
        _ => {
            let within = ms.rem_euclid(DAY);
            let clock = (within / HOUR, within % HOUR / 60_000, within % 60_000 / 1000);
            format!("day {} {:02}:{:02}:{:02}", ms.div_euclid(DAY) + 1, clock.0, clock.1, clock.2)
        }
    }
}

/// A headline and a sentence.
pub(super) fn finding(report: &Report) -> (String, String) {
    let (Some(ours), Some(rule)) =
        (report.model(report.chosen.as_ref()), report.model(report.baseline.as_ref()))
    else {
        let rows = thousands(report.test.rows);
        let finding =
            format!("Without labels nothing says how well: the lists below are the oddest of {rows} rows.");
        return ("What is odd among the latest transactions".into(), finding);
    };
    let (Some(our), Some(their)) = (&ours.figures, &rule.figures) else { return Default::default() };
    let fewer = our.fewer_missed.unwrap_or_default();
    let headline = match () {
        () if fewer.low > 0.0 => {
            format!("Models miss {} fewer frauds than the best rule", percent(fewer.value))
        }
        () if fewer.high < 0.0 => "The best rule finds more frauds than models do".into(),
        () => "The test does not tell models from the best rule at as many alerts".into(),
    };
    let frauds = report.test.frauds.unwrap_or_default();
    let finding = format!(
        "With {} alerts a day ({} in the test's {}) {} of {frauds} frauds are found by {} and {} by {}, the rule to beat: {} fewer \
         are missed ({} to {}). {}Average precision is {} against {}.",
        short_number(report.alerts_per_day),
        thousands(report.alerts as usize),
        days(report.test.days),
        short(our.found),
        named(ours),
        short(their.found),
        named(rule),
        percent(fewer.value),
        percent(fewer.low),
        percent(fewer.high),
        at_more(our, their, report.alerts_per_day),
        three(our.average_precision.value),
        three(their.average_precision.value),
    );
    (headline, finding)
}

/// What three times as many alerts find.
fn at_more(our: &FiguresRecord, their: &FiguresRecord, per_day: f64) -> String {
    let more = |by: &&ByAlerts| (by.per_day / per_day - 3.0).abs() < 1e-9;
    match (our.by_alerts.iter().find(more), their.by_alerts.iter().find(more)) {
        (Some(our), Some(their)) => {
            format!("Three times as many alerts find {} and {}. ", short(our.found), short(their.found))
        }
        _ => String::new(),
    }
}

fn named(model: &ModelRecord) -> String {
    match model.name.as_str() {
        "hybrid" => "the hybrid".into(),
        _ => model.title.clone(),
    }
}

/// What to know before trusting the figures.
pub(super) fn notes(args: &Args, rows: &Rows, left_out: &[usize], alerts: f64) -> Vec<String> {
    let mut notes = Vec::new();
    let frauds = rows.frauds(rows.judged.iter().copied());
    if rows.fraud.is_some() && frauds < FEW {
        notes.push(format!(
            "The test has {}: intervals are wide, and a difference of a few frauds is chance.",
            count(frauds, "fraud")
        ));
    }
    if alerts < args.alerts_per_day {
        notes.push(format!(
            "The test covers a part of a day: {} alerts a day are {} in it.",
            short_number(args.alerts_per_day),
            thousands(alerts as usize)
        ));
    }
    if alerts < frauds as f64 {
        notes.push(format!(
            "There are fewer alerts ({}) than frauds ({frauds}): no model can find more than {}.",
            thousands(alerts as usize),
            percent(alerts / frauds as f64)
        ));
    }
    if !left_out.is_empty() {
        let labelled = if rows.fraud.is_some() {
            format!(", {} of them frauds,", rows.frauds(left_out.iter().copied()))
        } else {
            String::new()
        };
        notes.push(format!(
            "{} of the test{labelled} with exactly the inputs of a row that was learned from: left out of all figures.",
            count(left_out.len(), "row")
        ));
    }
    if let Some(feedback) = &rows.feedback {
        notes.push(format!(
            "Feedback of {} changed labels: {} became frauds and {} none; {} confirmed, {} of unknown ids.",
            count(feedback.rows, "row"),
            feedback.became_fraud,
            feedback.became_none,
            feedback.confirmed,
            feedback.unknown
        ));
    }
    if let (Some(unit), None) = (rows.unit, args.time_unit) {
        notes.push(format!("Numbers of {:?} are read as {unit}; --time-unit says otherwise.", args.time));
    }
    if rows.fraud.is_some() {
        notes.push(
            "The rule to beat is the one that finds most frauds in the test: the test chooses among rules, in their favour, and not \
             among models."
                .into(),
        );
        notes.push(
            "A day's alerts are its highest scores, as if somebody chose at the day's end. Thresholds for cost were chosen on \
             later rows to learn from, and may give more or fewer alerts than a day has room for."
                .into(),
        );
        notes.push(
            "Frauds that nobody noticed are labelled as none, and count against whoever alerts them.".into(),
        );
    }
    notes
}

/// The whole report.
pub(super) fn report(report: &Report) -> String {
    let mut lines = head(report);
    if report.chosen.is_some() {
        lines.push(table(report));
        lines.push(String::new());
        for model in &report.models {
            let ours =
                if report.chosen.as_ref() == Some(&model.name) { " (chosen by the later rows)" } else { "" };
            lines.push(format!("  {}{ours}: {}", model.title, model.about));
        }
    } else {
        lines.extend(report.models.iter().map(|model| format!("  {}: {}", model.title, model.about)));
    }
    lines.push(String::new());
    let listed = report.models.iter().filter(|model| match &report.chosen {
        Some(chosen) => *chosen == model.name,
        None => true,
    });
    listed.for_each(|model| lines.extend(top(model)));
    if !report.headline.is_empty() && report.chosen.is_some() {
        lines.push(format!("{}\n{}", report.headline, report.finding));
    }
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n")
}

fn head(report: &Report) -> Vec<String> {
    let frauds = |frauds: Option<usize>| frauds.map_or(String::new(), |n| format!(", {}", count(n, "fraud")));
    let learned = report.earlier.rows + report.later.rows;
    let chose = report.chosen.as_ref().map_or(String::new(), |_| {
        format!("; the last {} of them{} chose", thousands(report.later.rows), frauds(report.later.frauds))
    });
    let both = report.earlier.frauds.zip(report.later.frauds).map(|(a, b)| a + b);
    vec![
        format!(
            "{}: learned from {} rows{}, {} to {}{chose}",
            report.table,
            thousands(learned),
            frauds(both),
            report.earlier.from,
            report.later.to,
        ),
        format!(
            "judged on {} later rows{}, {} to {}; {} alerts a day are {} there\n",
            thousands(report.test.rows),
            frauds(report.test.frauds),
            report.test.from,
            report.test.to,
            short_number(report.alerts_per_day),
            thousands(report.alerts as usize)
        ),
    ]
}

fn table(report: &Report) -> String {
    let mut lines = vec![format!(
        "  {:<20} {:>23} {:>23} {:>15} {:>9} {:>11} {:>20} {:>10} {:>8}",
        "model",
        "average precision",
        "AUC",
        "frauds found",
        "precision",
        "missed/1000",
        "fewer than the rule",
        "cost",
        "ECE"
    )];
    for model in &report.models {
        let Some(found) = &model.figures else { continue };
        let mark = match &model.name {
            name if Some(name) == report.chosen.as_ref() => "*",
            name if Some(name) == report.baseline.as_ref() => "r",
            _ => " ",
        };
        let fewer = found.fewer_missed.map_or("–".into(), |fewer| {
            format!("{} ({} to {})", percent(fewer.value), percent(fewer.low), percent(fewer.high))
        });
        let error = found.reliability.as_ref().map_or("–".into(), |sum| format!("{:.5}", sum.error));
        lines.push(format!(
            "{mark} {:<20} {:>23} {:>23} {:>15} {:>9} {:>11.0} {:>20} {:>10} {error:>8}",
            model.title,
            interval(found.average_precision),
            interval(found.auc),
            format!("{} ({})", short(found.found), percent(found.recall.value)),
            percent(found.precision),
            found.missed_per_thousand.value,
            fewer,
            thousands(found.cost.cost.max(0.0).round() as usize),
        ));
    }
    lines.push(
        "  * ours, chosen by the later rows   r the rule to beat; intervals are 95 % over rows of the test"
            .into(),
    );
    lines.join("\n")
}

fn top(model: &ModelRecord) -> Vec<String> {
    let mut lines = vec![format!("first alerts of {}, and which inputs raise the score most:", named(model))];
    lines.extend(model.top.iter().map(|alert| format!("  {}", alert_line(alert))));
    lines.push(String::new());
    lines
}

fn alert_line(alert: &Alert) -> String {
    let name = alert.id.clone().unwrap_or_else(|| format!("row {}", alert.row));
    let fraud = match alert.fraud {
        Some(true) => "fraud ",
        Some(false) => "none  ",
        None => "",
    };
    format!("{:<12} {:<20} {fraud}{:<8} {}", name, alert.time, three(alert.score), reasons(alert))
}

/// The inputs that raise a score, in words.
pub(super) fn reasons(alert: &Alert) -> String {
    let value = |x: Option<f32>| x.map_or("missing".into(), |x| short_number(f64::from(x)));
    let one = |reason: &super::record::ReasonRecord| {
        format!("{} {} (typical {})", reason.input, value(reason.value), value(reason.typical))
    };
    match alert.reasons.is_empty() {
        true => "–".into(),
        false => alert.reasons.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

fn interval(found: Interval) -> String {
    format!("{} ({} to {})", three(found.value), three(found.low), three(found.high))
}

/// Three decimals.
pub(super) fn three(x: f64) -> String {
    format!("{x:.3}").replace('-', "−")
}

/// A number of frauds, whole where it is.
pub(super) fn short(x: f64) -> String {
    if (x - x.round()).abs() < 1e-9 { format!("{x:.0}") } else { format!("{x:.1}") }
}

/// Whole percents.
pub(super) fn percent(x: f64) -> String {
    format!("{:.0} %", 100.0 * x).replace("-0 %", "0 %").replace('-', "−")
}

/// Days, or hours where they are few.
pub(super) fn days(x: f64) -> String {
    if x < 2.0 { format!("{:.1} hours", 24.0 * x) } else { format!("{x:.1} days") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_readable() {
        assert_eq!(time(145_248_000, false), "day 2 16:20:48");
        assert_eq!(time(-1000, false), "day 0 23:59:59");
        assert!(time(1_700_000_000_000, true).starts_with("2023-11-14T22:13:20"));
        assert_eq!([percent(0.204), percent(-0.051), percent(-0.001)], ["20 %", "−5 %", "0 %"]);
        assert_eq!([short(32.0), short(31.5)], ["32", "31.5"]);
        assert_eq!([days(0.32), days(30.0)], ["7.7 hours", "30.0 days"]);
    }
}
