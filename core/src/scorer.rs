//! From a member's history to an assessment.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde::Serialize;

use crate::{
    bundle::Bundle,
    error::{Error, Result, bail},
    event::EventInput,
    features::{MemberState, Observed},
    tasks::tier::{Standing, are_probabilities, expected_tier},
    time::Timestamp,
};

/// What a bundle says of a member at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Assessment {
    /// The moment.
    pub now: Timestamp,
    /// Which features these are.
    pub schema_hash: String,
    /// The raw features in the order of the schema; NaN (in JSON, null) is missing.
    pub features: Vec<f32>,
    /// Probability of each tier in the period that starts at `now`, tier 1 first.
    pub probabilities: Vec<f32>,
    /// The tier decided on, 1…K.
    pub tier: u8,
    /// Its name.
    pub tier_name: String,
    /// Σ k · p(k).
    pub expected_tier: f32,
    /// Where the member stands in the current period by the shop's own rules.
    pub standing: Standing,
    /// What limits this answer, in words; usually empty.
    pub warnings: Vec<String>,
}

impl Bundle {
    /// A member without events.
    pub fn new_member(&self) -> MemberState {
        MemberState::new(self.schema())
    }

    /// Checks events as they were sent and takes them into a member's history: all of them or, on an error, none.
    ///
    /// The order inside a call does not matter. The answer says, in the order given, what became of each.
    ///
    /// # Errors
    /// The code of the first event that is refused; its message begins with the event's index.
    pub fn observe(&self, state: &mut MemberState, events: &[EventInput<'_>]) -> Result<Vec<Observed>> {
        let rules = &self.schema().spec().events;
        let check = |(i, event): (usize, &EventInput<'_>)| match event.validate(rules) {
            Ok(event) => Ok((event, i)),
            Err(e) => Err(Error::new(e.kind(), alloc::format!("event {i}: {}", e.message()))),
        };
        let mut checked = events.iter().enumerate().map(check).collect::<Result<Vec<_>>>()?;
        checked.sort_unstable();
        let mut outcomes = alloc::vec![Observed::Added; events.len()];
        for (event, i) in checked {
            let outcome = state.observe(event);
            if let Some(slot) = outcomes.get_mut(i) {
                *slot = outcome;
            }
        }
        Ok(outcomes)
    }

    /// The model's inputs for rows of raw features, stored one after the other.
    ///
    /// # Errors
    /// `invalid_input` when the length is not a multiple of the number of features.
    pub fn model_inputs(&self, features: &[f32]) -> Result<Vec<f32>> {
        let width = self.schema().len();
        if !features.len().is_multiple_of(width) {
            bail!(InvalidInput, "{} values are not rows of {width} features", features.len());
        }
        let mut inputs = Vec::with_capacity(features.len() / width * self.transform().width());
        for row in features.chunks(width) {
            self.transform().apply(row, &mut inputs);
        }
        Ok(inputs)
    }

    /// Takes the decision from features and probabilities, however these were computed.
    ///
    /// # Errors
    /// `invalid_input` when these are not features and probabilities of this bundle; `too_late` when the history at `now`
    /// was already forgotten.
    pub fn decide(
        &self,
        state: &MemberState,
        now: Timestamp,
        features: Vec<f32>,
        probabilities: Vec<f32>,
    ) -> Result<Assessment> {
        let rules = self.rules();
        if features.len() != self.schema().len() || !are_probabilities(&probabilities, rules.len()) {
            bail!(
                InvalidInput,
                "{} features and {probabilities:?} for a bundle of {} features and {} tiers",
                features.len(),
                self.schema().len(),
                rules.len()
            );
        }
        if !state.knows(now) {
            bail!(TooLate, "the history at {now} is gone; raise `capacity`");
        }
        let tier = self.manifest().decode.decode(&probabilities);
        Ok(Assessment {
            now,
            schema_hash: self.manifest().schema_hash.clone(),
            features,
            tier,
            tier_name: rules.name(tier).to_string(),
            expected_tier: expected_tier(&probabilities) as f32,
            probabilities,
            standing: rules.standing(state, now, &self.schema().spec().events.currency),
            warnings: self.warnings(state, now),
        })
    }

    fn warnings(&self, state: &MemberState, now: Timestamp) -> Vec<String> {
        let mut warnings = Vec::new();
        if state.is_empty() {
            warnings.push("no events: the answer is what is typical of a new member".to_string());
        }
        if self.schema().sees_too_little(state, now) {
            warnings.push(alloc::format!(
                "some features reach further back than the {} events that are kept",
                state.len()
            ));
        }
        warnings
    }
}

#[cfg(feature = "onnx")]
pub use with_model::Scorer;

#[cfg(feature = "onnx")]
mod with_model {
    use alloc::vec::Vec;

    use super::Assessment;
    use crate::{
        bundle::Bundle,
        engine::Model,
        error::{Result, bail},
        features::MemberState,
        time::Timestamp,
    };

    /// Rows that the model is given at a time.
    const BATCH_ROWS: usize = 1024;

    /// A bundle with its model loaded: what every runtime holds.
    #[derive(Debug)]
    pub struct Scorer {
        bundle: Bundle,
        model: Model,
    }

    impl Scorer {
        /// Reads a bundle and loads its model.
        ///
        /// # Errors
        /// Those of [`Bundle::parse`], and `invalid_model` when the model cannot be loaded.
        pub fn load(bytes: &[u8]) -> Result<Self> {
            let bundle = Bundle::parse(bytes)?;
            let model = Model::load(bundle.onnx(), bundle.transform().width(), bundle.rules().len())?;
            Ok(Self { bundle, model })
        }

        /// The bundle.
        pub fn bundle(&self) -> &Bundle {
            &self.bundle
        }

        /// Assesses a member as known at `now`. Changes nothing.
        ///
        /// # Errors
        /// `too_late` when the history at `now` was already forgotten; `model_failed` when the model gives no
        /// probabilities.
        pub fn assess(&self, state: &MemberState, now: Timestamp) -> Result<Assessment> {
            let features = self.bundle.schema().features_at(state, now)?;
            let probabilities = self.score_batch(&features)?;
            self.bundle.decide(state, now, features, probabilities)
        }

        /// Probabilities for rows of raw features, stored one after the other: `rows × features` in, `rows × tiers` out.
        ///
        /// # Errors
        /// `invalid_input` when the length is not a multiple of the number of features; `model_failed` as above.
        pub fn score_batch(&self, features: &[f32]) -> Result<Vec<f32>> {
            // In pieces, so that a large batch needs little memory.
            let piece = self.bundle.schema().len() * BATCH_ROWS;
            let mut probabilities = Vec::new();
            for rows in features.chunks(piece) {
                probabilities.extend(self.model.run(&self.bundle.model_inputs(rows)?)?);
            }
            Ok(probabilities)
        }

        /// Computes the bundle's own vectors and compares: features by bits, probabilities within 1e-5 (tract orders
        /// its sums by machine), tiers exactly. Returns how many were checked.
        ///
        /// # Errors
        /// `model_failed` naming the first vector that differs, and where.
        pub fn prove(&self) -> Result<usize> {
            for vector in self.bundle.vectors() {
                let mut state = self.bundle.new_member();
                self.bundle.observe(&mut state, &vector.events)?;
                let found = self.assess(&state, vector.now)?;
                let bits = found.features.iter().map(|x| alloc::format!("{:08x}", x.to_bits()));
                let near =
                    found.probabilities.iter().zip(&vector.probabilities).all(|(a, b)| (a - b).abs() <= 1e-5);
                if !bits.eq(vector.features.iter().cloned()) {
                    bail!(ModelFailed, "vector {:?}: the features have other bits", vector.name);
                }
                if !near
                    || found.probabilities.len() != vector.probabilities.len()
                    || found.tier != vector.tier
                {
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
            Ok(self.bundle.vectors().len())
        }
    }
}
