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
    event::EventInput,
    features::MemberState,
    scorer::Scorer,
    tasks::decide::{DECIDES, DecideOptions, Decision, Task},
    tasks::recommend::RecommendOptions,
    time::Timestamp,
};

/// A [`Vector`](crate::Vector) as it is read here.
#[derive(Deserialize)]
struct Case {
    name: String,
    events: Vec<EventInput<'static>>,
    now: Timestamp,
    features: Vec<String>,
    probabilities: Vec<f32>,
    tier: u8,
    #[serde(default)]
    profile: Vec<f32>,
    #[serde(default)]
    recommendations: Value,
    #[serde(default)]
    decisions: Value,
    #[serde(default)]
    points: Value,
}

impl Scorer {
    /// Computes the schema's hash and the bundle's own vectors, and compares: features by bits, tiers exactly, and probabilities by bits, or
    /// within 1e-5 where the model runs as ONNX (tract orders its sums by machine). Returns how many were checked.
    ///
    /// # Errors
    /// `model_failed` naming the first vector that differs, and where.
    pub fn prove(&self) -> Result<usize> {
        let cases: Vec<Case> =
            serde_json::from_str(self.bundle().json("vectors")).map_err(|e| unreadable("vectors", &e))?;
        let schema = self.bundle().schema();
        if !schema.is_true() || schema.hash_hex() != self.bundle().manifest().schema_hash {
            bail!(ModelFailed, "the schema's hash is not that of its declaration");
        }
        let same = |a: f32, b: f32| match self.bundle().manifest().engine {
            EngineKind::Plan => a.to_bits() == b.to_bits(),
            EngineKind::Onnx => (a - b).abs() <= 1e-5,
        };
        for vector in &cases {
            let mut state = self.bundle().new_member();
            self.bundle().observe(&mut state, &vector.events)?;
            let found = self.assess(&state, vector.now)?;
            let bits = found.features.iter().map(|x| alloc::format!("{:08x}", x.to_bits()));
            if !bits.eq(vector.features.iter().cloned()) {
                bail!(ModelFailed, "vector {:?}: the features have other bits", vector.name);
            }
            if self.profile_spec().is_some() {
                self.prove_profile(&state, vector)?;
            }
            if self.catalogue().is_some() {
                self.prove_recommendations(&state, vector)?;
            }
            if DECIDES {
                self.prove_decisions(&state, vector)?;
            }
            if self.bundle().points().is_some() {
                self.prove_points(&state, vector)?;
            }
            let near = found.probabilities.iter().zip(&vector.probabilities).all(|(a, b)| same(*a, *b));
            if !near || found.probabilities.len() != vector.probabilities.len() || found.tier != vector.tier {
                bail!(
                    ModelFailed,
                    "vector {:?}: expected tier {} of {:?}, found {} of {:?}",
                    vector.name,
                    vector.tier,
                    vector.probabilities,
                    found.tier,
                    found.probabilities
                );
            }
        }
        Ok(cases.len())
    }

    /// A plan's profile has the same bits everywhere.
    fn prove_profile(&self, state: &MemberState, vector: &Case) -> Result<()> {
        let found = self.profile(state, vector.now)?;
        let numbers = found.embedding.iter().chain([&found.churn, &found.next_purchase]);
        if !numbers.map(|x| x.to_bits()).eq(vector.profile.iter().map(|x| x.to_bits())) {
            bail!(ModelFailed, "vector {:?}: the profile has other bits", vector.name);
        }
        Ok(())
    }

    /// So has the list of a member.
    fn prove_recommendations(&self, state: &MemberState, vector: &Case) -> Result<()> {
        let found = self.recommend(state, vector.now, &RecommendOptions::default())?;
        if !alike(&found, &vector.recommendations)? {
            bail!(ModelFailed, "vector {:?}: the recommendations are others", vector.name);
        }
        Ok(())
    }

    /// Points are whole numbers; a history that does not give them has none in its vector.
    fn prove_points(&self, state: &MemberState, vector: &Case) -> Result<()> {
        if !alike(&self.points(state, vector.now, &[], None).ok(), &vector.points)? {
            bail!(ModelFailed, "vector {:?}: the points are others", vector.name);
        }
        Ok(())
    }

    /// So have the decisions on a member.
    fn prove_decisions(&self, state: &MemberState, vector: &Case) -> Result<()> {
        if !alike(&self.decisions(state, vector.now, &vector.name)?, &vector.decisions)? {
            bail!(ModelFailed, "vector {:?}: the decisions are others", vector.name);
        }
        Ok(())
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
