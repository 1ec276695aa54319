//! A declaration as a loader reads it: without names of fields, without optional ones left out.

use alloc::{string::String, vec::Vec};

use super::{Each, FORMULAS, FeatureDecl, FeatureSchema, FeatureSpec, Of, Op, Stat};
use crate::{
    error::{Quoted, Result, bail},
    event::EventRules,
    time::Duration,
};

/// A checked declaration, its hash, and the version of the formulas that it was checked with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PackedSchema {
    formulas: String,
    hash: [u8; 32],
    events: EventRules,
    capacity: u32,
    features: Vec<PackedDecl>,
}

crate::wire::fields!(PackedSchema { formulas, hash, events, capacity, features });

#[derive(Clone, Debug, PartialEq)]
struct PackedDecl {
    name: String,
    op: Op,
    of: Option<Of>,
    events: Vec<String>,
    /// Milliseconds, as the two after it.
    window: Option<i64>,
    skip: Option<i64>,
    half_life: Option<i64>,
    value: Option<String>,
    stat: Option<Stat>,
    each: Option<Each>,
    lag: Option<u32>,
}

crate::wire::fields!(PackedDecl { name, op, of, events, window, skip, half_life, value, stat, each, lag });

impl FeatureSchema {
    pub(crate) fn pack(&self) -> PackedSchema {
        let ms = |duration: Option<Duration>| duration.map(Duration::ms);
        let decl = |decl: &FeatureDecl| PackedDecl {
            name: decl.name.clone(),
            op: decl.op,
            of: decl.of,
            events: decl.events.clone(),
            window: ms(decl.window),
            skip: ms(decl.skip),
            half_life: ms(decl.half_life),
            value: decl.value.clone(),
            stat: decl.stat,
            each: decl.each,
            lag: decl.lag,
        };
        PackedSchema {
            formulas: FORMULAS.into(),
            hash: self.hash,
            events: self.spec.events.clone(),
            capacity: self.spec.capacity,
            features: self.spec.features.iter().map(decl).collect(),
        }
    }

    /// Compiles a packed declaration; its hash is taken at its word, see [`FeatureSchema::is_true`].
    ///
    /// # Errors
    /// `schema_mismatch` when it was packed for other formulas, and those of [`FeatureSchema::compile`].
    pub(crate) fn unpack(packed: PackedSchema) -> Result<Self> {
        if packed.formulas != FORMULAS {
            bail!(
                SchemaMismatch,
                "the model was trained for {} but this build computes {}; train again with this version",
                Quoted(&packed.formulas),
                Quoted(FORMULAS)
            );
        }
        let duration = |ms: Option<i64>| ms.map(Duration::from_ms).transpose();
        let decl = |decl: PackedDecl| {
            Ok(FeatureDecl {
                name: decl.name,
                op: decl.op,
                of: decl.of,
                events: decl.events,
                window: duration(decl.window)?,
                skip: duration(decl.skip)?,
                half_life: duration(decl.half_life)?,
                value: decl.value,
                stat: decl.stat,
                each: decl.each,
                lag: decl.lag,
            })
        };
        let features = packed.features.into_iter().map(decl).collect::<Result<_>>()?;
        let spec = FeatureSpec { events: packed.events, capacity: packed.capacity, features };
        Self::with_hash(spec, packed.hash)
    }

    /// Whether the hash is that of the declaration.
    pub(crate) fn is_true(&self) -> bool {
        Self::compile(self.spec.clone()).is_ok_and(|schema| schema.hash == self.hash)
    }
}
