//! `report.html` of a policy: one file without scripts, in the style of a run's report.

use minijinja::{Environment, Value, context};

use super::record::{ActionRecord, PolicyRecord};
use crate::{
    evaluate::words,
    models::policy::ope::{Estimate, Gate},
    report::{
        self,
        svg::{Anchor, Canvas, Scale, tick_label, ticks},
    },
};

const WIDTH: f64 = 440.0;

/// What is judged: its name, its value, what the log is worth to it, and its class in the chart.
struct Line<'r> {
    name: &'r str,
    value: Estimate,
    rows: f64,
    class: &'static str,
}

/// The page.
///
/// # Errors
/// When the template cannot be rendered, which a test rules out.
pub(super) fn html(record: &PolicyRecord) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.add_template("policy.html", include_str!("policy.html"))?;
    environment.add_filter("fixed", |x: f64, digits: usize| format!("{x:.digits$}").replace('-', "−"));
    environment.add_filter("thousands", |x: f64| words::thousands(x.max(0.0).round() as usize));
    environment.add_filter("percent", |x: f64| format!("{:.1} %", x * 100.0));
    let chart = Value::from_safe_string;
    let lines: Vec<_> = lines(record)
        .into_iter()
        .map(|Line { name, value, rows, class }| context! { name, value, rows, class })
        .collect();
    let page = environment.get_template("policy.html")?.render(context! {
        record => record,
        style => chart(report::style().to_owned()),
        judged => record.evaluation.judged(),
        refusals => record.refusals(&Gate::default()),
        lines,
        values => chart(values(record)),
        actions => chart(actions(record)),
    })?;
    // A percent sign stays with its number.
    Ok(page.replace(" %", "\u{a0}%"))
}

fn lines(record: &PolicyRecord) -> Vec<Line<'_>> {
    let line = |name, value, rows, class| Line { name, value, rows, class };
    let own = &record.evaluation;
    let mut lines = vec![line(record.name.as_str(), *own.judged(), own.weights.effective_rows, "ours")];
    lines.push(line("as logged", own.incumbent, own.rows as f64, "rule"));
    for (name, evaluation) in &record.others {
        lines.push(line(name, *evaluation.judged(), evaluation.weights.effective_rows, "other"));
    }
    lines
}

/// Each way's value with its interval; the dashed line is what was logged.
fn values(record: &PolicyRecord) -> String {
    let lines = lines(record);
    let low = lines.iter().map(|line| line.value.bootstrap.low).fold(f64::INFINITY, f64::min);
    let high = lines.iter().map(|line| line.value.bootstrap.high).fold(f64::NEG_INFINITY, f64::max);
    let pad = ((high - low) * 0.06).max(1e-6);
    let x = Scale { domain: (low - pad, high + pad), range: (8.0, WIDTH - 8.0) };
    let (top, row) = (6.0, 40.0);
    let bottom = top + row * lines.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 46.0);
    let marks = ticks(x.domain, 4);
    for mark in &marks {
        canvas.line((x.at(*mark), top), (x.at(*mark), bottom), "grid");
        let label = tick_label(*mark, &marks).replace('-', "−");
        canvas.text((x.at(*mark), bottom + 18.0), Anchor::Middle, "tick", &label);
    }
    let title = format!("{} a decision, after its cost", record.currency);
    canvas.text((WIDTH / 2.0, bottom + 40.0), Anchor::Middle, "axis", &title);
    let logged = record.evaluation.incumbent.value;
    canvas.line((x.at(logged), top), (x.at(logged), bottom), "rule-line");
    for (at, Line { name, value, class, .. }) in lines.into_iter().enumerate() {
        let y = top + row * at as f64;
        let strong = if at == 0 { " strong" } else { "" };
        let number = format!("{:.4}", value.value).replace('-', "−");
        canvas.text((8.0, y + 14.0), Anchor::Start, &format!("label halo{strong}"), name);
        canvas.text((WIDTH - 8.0, y + 14.0), Anchor::End, &format!("label halo number{strong}"), &number);
        let (low, high) = (value.bootstrap.low, value.bootstrap.high);
        canvas.line((x.at(low), y + 26.0), (x.at(high), y + 26.0), &format!("whisker {class}"));
        let title = format!("{name}: {number}, {low:.4} to {high:.4}");
        canvas.circle((x.at(value.value), y + 26.0), 5.0, class, &title);
    }
    canvas.finish("Value of each way to decide with its 95 % interval")
}

/// How often each action is taken, by the policy and in the log.
fn actions(record: &PolicyRecord) -> String {
    let most = record.actions.iter().map(|action| action.share.max(action.logged)).fold(0.05, f64::max);
    let x = Scale { domain: (0.0, most), range: (8.0, WIDTH - 70.0) };
    let (top, row) = (4.0, 46.0);
    let mut canvas = Canvas::new(WIDTH, top + row * record.actions.len() as f64);
    for (at, ActionRecord { name, points, share, logged }) in record.actions.iter().enumerate() {
        let y = top + row * at as f64;
        let is_said = *points == 0 || name.contains(&points.to_string());
        let title = if is_said { name.clone() } else { format!("{name}, {points} points") };
        canvas.text((8.0, y + 13.0), Anchor::Start, "label", &title);
        for (share, y, height, class) in
            [(*share, y + 19.0, 9.0, "bar"), (*logged, y + 30.0, 5.0, "bar rule")]
        {
            canvas.rect((8.0, y), ((x.at(share) - 8.0).max(1.0), height), class, 1.0);
        }
        let label = format!("{:.1} %", 100.0 * share);
        canvas.text((x.at(*share) + 8.0, y + 28.0), Anchor::Start, "tick", &label);
    }
    canvas.finish("Share of the decisions that each action gets, by the policy and in the log")
}
