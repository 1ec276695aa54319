//! The core of Tiercast: from a member's events to features, from features to a score, from a score to a decision.
//!
//! Training, the browser, the edge and the nightly batch run this same code, so that what was trained is what runs.
//! It is `no_std`, does no IO, reads no clock and draws no random numbers: time comes with the call.
//!
//! ```
//! use tiercast_core::{EventInput, FeatureSchema, FeatureSpec, MemberState, Timestamp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let spec: FeatureSpec = serde_json::from_str(r#"{
//!     "events": { "currency": { "code": "USD", "exponent": 2 } },
//!     "capacity": 1024,
//!     "features": [
//!         { "name": "recency", "op": "recency" },
//!         { "name": "spend_28d", "op": "sum", "of": "amount", "window": "28d" }
//!     ]
//! }"#)?;
//! let schema = FeatureSchema::compile(spec)?;
//!
//! let mut member = MemberState::new(&schema);
//! let event = EventInput::from_json(br#"{"kind":"purchase","time":"2017-03-01","amount":"12.34"}"#)?;
//! member.observe(event.validate(&schema.spec().events)?);
//!
//! let now = Timestamp::parse("2017-03-08")?;
//! assert_eq!(schema.features_at(&member, now)?, [7.0, 12.34]);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Scorer`] loads a [`Bundle`] and assesses members with its model, a [`Plan`] for the compact engine. With the
//! feature `onnx` it also runs bundles that keep their ONNX file, and `lower` makes a plan of one.

#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used))]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod bundle;
mod checksum;
mod drift;
mod engine;
mod error;
mod event;
mod explain;
mod features;
mod held;
mod json;
#[cfg(feature = "onnx")]
mod lower;
mod math;
mod model;
mod money;
mod object;
mod order;
mod origin;
mod prove;
mod scorer;
mod tasks;
mod time;
mod transform;
mod turn;
mod wire;

pub use self::{
    bundle::{Bundle, BundleParts, FORMAT, Manifest, Section, Vector},
    drift::{Bins, Drift, Psi, Reference, Watched},
    engine::{EngineKind, Plan, Port, Storage, Workspace},
    error::{Error, ErrorKind, Result},
    event::{
        Event, EventInput, EventKind, EventRules, MAX_CUSTOM_KINDS, MAX_TEXT, Scalar, short_hash as name_hash,
    },
    explain::Reason,
    features::{
        Each, FeatureDecl, FeatureInfo, FeatureSchema, FeatureSpec, MAX_CAPACITY, MAX_FEATURES, MemberState,
        Observed, Of, Op, Stat,
    },
    model::{Model, ModelManifest},
    money::Currency,
    origin::{Origin, Place},
    scorer::{Assessment, Scorer, Scratch},
    tasks::decide::{
        Action, Choice, DecideOptions, Decision, Evidence, Learned, MAX_ACTIONS, Policies, Policy,
        PolicyInfo, Task, Why as DecisionReason,
    },
    tasks::points::{
        Bonus, EarnOptions, Earned, Ledger, MAX_BONUSES, MAX_POINTS, PointsAt, PointsInfo, PointsOptions,
        PointsRules, Statement, Totals, breakage,
    },
    tasks::profile::{Interest, Profile, ProfileInfo, ProfileSpec, Segment, SegmentInfo, similarity},
    tasks::recommend::{
        CandidateRoom, Candidates, Catalogue, Factors, Favourite, Fold, Item, ItemRows, MAX_FACTORS,
        MAX_ITEMS, MAX_RECOMMENDATIONS, NO_LABEL, Neighbours, RANKER_INPUTS, RecommendInfo, RecommendOptions,
        Recommendation, Shelf, Welcome, WelcomeStep, Why,
    },
    tasks::risk::{
        MAX_RISK_RULES, Risk, RiskCondition, RiskEvidence, RiskInfo, RiskModel, RiskOptions, RiskReason,
        RiskRule,
    },
    tasks::tier::{Decode, MAX_TIERS, NextTier, Standing, Tier, TierRules, expected_tier, net_spend},
    time::{DAY_MS, Duration, Period, Timestamp},
    transform::{Column, Step, Transform},
};
#[cfg(feature = "onnx")]
pub use self::{
    engine::OnnxModel,
    lower::{LowerOptions, lower},
};
