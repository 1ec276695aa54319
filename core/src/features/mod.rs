//! Declared features over a member's events: [`FeatureSpec`] says which, [`MemberState`] holds the history,
//! [`FeatureSchema::features_at`] computes them as they were known at a point in time.
//!
//! Invariants: a formula exists once, in `formula.rs` or what it calls; no feature sees an event after `now`; the vector's bits
//! depend on the set of events and on `now`, and on nothing else.

mod compile;
mod describe;
mod formula;
mod identities;
mod interests;
mod live;
mod packed;
mod repeats;
mod selection;
mod snapshot;
mod spec;
mod state;

use alloc::{format, string::String, vec::Vec};
use core::fmt::Write;

use sha2::{Digest, Sha256};

use self::formula::Formulas;
pub(crate) use self::formula::category_code;
pub(crate) use self::interests::interests;
pub(crate) use self::packed::PackedSchema;
pub use self::{
    describe::FeatureInfo,
    spec::{Each, FeatureDecl, FeatureSpec, Of, Op, Stat},
    state::{MemberState, Observed},
};
use crate::{
    error::{Quoted, Result, bail},
    money::Currency,
    order,
    time::Timestamp,
};

/// The most features a schema can have.
pub const MAX_FEATURES: usize = 4096;

/// The most events that can be kept per member.
pub const MAX_CAPACITY: u32 = 65_536;

/// Changes when a formula changes its meaning, so that old models are not fed new numbers.
const FORMULAS: &str = "tiercast-features-1\n";

/// A checked [`FeatureSpec`]: names, order and hash are the contract between training and scoring.
#[derive(Clone, Debug)]
pub struct FeatureSchema {
    spec: FeatureSpec,
    formulas: Formulas,
    hash: [u8; 32],
    money_hash: [u8; 8],
}

impl FeatureSchema {
    /// Checks a declaration and prepares its formulas.
    ///
    /// # Errors
    /// `invalid_spec` naming the feature and what is wrong with it; `unknown_kind` for an undeclared kind.
    pub fn compile(spec: FeatureSpec) -> Result<Self> {
        let hash = Sha256::new().chain_update(FORMULAS).chain_update(json(&spec)).finalize().into();
        Self::with_hash(spec, hash)
    }

    fn with_hash(spec: FeatureSpec, hash: [u8; 32]) -> Result<Self> {
        spec.events.check()?;
        if spec.features.is_empty() || spec.features.len() > MAX_FEATURES {
            bail!(InvalidSpec, "{} features; declare 1 to {MAX_FEATURES}", spec.features.len());
        }
        if !(1..=MAX_CAPACITY).contains(&spec.capacity) {
            bail!(InvalidSpec, "capacity {}; give 1 to {MAX_CAPACITY} events", spec.capacity);
        }
        let mut names: Vec<&str> = spec.features.iter().map(|f| f.name.as_str()).collect();
        order::sort(&mut names);
        if let Some(pair) = names.windows(2).find(|pair| pair.first() == pair.last()) {
            bail!(
                InvalidSpec,
                "two features are named {}",
                Quoted(pair.first().copied().unwrap_or_default())
            );
        }
        if names.first().is_some_and(|name| name.is_empty()) {
            bail!(InvalidSpec, "a feature has an empty name");
        }
        let formulas = Formulas::compile(&spec)?;
        let Currency { code, exponent } = &spec.events.currency;
        let money_hash = sha256_prefix(format!(r#"{{"code":"{code}","exponent":{exponent}}}"#).as_bytes());
        Ok(Self { spec, formulas, hash, money_hash })
    }

    /// The declaration.
    pub fn spec(&self) -> &FeatureSpec {
        &self.spec
    }

    /// How many features a vector has.
    pub fn len(&self) -> usize {
        self.spec.features.len()
    }

    /// Never true: a schema has at least one feature.
    pub fn is_empty(&self) -> bool {
        self.spec.features.is_empty()
    }

    /// The features' names, in the order of the vector.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.spec.features.iter().map(|feature| feature.name.as_str())
    }

    /// SHA-256 of the declaration and of the formulas' version.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// [`FeatureSchema::hash`] in hexadecimal.
    pub fn hash_hex(&self) -> String {
        hex(&self.hash)
    }

    pub(crate) fn money_hash(&self) -> [u8; 8] {
        self.money_hash
    }

    /// Computes the features as they were known at `now`: only events at or before it count.
    ///
    /// Values are 64-bit inside and rounded once to `f32`; NaN means missing.
    ///
    /// # Errors
    /// `too_late` when the state holds events after `now` and has already forgotten some; `schema_mismatch` when its
    /// amounts are in another currency.
    pub fn features_at(&self, state: &MemberState, now: Timestamp) -> Result<Vec<f32>> {
        let mut out = alloc::vec![0.0; self.len()];
        self.features_into(state, now, &mut out)?;
        Ok(out)
    }

    /// [`FeatureSchema::features_at`] into a slice of [`FeatureSchema::len`] values.
    ///
    /// # Errors
    /// As above, and `invalid_input` for a slice of another length; the slice is then as it was.
    pub fn features_into(&self, state: &MemberState, now: Timestamp, out: &mut [f32]) -> Result<()> {
        if out.len() != self.len() {
            bail!(InvalidInput, "room for {} features; the schema has {}", out.len(), self.len());
        }
        if state.money != self.money_hash {
            bail!(SchemaMismatch, "the member's history is in another currency; observe the events again");
        }
        if !state.knows(now) {
            bail!(
                TooLate,
                "the history at {now} is gone: later events have pushed out earlier ones; raise `capacity`"
            );
        }
        self.formulas.compute(state, now, out);
        Ok(())
    }

    /// Whether some feature reaches back to events that were forgotten, and cannot use their totals.
    pub fn sees_too_little(&self, state: &MemberState, now: Timestamp) -> bool {
        self.spec
            .features
            .iter()
            .filter_map(|feature| feature.reach(now))
            .any(|from| state.forgot_since(from))
    }
}

impl FeatureDecl {
    /// Whether its value is the code of a name, whose size means nothing.
    pub fn is_code(&self) -> bool {
        let is_name = matches!(self.of, Some(Of::Item | Of::Category | Of::Channel));
        self.op == Op::Mode || self.op == Op::Lag && is_name
    }

    /// The time of the oldest event that must be in the log; none if totals serve.
    fn reach(&self, now: Timestamp) -> Option<i64> {
        let totals_serve =
            matches!(self.op, Op::Count | Op::Sum | Op::NetSpend | Op::Mean | Op::Recency | Op::Tenure);
        match (self.window, self.skip) {
            _ if self.op == Op::Calendar => None,
            (Some(window), skip) => Some(now.ms() - window.ms() - skip.map_or(0, |skip| skip.ms()) + 1),
            (None, None) if totals_serve => None,
            (None, _) => Some(0),
        }
    }
}

/// JSON of plain declarations, which cannot fail: their maps have text keys and their numbers are finite.
fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// The first `N` bytes of the SHA-256 of `bytes`; `N` is at most 32.
fn sha256_prefix<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let digest = Sha256::digest(bytes);
    core::array::from_fn(|i| digest.get(i).copied().unwrap_or_default())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
