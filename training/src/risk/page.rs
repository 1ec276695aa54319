//! The page of `--page`: one file without scripts, in the style of a run's report.

use minijinja::{Environment, Value, context};

use super::{
    record::{FiguresRecord, ModelRecord, Report},
    words,
};
use crate::{
    evaluate::words::{short_number, thousands},
    report::{
        self,
        svg::{Anchor, Canvas, Scale, tick_label, ticks},
    },
};

const WIDTH: f64 = 440.0;
/// Where the drawing of a chart lies.
const LEFT: f64 = 66.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 280.0;
const RIGHT: f64 = WIDTH - 12.0;
/// The least probability that a chart shows.
const LEAST: f64 = 1e-4;

/// The page.
///
/// # Errors
/// When the template cannot be rendered, which a test rules out.
pub(super) fn html(report: &Report) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.add_template("risk.html", include_str!("risk.html"))?;
    environment.add_filter("fixed", |x: f64, digits: usize| format!("{x:.digits$}").replace('-', "−"));
    environment.add_filter("thousands", |x: f64| thousands(x.max(0.0).round() as usize));
    environment.add_filter("percent", words::percent);
    environment.add_filter("short", words::short);
    environment.add_filter("number", short_number);
    environment.add_filter("days", words::days);
    let ours = report.model(report.chosen.as_ref());
    let keys: Vec<_> = shown(report)
        .iter()
        .rev()
        .map(|model| context! { title => &model.title, class => class(report, model) })
        .collect();
    let lists: Vec<_> = report
        .models
        .iter()
        .filter(|model| ours.is_none_or(|ours| ours.name == model.name))
        .map(list)
        .collect();
    let figures = ours.and_then(|model| model.figures.as_ref());
    let chart = |svg: Option<String>| svg.map(Value::from_safe_string);
    let page = environment.get_template("risk.html")?.render(context! {
        report,
        style => Value::from_safe_string(report::style().to_owned()),
        ours,
        rule => report.model(report.baseline.as_ref()),
        keys,
        lists,
        precision => chart(ours.map(|_| precision(report))),
        alerts => chart(ours.map(|_| alerts(report))),
        cost => chart(figures.map(cost)),
        reliability => chart(figures.and_then(reliability)),
    })?;
    // A percent sign stays with its number.
    Ok(page.replace(" %", "\u{a0}%"))
}

/// A model's first alerts with their reasons in words.
fn list(model: &ModelRecord) -> Value {
    let row = |alert: &super::record::Alert| context! { alert, reasons => words::reasons(alert) };
    context! { title => &model.title, rows => model.top.iter().map(row).collect::<Vec<_>>() }
}

/// The models that charts show, ours last, so that it is drawn over the others.
fn shown(report: &Report) -> Vec<&ModelRecord> {
    let is_shown = |model: &&ModelRecord| {
        let some = ["logistic", "boosting", "hybrid", "isolation", "rules"].contains(&model.name.as_str());
        some || Some(&model.name) == report.baseline.as_ref()
    };
    let mut shown: Vec<&ModelRecord> = report.models.iter().filter(is_shown).collect();
    shown.sort_by_key(|model| Some(&model.name) == report.chosen.as_ref());
    shown
}

/// The colour of a model in all charts.
fn class(report: &Report, model: &ModelRecord) -> &'static str {
    match model.name.as_str() {
        name if report.chosen.as_deref() == Some(name) => "ours",
        name if report.baseline.as_deref() == Some(name) => "rule",
        "logistic" => "m-logistic",
        "boosting" => "m-boosting",
        "isolation" => "m-isolation",
        "rules" => "m-rules",
        _ => "m-hybrid",
    }
}

/// A canvas with a share from 0 to 1 upwards.
fn shares(title: &str) -> (Canvas, Scale) {
    let y = Scale { domain: (0.0, 1.0), range: (BOTTOM, TOP) };
    let mut canvas = Canvas::new(WIDTH, BOTTOM + 46.0);
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        canvas.line((LEFT, y.at(share)), (RIGHT, y.at(share)), "grid");
        canvas.text((LEFT - 8.0, y.at(share) + 4.0), Anchor::End, "tick", &format!("{:.0} %", 100.0 * share));
    }
    canvas.upright((10.0, f64::midpoint(TOP, BOTTOM)), "axis", title);
    (canvas, y)
}

fn below(canvas: &mut Canvas, title: &str) {
    canvas.text((f64::midpoint(LEFT, RIGHT), BOTTOM + 40.0), Anchor::Middle, "axis", title);
}

/// Precision by recall.
fn precision(report: &Report) -> String {
    let (mut canvas, y) = shares("share of the alerts that are frauds");
    let x = Scale { domain: (0.0, 1.0), range: (LEFT, RIGHT) };
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        canvas.text((x.at(share), BOTTOM + 18.0), Anchor::Middle, "tick", &format!("{:.0} %", share * 100.0));
    }
    below(&mut canvas, "share of the frauds that are found");
    for model in shown(report) {
        let Some(figures) = &model.figures else { continue };
        let points: Vec<_> = figures
            .precision_recall
            .iter()
            .map(|[recall, precision]| (x.at(*recall), y.at(*precision)))
            .collect();
        canvas.polyline(&points, &format!("curve {}", class(report, model)));
    }
    canvas.finish("Precision by recall of each model; the table has the average precision")
}

/// The share of the frauds that so many alerts a day find.
fn alerts(report: &Report) -> String {
    let (mut canvas, y) = shares("share of the frauds that are found");
    let own = report.alerts_per_day.ln();
    let x = Scale { domain: (own - 10_f64.ln(), own + 20_f64.ln()), range: (LEFT, RIGHT) };
    for multiple in [0.1, 0.3, 1.0, 3.0, 10.0] {
        let per_day = multiple * report.alerts_per_day;
        canvas.text((x.at(per_day.ln()), BOTTOM + 18.0), Anchor::Middle, "tick", &short_number(per_day));
    }
    canvas.line((x.at(own), TOP), (x.at(own), BOTTOM), "rule-line");
    below(&mut canvas, "alerts a day");
    let frauds = report.test.frauds.unwrap_or_default().max(1) as f64;
    // Nobody finds more frauds than there are alerts.
    let limit = |figures: &FiguresRecord| -> Vec<(f64, f64)> {
        let at = |by: &super::record::ByAlerts| (x.at(by.per_day.ln()), y.at((by.alerts / frauds).min(1.0)));
        figures.by_alerts.iter().map(at).collect()
    };
    let all = shown(report);
    if let Some(figures) = all.iter().find_map(|model| model.figures.as_ref()) {
        canvas.polyline(&limit(figures), "threshold none");
    }
    for model in all {
        let Some(figures) = &model.figures else { continue };
        let points: Vec<_> =
            figures.by_alerts.iter().map(|by| (x.at(by.per_day.ln()), y.at(by.found / frauds))).collect();
        canvas.polyline(&points, &format!("curve {}", class(report, model)));
    }
    canvas.finish("Share of the frauds that alerts find, by alerts a day; the thin line is what as many alerts could find")
}

/// ln p/(1 − p), so that probabilities near 0 and near 1 are told apart.
fn odds(p: f64) -> f64 {
    (p / (1.0 - p)).ln()
}

/// What our thresholds cost, and the one that later rows chose.
fn cost(figures: &FiguresRecord) -> String {
    let x = Scale { domain: (odds(LEAST), odds(0.999)), range: (LEFT, RIGHT) };
    // Beyond that no threshold is worth a look.
    let most = (figures.cost_of_none.max(figures.cost.cost) * 1.5).max(1e-9);
    let known: Vec<_> = figures
        .by_threshold
        .iter()
        .filter(|outcome| (LEAST..=0.999).contains(&outcome.threshold) && outcome.cost <= most)
        .collect();
    let y = Scale { domain: (0.0, most), range: (BOTTOM, TOP) };
    let mut canvas = Canvas::new(WIDTH, BOTTOM + 46.0);
    let marks = ticks(y.domain, 5);
    for mark in &marks {
        canvas.line((LEFT, y.at(*mark)), (RIGHT, y.at(*mark)), "grid");
        let label = if *mark >= 1000.0 { thousands(*mark as usize) } else { tick_label(*mark, &marks) };
        canvas.text((LEFT - 8.0, y.at(*mark) + 4.0), Anchor::End, "tick", &label);
    }
    for (p, label) in
        [(0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %")]
    {
        canvas.text((x.at(odds(p)), BOTTOM + 18.0), Anchor::Middle, "tick", label);
    }
    below(&mut canvas, "probability from which rows are alerted");
    canvas.upright((10.0, f64::midpoint(TOP, BOTTOM)), "axis", "reviews and missed frauds");
    canvas.line((LEFT, y.at(figures.cost_of_none)), (RIGHT, y.at(figures.cost_of_none)), "rule-line");
    let points: Vec<_> =
        known.iter().map(|outcome| (x.at(odds(outcome.threshold)), y.at(outcome.cost))).collect();
    canvas.polyline(&points, "curve ours");
    let chosen = &figures.cost;
    if (LEAST..=0.999).contains(&chosen.threshold) {
        let title = format!(
            "{:.4}: {:.0} alerts, {:.0} frauds, cost {:.0}",
            chosen.threshold, chosen.alerts, chosen.found, chosen.cost
        );
        canvas.circle((x.at(odds(chosen.threshold)), y.at(chosen.cost)), 5.0, "ours", &title);
    }
    canvas.finish("Cost by the probability from which rows are alerted; the dot is the threshold that was chosen, the dashed line no alert")
}

/// What was said and what came, bin by bin.
fn reliability(figures: &FiguresRecord) -> Option<String> {
    let bins = &figures.reliability.as_ref()?.bins;
    let x = Scale { domain: (LEAST.ln(), 0.0), range: (LEFT, RIGHT) };
    let y = Scale { domain: (LEAST.ln(), 0.0), range: (BOTTOM, TOP) };
    let mut canvas = Canvas::new(WIDTH, BOTTOM + 46.0);
    for (p, label) in [(0.0001, "0.01 %"), (0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1.0_f64, "100 %")]
    {
        canvas.line((LEFT, y.at(p.ln())), (RIGHT, y.at(p.ln())), "grid");
        canvas.text((LEFT - 8.0, y.at(p.ln()) + 4.0), Anchor::End, "tick", label);
        let anchor = if p == 1.0 { Anchor::End } else { Anchor::Middle };
        canvas.text((x.at(p.ln()), BOTTOM + 18.0), anchor, "tick", label);
    }
    below(&mut canvas, "probability that was said");
    canvas.upright((6.0, f64::midpoint(TOP, BOTTOM)), "axis", "share that were frauds");
    canvas.line((x.at(LEAST.ln()), y.at(LEAST.ln())), (x.at(0.0), y.at(0.0)), "rule-line");
    for bin in bins {
        let title = format!("{} rows: {:.4} said, {:.4} came", thousands(bin.rows), bin.said, bin.came);
        let class = if bin.came > 0.0 { "ours soft" } else { "hollow" };
        let radius = 4.0 + (bin.rows as f64).log10();
        let place = (x.at(bin.said.max(LEAST).ln()), y.at(bin.came.max(LEAST).ln()));
        canvas.circle(place, radius, class, &title);
    }
    Some(canvas.finish("Probabilities that were said against the share that were frauds; on the dashed line both agree, a hollow dot had no fraud"))
}
