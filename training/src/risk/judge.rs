//! What the rows of the test say of each model.

use super::{
    evaluate::{Args, Missed},
    learn::{Learned, Model},
    record::{Against, Alert, ByAlerts, FORMAT, FiguresRecord, ModelRecord, Part, ReasonRecord, Report},
    rows::Rows,
    words,
};
use crate::{
    models::{
        mix,
        risk::{
            alerts::{self, Budget},
            calibration,
            cost::{self, Prices},
            curve,
            reasons::{self, Reason},
            resample::{Found, Ranked, Resamples},
        },
        uplift::qini::Order,
    },
    progress,
};

/// Rows that are listed for each model, and inputs of each.
const LISTED: usize = 10;
const REASONS: usize = 3;
/// Points of a curve at most.
const POINTS: usize = 240;
/// Numbers of alerts that are compared, as multiples of the one that was asked for: a tenth to twenty times as many.
const MULTIPLES: [f64; 13] = [0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 20.0];

/// The test as it judges.
struct Test<'a> {
    args: &'a Args,
    rows: &'a Rows,
    /// By row that judges.
    times: Vec<i64>,
    fraud: Vec<bool>,
    missed: Vec<f64>,
    span: (i64, i64),
    alerted: Vec<Vec<f64>>,
    orders: Vec<Order>,
    /// The rule that finds most.
    baseline: Option<usize>,
}

/// Judges all models.
///
/// # Errors
/// When all rows of the test are of one moment.
pub(super) fn judge(args: &Args, rows: &Rows, learned: &Learned) -> anyhow::Result<Report> {
    let bar = progress::spinner("judging");
    let span = (rows.times[rows.test], rows.times[rows.times.len() - 1]);
    let budget = Budget::new(span.0..=span.1, args.alerts_per_day)?;
    let times: Vec<i64> = rows.judged.iter().map(|at| rows.times[*at]).collect();
    let orders: Vec<Order> = learned.models.iter().map(|model| Order::new(&model.test)).collect();
    let mut test = Test {
        args,
        rows,
        fraud: rows.judged.iter().map(|at| rows.fraud.as_ref().is_some_and(|fraud| fraud[*at])).collect(),
        missed: missed_costs(args, rows, &rows.judged)?,
        span,
        alerted: orders.iter().map(|order| budget.alerted(order, &times)).collect(),
        times,
        orders,
        baseline: None,
    };
    test.baseline = test.best_rule(learned);
    let ranked: Vec<Ranked<'_>> =
        test.orders.iter().zip(&test.alerted).map(|(order, alerted)| Ranked { order, alerted }).collect();
    let draws = Resamples::new(&ranked, &test.fraud, args.rounds, mix(args.seed ^ 0x5eed));
    let mut models = Vec::new();
    for (at, model) in learned.models.iter().enumerate() {
        let figures = match &draws {
            Some(draws) => Some(test.figures(at, learned, draws)?),
            None => None,
        };
        models.push(ModelRecord {
            name: model.name.to_owned(),
            title: model.title.to_owned(),
            about: model.about.clone(),
            settings: model.settings.clone(),
            validation: model.validation,
            tried: model.tried.clone(),
            figures,
            top: test.top(model, &test.alerted[at], &learned.typical),
        });
    }
    bar.finish_and_clear();
    let name = |at: Option<usize>| at.map(|at| learned.models[at].name.to_owned());
    let part = |at: &[usize]| part(rows, at);
    let span_of = |from: usize, to: usize| (from..to).collect::<Vec<_>>();
    let judged: std::collections::BTreeSet<usize> = rows.judged.iter().copied().collect();
    let left_out: Vec<usize> = (rows.test..rows.times.len()).filter(|at| !judged.contains(at)).collect();
    let mut report = Report {
        format: FORMAT,
        producer: format!("tiercast {}", env!("CARGO_PKG_VERSION")),
        table: args.table.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        inputs: rows.names.clone(),
        earlier: part(&span_of(0, rows.later)),
        later: part(&span_of(rows.later, rows.test)),
        test: part(&rows.judged),
        duplicates: part(&left_out),
        feedback: rows.feedback,
        rules_version: learned.rules_version.clone(),
        alerts_per_day: args.alerts_per_day,
        alerts: budget.total(),
        review_cost: args.review_cost,
        missed_cost: match args.missed()? {
            Missed::Amount => "its amount".into(),
            Missed::Money(money) => money.to_string(),
        },
        seed: args.seed,
        rounds: args.rounds,
        chosen: name(learned.chosen),
        baseline: name(test.baseline),
        headline: String::new(),
        finding: String::new(),
        notes: words::notes(args, rows, &left_out, budget.total()),
        models,
    };
    (report.headline, report.finding) = words::finding(&report);
    Ok(report)
}

/// What each of some rows costs if it is a fraud that is missed.
fn missed_costs(args: &Args, rows: &Rows, at: &[usize]) -> anyhow::Result<Vec<f64>> {
    let missed = args.missed()?;
    let price = |at: &usize| match (missed, &rows.amounts) {
        (Missed::Money(money), _) => money,
        (Missed::Amount, Some(amounts)) => amounts[*at].abs(),
        (Missed::Amount, None) => 0.0,
    };
    Ok(at.iter().map(price).collect())
}

fn part(rows: &Rows, at: &[usize]) -> Part {
    let (Some(first), Some(last)) = (at.first(), at.last()) else { return Part::default() };
    let (from, to) = (rows.times[*first], rows.times[*last]);
    Part {
        rows: at.len(),
        frauds: rows.fraud.is_some().then(|| rows.frauds(at.iter().copied())),
        from: words::time(from, rows.dated),
        to: words::time(to, rows.dated),
        days: (to - from) as f64 / 86_400_000.0,
    }
}

impl Test<'_> {
    /// The rule that finds most frauds at the test's alerts, of as good ones the one with the higher average precision.
    fn best_rule(&self, learned: &Learned) -> Option<usize> {
        let found = |at: usize| {
            let figures = curve::figures(&self.orders[at], &self.fraud, |_| 1.0)?;
            Some((at, alerts::found(&self.alerted[at], &self.fraud), figures.average_precision))
        };
        let rules = (0..learned.models.len()).filter(|at| learned.models[*at].is_rule()).filter_map(found);
        rules.max_by(|a, b| a.1.total_cmp(&b.1).then(a.2.total_cmp(&b.2))).map(|(at, ..)| at)
    }

    fn figures(&self, at: usize, learned: &Learned, draws: &Resamples) -> anyhow::Result<FiguresRecord> {
        let (model, order, alerted) = (&learned.models[at], &self.orders[at], &self.alerted[at]);
        let found = alerts::found(alerted, &self.fraud);
        let taken: f64 = alerted.iter().sum();
        let against = self.baseline.filter(|baseline| *baseline != at);
        let missed = |found: &Found| 1.0 - found.recall;
        let fewer = |rule: usize| {
            draws.interval(|all| match (missed(&all[at]), missed(&all[rule])) {
                // Where the rule misses none, nobody can miss fewer.
                (ours, theirs) if theirs > 0.0 => 1.0 - ours / theirs,
                (ours, _) => -ours,
            })
        };
        let rules = (0..learned.models.len()).filter(|rule| *rule != at && learned.models[*rule].is_rule());
        let prices = Prices { review: self.args.review_cost, missed: &self.missed };
        let outcomes = cost::outcomes(order, &model.test, &self.fraud, &prices);
        let said = model.says_chances.then(|| calibration::reliability(&model.test, &self.fraud));
        let points = curve::points(order, &self.fraud);
        Ok(FiguresRecord {
            average_precision: draws.interval(|all| all[at].average_precision),
            auc: draws.interval(|all| all[at].auc),
            recall: draws.interval(|all| all[at].recall),
            precision: if taken > 0.0 { found / taken } else { 0.0 },
            found,
            missed_per_thousand: draws.interval(|all| 1000.0 * missed(&all[at])),
            fewer_missed: against.map(fewer),
            against: rules
                .map(|rule| Against { rule: learned.models[rule].name.to_owned(), fewer_missed: fewer(rule) })
                .collect(),
            ahead: against
                .map(|rule| draws.interval(|all| all[at].average_precision - all[rule].average_precision)),
            cost: self.chosen_cost(model, &prices)?,
            cost_of_none: outcomes.first().map_or(0.0, |outcome| outcome.cost),
            reliability: said,
            precision_recall: thinned(&points, |point| [point.recall, point.precision]),
            by_alerts: self.by_alerts(order)?,
            by_threshold: thinned(&outcomes, |outcome| *outcome),
        })
    }

    /// What comes of the threshold that costs least on the later rows, within what can be looked at there.
    fn chosen_cost(&self, model: &Model, prices: &Prices<'_>) -> anyhow::Result<cost::Outcome> {
        let rows = self.rows;
        let places: Vec<usize> = (rows.later..rows.test).collect();
        let missed = missed_costs(self.args, rows, &places)?;
        let fraud: Vec<bool> =
            places.iter().map(|at| rows.fraud.as_ref().is_some_and(|fraud| fraud[*at])).collect();
        let later = Prices { review: self.args.review_cost, missed: &missed };
        let outcomes = cost::outcomes(&Order::new(&model.later), &model.later, &fraud, &later);
        let budget =
            Budget::new(rows.times[rows.later]..=rows.times[rows.test - 1], self.args.alerts_per_day)?;
        let threshold = cost::best(&outcomes, budget.total()).map_or(f64::INFINITY, |best| best.threshold);
        Ok(cost::at(&model.test, &self.fraud, prices, threshold))
    }

    fn by_alerts(&self, order: &Order) -> anyhow::Result<Vec<ByAlerts>> {
        let at = |multiple: &f64| {
            let per_day = multiple * self.args.alerts_per_day;
            let budget = Budget::new(self.span.0..=self.span.1, per_day)?;
            let alerted = budget.alerted(order, &self.times);
            Ok(ByAlerts {
                per_day,
                alerts: alerted.iter().sum(),
                found: alerts::found(&alerted, &self.fraud),
            })
        };
        MULTIPLES.iter().map(at).collect()
    }

    /// The alerted rows with the highest scores, and what raised these.
    fn top(&self, model: &Model, alerted: &[f64], typical: &[f32]) -> Vec<Alert> {
        let mut places: Vec<usize> = (0..alerted.len()).filter(|at| alerted[*at] > 0.0).collect();
        places.sort_by(|a, b| model.test[*b].total_cmp(&model.test[*a]).then(a.cmp(b)));
        places.truncate(LISTED);
        let all: Vec<usize> = places.iter().map(|at| self.rows.judged[*at]).collect();
        let found = match model.is_rule() {
            true => vec![Vec::new(); all.len()],
            false => reasons::reasons(&self.rows.inputs.select(&all), typical, |rows| model.scores(rows)),
        };
        let alert = |((at, place), reasons): ((&usize, &usize), Vec<Reason>)| Alert {
            row: self.rows.places[*place],
            id: self.rows.ids.as_ref().map(|ids| ids[*place].clone()),
            time: words::time(self.rows.times[*place], self.rows.dated),
            amount: self.rows.amounts.as_ref().map(|amounts| amounts[*place]),
            score: model.test[*at],
            fraud: self.rows.fraud.as_ref().map(|fraud| fraud[*place]),
            reasons: reasons
                .into_iter()
                .take(REASONS)
                .filter(|r| r.effect > 0.0)
                .map(|r| self.reason(&r))
                .collect(),
        };
        places.iter().zip(&all).zip(found).map(alert).collect()
    }

    fn reason(&self, reason: &Reason) -> ReasonRecord {
        let known = |x: f32| if x.is_nan() { None } else { Some(x) };
        ReasonRecord {
            input: self.rows.names[reason.input].clone(),
            value: known(reason.value),
            typical: known(reason.typical),
            effect: reason.effect,
        }
    }
}

/// At most [`POINTS`] of a curve's points, the first and the last among them: most of the first tenth, where alerts are.
fn thinned<T, R>(points: &[T], of: impl Fn(&T) -> R) -> Vec<R> {
    let Some(last) = points.len().checked_sub(1) else { return Vec::new() };
    let mut places: Vec<usize> = (0..POINTS)
        .map(|at| {
            let along = at as f64 / (POINTS - 1) as f64;
            (last as f64 * along.powi(4)).round() as usize
        })
        .collect();
    places.dedup();
    // Where points are few, the steps of the fourth power skip some that could be shown.
    if points.len() <= POINTS {
        places = (0..points.len()).collect();
    }
    places.into_iter().map(|at| of(&points[at])).collect()
}
