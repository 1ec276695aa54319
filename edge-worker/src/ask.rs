//! What is asked about a member, with what it shall take into account, and what is answered instead of an assessment.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tiercast_core::{
    DecideOptions, Decision, ErrorKind, MemberState, PointsOptions, RecommendOptions, Recommendation, Risk,
    RiskOptions, Statement, Task, Timestamp,
};

use crate::{
    model::Model,
    problem::Problem,
    request::{Fields, ScoreRequest},
    route::Answer,
};

/// What a list counts as, in assessments: in Node one of 200 events takes 1.7 ms.
const LIST: usize = 16;

/// What is asked about each member, with what it shall take into account.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Score,
    Recommend(RecommendOptions),
    Decide(Task, DecideOptions),
    Points(PointsOptions),
    Risk(RiskOptions),
}

/// What is answered instead of an assessment, under its name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Found {
    Recommendations(Vec<Recommendation>),
    Decision(Decision),
    Points(Statement),
    Risk(Risk),
}

impl Ask {
    /// What a request asks of a model that can answer it.
    ///
    /// # Errors
    /// 422 for what the bundle cannot give; those of [`Ask::with`].
    pub(crate) fn of(request: &ScoreRequest<'_>, model: &Model) -> Result<Self, Problem> {
        let ask = match request.answer {
            Answer::Score => Self::Score,
            Answer::Recommend if !model.recommends() => {
                return Err(Problem::new(
                    422,
                    "no_recommendations",
                    "the deployed bundle recommends nothing",
                )
                .hint("deploy a bundle trained with a [recommend] table"));
            }
            Answer::Recommend => Self::Recommend(request.recommend.clone()),
            Answer::Decide(task) if !model.decides(task) => {
                let message = format!("the deployed bundle has no policy to {}", task.name());
                return Err(Problem::new(422, "no_policy", message)
                    .hint("deploy a bundle that `tiercast bundle` put a policy into"));
            }
            Answer::Decide(task) => Self::Decide(task, DecideOptions::default()),
            Answer::Points if !model.has_points() => {
                return Err(Problem::new(422, "no_points", "the deployed bundle has no points")
                    .hint("deploy a bundle trained with a [points] table"));
            }
            Answer::Points => Self::Points(PointsOptions::default()),
            Answer::Risk if !model.judges() => {
                return Err(no_risk());
            }
            Answer::Risk => Self::Risk(RiskOptions::default()),
        };
        ask.with(request.options.as_ref())
    }

    /// The same with other options, if there are any.
    ///
    /// # Errors
    /// 400 for what are no options of this.
    pub(crate) fn with(&self, options: Option<&Value>) -> Result<Self, Problem> {
        let Some(options) = options else { return Ok(self.clone()) };
        match self {
            Self::Score | Self::Recommend(_) => {
                Err(Problem::malformed("options belong to /v1/assign, /v1/reward, /v1/points and /v1/risk"))
            }
            Self::Decide(task, _) => {
                let options: DecideOptions = read(options)?;
                if !options.member.is_empty() {
                    return Err(Problem::malformed("member belongs beside the events, not into options"));
                }
                Ok(Self::Decide(*task, options))
            }
            Self::Points(_) => read(options).map(Self::Points),
            Self::Risk(_) => read(options).map(Self::Risk),
        }
    }

    /// What it counts as, in assessments.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Recommend(_) => LIST,
            Self::Score | Self::Decide(..) | Self::Points(_) | Self::Risk(_) => 1,
        }
    }

    /// The answer about a member; none where it is an assessment.
    ///
    /// # Errors
    /// Those of the core, 422 or 500.
    pub(crate) fn answer(
        self,
        model: &Model,
        member: Option<&str>,
        state: &MemberState,
        now: Timestamp,
    ) -> Result<Option<Found>, Problem> {
        Ok(match self {
            Self::Score => None,
            Self::Recommend(options) => Some(Found::Recommendations(model.recommend(state, now, &options)?)),
            Self::Decide(task, mut options) => {
                options.member = member.unwrap_or_default().into();
                Some(Found::Decision(model.decide(task, state, now, &options)?))
            }
            Self::Risk(options) => Some(Found::Risk(model.risk(state, now, &options)?)),
            Self::Points(options) => {
                Some(Found::Points(model.points(state, now, &options).map_err(uncounted)?))
            }
        })
    }
}

/// The bundle has no model of risk.
pub(crate) fn no_risk() -> Problem {
    Problem::new(422, "no_risk", "the deployed bundle judges no risk")
        .hint("deploy a bundle that `tiercast bundle --risk` put a model into")
}

fn read<'v, T: Deserialize<'v>>(options: &'v Value) -> Result<T, Problem> {
    match Fields::<T>::deserialize(options) {
        Ok(Fields(options)) => Ok(options),
        Err(error) => Err(Problem::malformed(error.to_string()).at("options")),
    }
}

/// Why points cannot be told.
fn uncounted(error: tiercast_core::Error) -> Problem {
    let forgotten = error.kind() == ErrorKind::TooLate;
    let problem = Problem::from(error);
    if forgotten {
        problem.hint("send the member's latest statement as `opening` in options")
    } else {
        problem
    }
}
