//! `report.html` of a campaign: one file without scripts, in the style of a run's report.

use minijinja::{Environment, Value, context};

use super::record::{Record, WayRecord, money};
use crate::{
    evaluate::words,
    metrics::Estimate,
    report::{
        self,
        svg::{Anchor, Canvas, Scale, tick_label, ticks},
    },
};

const WIDTH: f64 = 440.0;

/// The page.
///
/// # Errors
/// When the template cannot be rendered, which a test rules out.
pub(super) fn html(record: &Record) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.add_template("campaign.html", include_str!("campaign.html"))?;
    environment.add_filter("money", money);
    environment.add_filter("fixed", |x: f64, digits: usize| format!("{x:.digits$}").replace('-', "−"));
    environment.add_filter("thousands", |x: f64| words::thousands(x.max(0.0).round() as usize));
    environment.add_filter("percent", |x: f64| format!("{:.0} %", x * 100.0).replace('-', "−"));
    let chart = Value::from_safe_string;
    let page = environment.get_template("campaign.html")?.render(context! {
        record => record,
        style => chart(report::style().to_owned()),
        ours => record.ways.first(),
        random => record.way("random"),
        everybody => record.way("everybody"),
        keys => ranked(record).map(|way| context! { title => &way.title, class => class(way) }).collect::<Vec<_>>(),
        curves => chart(curves(record)),
        gains => chart(gains(record)),
    })?;
    // A percent sign stays with its number.
    Ok(page.replace(" %", "\u{a0}%"))
}

/// The ways that put somebody first.
fn ranked(record: &Record) -> impl Iterator<Item = &WayRecord> {
    record.ways.iter().filter(|way| way.curve.is_some())
}

/// The colour of a way in both charts.
fn class(way: &WayRecord) -> &'static str {
    match way.name.as_str() {
        "x-learner" => "way-x",
        "t-learner" => "way-t",
        "top spenders" => "way-top",
        "recent buyers" => "way-recent",
        "lapsing" => "way-lapsing",
        _ => "way-other",
    }
}

/// Value gained by the share of decisions treated, the highest scores first.
fn curves(record: &Record) -> String {
    let (left, top, bottom) = (58.0, 14.0, 280.0);
    let all = || ranked(record).filter_map(|way| way.curve.as_ref()).flat_map(|curve| &curve.gained).copied();
    let (low, high) = (all().fold(0.0, f64::min), all().fold(0.0, f64::max));
    let pad = ((high - low) * 0.06).max(1e-6);
    let x = Scale { domain: (0.0, 1.0), range: (left, WIDTH - 12.0) };
    let y = Scale { domain: (if low < 0.0 { low - pad } else { 0.0 }, high + pad), range: (bottom, top) };
    let mut canvas = Canvas::new(WIDTH, bottom + 46.0);
    let marks = ticks(y.domain, 5);
    for mark in &marks {
        canvas.line((left, y.at(*mark)), (x.range.1, y.at(*mark)), "grid");
        let label = tick_label(*mark, &marks).replace('-', "−");
        canvas.text((left - 8.0, y.at(*mark) + 4.0), Anchor::End, "tick", &label);
    }
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        canvas.text((x.at(share), bottom + 18.0), Anchor::Middle, "tick", &format!("{:.0} %", share * 100.0));
    }
    canvas.text(
        (f64::midpoint(left, WIDTH - 12.0), bottom + 40.0),
        Anchor::Middle,
        "axis",
        "share of members treated",
    );
    let title = format!("{} gained for each member, before cost", record.currency);
    canvas.upright((12.0, f64::midpoint(top, bottom)), "axis", &title);
    let end = ranked(record).find_map(|way| way.curve.as_ref()?.gained.last()).copied().unwrap_or_default();
    canvas.line((x.at(0.0), y.at(0.0)), (x.at(1.0), y.at(end)), "rule-line");
    // The list's own way is drawn last, over the others.
    for way in ranked(record).collect::<Vec<_>>().into_iter().rev() {
        let Some(curve) = &way.curve else { continue };
        let points: Vec<_> = curve
            .share
            .iter()
            .zip(&curve.gained)
            .map(|(share, gained)| (x.at(*share), y.at(*gained)))
            .collect();
        canvas.polyline(&points, &format!("curve {}", class(way)));
    }
    canvas.finish(
        "Qini curves of the ways of choosing, random order as a dashed line; the table has the coefficients",
    )
}

/// Each way's gain after cost at the budget, with its interval.
fn gains(record: &Record) -> String {
    let net = |way: &WayRecord| way.chosen.net;
    let low = record.ways.iter().map(|way| net(way).low).fold(0.0, f64::min);
    let high = record.ways.iter().map(|way| net(way).high).fold(0.0, f64::max);
    let pad = ((high - low) * 0.06).max(1e-6);
    let x = Scale { domain: (low - pad, high + pad), range: (8.0, WIDTH - 8.0) };
    let (top, row) = (6.0, 40.0);
    let bottom = top + row * record.ways.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 46.0);
    let marks = ticks(x.domain, 4);
    for mark in &marks {
        canvas.line((x.at(*mark), top), (x.at(*mark), bottom), "grid");
        canvas.text((x.at(*mark), bottom + 18.0), Anchor::Middle, "tick", &money(*mark));
    }
    let title = format!("{} gained after cost, one round", record.currency);
    canvas.text((WIDTH / 2.0, bottom + 40.0), Anchor::Middle, "axis", &title);
    canvas.line((x.at(0.0), top), (x.at(0.0), bottom), "rule-line");
    for (at, way) in record.ways.iter().enumerate() {
        let (y, Estimate { value, low, high }) = (top + row * at as f64, net(way));
        let strong = if at == 0 { " strong" } else { "" };
        let over = if way.chosen.within_budget { "" } else { " (over the budget)" };
        canvas.text(
            (8.0, y + 14.0),
            Anchor::Start,
            &format!("label halo{strong}"),
            &format!("{}{over}", way.title),
        );
        canvas.text(
            (WIDTH - 8.0, y + 14.0),
            Anchor::End,
            &format!("label halo number{strong}"),
            &money(value),
        );
        canvas.line((x.at(low), y + 26.0), (x.at(high), y + 26.0), &format!("whisker {}", class(way)));
        let title = format!("{}: {}, {} to {}", way.title, money(value), money(low), money(high));
        canvas.circle((x.at(value), y + 26.0), 5.0, class(way), &title);
    }
    canvas.finish("Gain after cost of each way of choosing at the budget with its 95 % interval")
}
