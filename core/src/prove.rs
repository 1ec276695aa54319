//! A bundle's own vectors, computed again and compared.
//!
//! What only some bundles have is compared as JSON: it is read nowhere else, and reading it by its types is much code for a
//! worker to carry.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    bundle::unreadable,
    engine::EngineKind,
    error::{Result, bail},
    features::MemberState,
    object::Object,
    scorer::Scorer,
    tasks::decide::{DECIDES, DecideOptions, Decision, Task},
    tasks::recommend::RecommendOptions,
    tasks::risk::{RISKS, Risk, RiskOptions},
    time::Timestamp,
};

/// A [`Vector`](crate::Vector) as it is read here.
struct Case<'v> {
    name: &'v str,
    now: Timestamp,
    state: MemberState,
    stored: &'v Value,
}

impl<'v> Case<'v> {
    fn read(scorer: &Scorer, stored: &'v Value) -> Result<Self> {
        let case = || {
            let events = stored.get("events")?.as_array()?.iter().cloned();
            let events = events.map(|event| Object::deserialize(event).ok().map(|Object(event)| event));
            Some((
                stored.get("name")?.as_str()?,
                stored.get("now")?.as_i64()?,
                events.collect::<Option<Vec<_>>>()?,
            ))
        };
        let Some((name, now, events)) = case() else {
            bail!(BundleSection, "a vector of the bundle cannot be read; train again");
        };
        let mut state = scorer.bundle().new_member();
        scorer.bundle().observe(&mut state, &events)?;
        Ok(Self { name, now: Timestamp::from_ms(now)?, state, stored })
    }

    /// A field; null if there is none.
    fn stored(&self, name: &str) -> &'v Value {
        self.stored.get(name).unwrap_or(&Value::Null)
    }

    /// A field that is a list of numbers; empty if it is none.
    fn numbers(&self, name: &str) -> Vec<f32> {
        let list = self.stored(name).as_array();
        list.into_iter().flatten().map(|x| x.as_f64().unwrap_or(f64::NAN) as f32).collect()
    }
}

impl Scorer {
    /// Computes the schema's hash and the bundle's own vectors, and compares: features by bits, tiers exactly, and probabilities by bits, or
    /// within 1e-5 where the model runs as ONNX (tract orders its sums by machine). Returns how many were checked.
    ///
    /// # Errors
    /// `model_failed` naming the first vector that differs, and where.
    pub fn prove(&self) -> Result<usize> {
        let cases: Vec<Value> =
            serde_json::from_str(self.bundle().json("vectors")).map_err(|e| unreadable("vectors", &e))?;
        let schema = self.bundle().schema();
        if !schema.is_true() || schema.hash_hex() != self.bundle().manifest().schema_hash {
            bail!(ModelFailed, "the schema's hash is not that of its declaration");
        }
        let same = |a: f32, b: f32| match self.bundle().manifest().engine {
            EngineKind::Plan => a.to_bits() == b.to_bits(),
            EngineKind::Onnx => (a - b).abs() <= 1e-5,
        };
        for stored in &cases {
            let case = Case::read(self, stored)?;
            let found = self.assess(&case.state, case.now)?;
            let bits = found.features.iter().map(|x| alloc::format!("{:08x}", x.to_bits()));
            if !alike(&bits.collect::<Vec<String>>(), case.stored("features"))? {
                bail!(ModelFailed, "vector {:?}: the features have other bits", case.name);
            }
            if self.profile_spec().is_some() {
                self.prove_profile(&case)?;
            }
            self.prove_more(&case)?;
            let (expected, tier) = (case.numbers("probabilities"), case.stored("tier"));
            let near = found.probabilities.iter().zip(&expected).all(|(a, b)| same(*a, *b));
            if !near
                || found.probabilities.len() != expected.len()
                || tier.as_u64() != Some(found.tier.into())
            {
                bail!(
                    ModelFailed,
                    "vector {:?}: expected tier {tier} of {expected:?}, found {} of {:?}",
                    case.name,
                    found.tier,
                    found.probabilities
                );
            }
        }
        Ok(cases.len())
    }

    /// A plan's profile has the same bits everywhere.
    fn prove_profile(&self, case: &Case<'_>) -> Result<()> {
        let found = self.profile(&case.state, case.now)?;
        let numbers = found.embedding.iter().chain([&found.churn, &found.next_purchase]);
        if !numbers.map(|x| x.to_bits()).eq(case.numbers("profile").into_iter().map(f32::to_bits)) {
            bail!(ModelFailed, "vector {:?}: the profile has other bits", case.name);
        }
        Ok(())
    }

    /// So have lists, decisions and points; a history that gives no points has none in its vector.
    fn prove_more(&self, case: &Case<'_>) -> Result<()> {
        let Case { name, now, ref state, .. } = *case;
        let list =
            self.catalogue().map(|_| self.recommend(state, now, &RecommendOptions::default())).transpose()?;
        let points = self.bundle().points().and_then(|_| self.points(state, now, &[], None).ok());
        let risk = if RISKS { self.told_risk(state, now)? } else { None };
        let decisions = if DECIDES { self.decisions(state, now, name)? } else { Vec::new() };
        let same = [
            ("recommendations", alike(&list.unwrap_or_default(), case.stored("recommendations"))?),
            ("decisions", alike(&decisions, case.stored("decisions"))?),
            ("points", alike(&points, case.stored("points"))?),
            ("risk", alike(&risk, case.stored("risk"))?),
        ];
        match same.iter().find(|(_, same)| !same) {
            Some((what, _)) => bail!(ModelFailed, "vector {name:?}: the {what} are others"),
            None => Ok(()),
        }
    }

    /// What a bundle's vector holds of a member's risk.
    ///
    /// # Errors
    /// Those of [`Scorer::risk`].
    pub fn told_risk(&self, state: &MemberState, now: Timestamp) -> Result<Option<Risk>> {
        let risk = self.risk_model().map(|_| self.risk(state, now, &RiskOptions::default())).transpose()?;
        // The vector is a part of what the fingerprint is of.
        Ok(risk.map(|risk| Risk { bundle: String::new(), ..risk }))
    }

    /// What a bundle's vector holds of the decisions on a member.
    ///
    /// # Errors
    /// Those of [`Scorer::decide`].
    pub fn decisions(&self, state: &MemberState, now: Timestamp, member: &str) -> Result<Vec<Decision>> {
        let tasks = Task::ALL.into_iter().filter(|task| self.policy(*task).is_some());
        tasks
            .map(|task| {
                let decision = self.decide(task, state, now, &DecideOptions::of(member))?;
                // The vector is a part of what the fingerprint is of.
                Ok(Decision { bundle: String::new(), ..decision })
            })
            .collect()
    }
}

/// Whether something is what was stored; an empty list may be left out.
fn alike(found: &impl Serialize, stored: &Value) -> Result<bool> {
    let read = || serde_json::from_slice::<Value>(&serde_json::to_vec(found)?);
    match read() {
        Ok(found) => {
            Ok(same(&found, stored) || (stored.is_null() && found.as_array().is_some_and(Vec::is_empty)))
        }
        Err(error) => bail!(ModelFailed, "an answer that JSON cannot hold: {error}"),
    }
}

/// Whether values are equal, numbers however they are written.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}
