//! Ways of choosing whom to treat: what was learned, and rules that every shop could declare.

use tiercast_core::{FeatureDecl, Op};

use super::{Args, Joined};
use crate::{
    models::uplift::{Learner, Prediction},
    project::Project,
};

/// A way of choosing.
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// Whom it puts first, in words.
    pub(super) about: String,
    /// Whom it puts first, for the Qini curve; none where it puts nobody first.
    pub(super) ranks: Option<Vec<f64>>,
    pub(super) spending: Spending,
}

/// How a way spends a budget.
pub(super) enum Spending {
    /// Those with the highest scores above a floor, while the budget lasts.
    Ranked { scores: Vec<f64>, floor: f64 },
    /// As many as the budget is for, by lot.
    Lot,
    /// On everybody, whatever it costs.
    All,
}

/// Days without a purchase after which members are gone rather than lapsing.
const GONE: f64 = 182.0;

/// All ways, the one that the list is made by first; scores are those of the log's decisions.
pub(super) fn all(project: &Project, args: &Args, joined: &Joined, said: &[Prediction]) -> Vec<Way> {
    let (x, t) = (learned(Learner::X, args, said), learned(Learner::T, args, said));
    let mut ways = if args.learner == super::By::X { vec![x, t] } else { vec![t, x] };
    let spend = joined.places.iter().map(|place| joined.rows.current_spend[*place] as f64);
    let about = "net spend in the tier period before the decision, most first".to_owned();
    ways.push(rule("top spenders", about, spend.collect()));
    if let Some((name, days)) = recency(project, joined) {
        let about = format!("days since the last purchase ({name}), fewest first");
        ways.push(rule("recent buyers", about, days.iter().map(|days| -days).collect()));
        let lapsing = |days: &f64| if *days <= GONE { *days } else { -*days };
        let about =
            format!("days since the last purchase ({name}), most first, up to {GONE:.0}; then the others");
        ways.push(rule("lapsing", about, days.iter().map(lapsing).collect()));
    }
    let way =
        |name, title, about: &str, spending| Way { name, title, about: about.into(), ranks: None, spending };
    ways.push(way("random", "by lot", "as many as the budget is for, drawn by lot", Spending::Lot));
    ways.push(way("everybody", "everybody", "all, whatever it costs", Spending::All));
    ways
}

/// What a prediction is worth: the uplift's value less the expected cost.
pub(super) fn worth(args: &Args, learner: Learner, said: &Prediction) -> f64 {
    args.value * said.uplift(learner) - said.cost
}

fn learned(learner: Learner, args: &Args, said: &[Prediction]) -> Way {
    let (name, title) = match learner {
        Learner::T => ("t-learner", "T-learner"),
        Learner::X => ("x-learner", "X-learner"),
    };
    Way {
        name,
        title,
        about: "expected uplift's value less expected cost, most first, only above 0".into(),
        ranks: Some(said.iter().map(|said| said.uplift(learner)).collect()),
        spending: Spending::Ranked {
            scores: said.iter().map(|said| worth(args, learner, said)).collect(),
            floor: 0.0,
        },
    }
}

fn rule(name: &'static str, about: String, scores: Vec<f64>) -> Way {
    let ranks = Some(scores.clone());
    Way { name, title: name, about, ranks, spending: Spending::Ranked { scores, floor: f64::NEG_INFINITY } }
}

/// The project's feature of days since the last purchase, if there is one, at each decision.
fn recency<'p>(project: &'p Project, joined: &Joined) -> Option<(&'p str, Vec<f64>)> {
    let of_purchases = |decl: &FeatureDecl| {
        decl.op == Op::Recency
            && decl.skip.is_none()
            && (decl.events.is_empty() || decl.events == ["purchase"])
    };
    let name = &project.features.iter().find(|decl| of_purchases(decl))?.name;
    let at = joined.rows.schema.names().position(|known| known == name)?;
    // Who never bought did so longest ago.
    let days = |place: &usize| {
        let days = f64::from(joined.rows.row(*place)[at]);
        if days.is_nan() { f64::MAX } else { days }
    };
    Some((name, joined.places.iter().map(days).collect()))
}
