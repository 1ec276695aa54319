//! The language-neutral vectors: what they look like, how they are made, and how native code runs them.
//!
//! Node, Chromium and workerd read the same files (`tests/vectors/*.json`) and must find the same: features and
//! probabilities by bits, tiers, standings and error codes exactly.

pub mod members;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tiercast_core::{Bundle, Error, EventInput, MemberState, Scorer, Timestamp};

/// A file of members and what must be computed for them.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
pub struct MemberVectors {
    /// Version of this layout.
    pub format: u32,
    /// Path of the bundle, from the root of the project.
    pub bundle: String,
    /// The cases.
    pub cases: Vec<MemberCase>,
}

/// A member as it is sent, and what must come of it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct MemberCase {
    /// What the case is about.
    pub name: String,
    /// The member's state as another runtime saved it, in hexadecimal; a new member if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Events as they are sent in one call, good or bad.
    pub events: Vec<Value>,
    /// The moment of the assessment, milliseconds.
    pub now: i64,
    /// What must come of it.
    #[serde(flatten)]
    pub expect: Expect,
}

/// What must come of a case.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(untagged)]
pub enum Expect {
    /// An assessment.
    Assessment {
        /// Bits of the raw features, eight hexadecimal digits each.
        features: Vec<String>,
        /// Probabilities, tier 1 first; the shortest decimals that are these 32-bit floats.
        probabilities: Vec<f32>,
        /// The tier decided on.
        tier: u8,
        /// The standing, as it is sent.
        standing: Value,
    },
    /// A refusal that leaves the member as it was.
    Error {
        /// Its code.
        error: String,
    },
}

/// A file of damaged bundles.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
pub struct DamageVectors {
    /// Version of this layout.
    pub format: u32,
    /// Path of the whole bundle, from the root of the project.
    pub bundle: String,
    /// The cases.
    pub cases: Vec<DamageCase>,
}

/// What is done to a bundle's bytes, and the code it must be refused with.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct DamageCase {
    /// What the case is about.
    pub name: String,
    /// Keep only this many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<usize>,
    /// Set the byte at the first index to the second value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<(usize, u8)>,
    /// The code.
    pub error: String,
}

impl DamageCase {
    /// The damaged bytes.
    pub fn apply(&self, bundle: &[u8]) -> Vec<u8> {
        let mut bytes = bundle.to_vec();
        bytes.truncate(self.keep.unwrap_or(bytes.len()));
        if let Some((at, value)) = self.set {
            bytes[at] = value;
        }
        bytes
    }
}

/// A path from the root of the project.
pub fn at_root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Reads a file from the root of the project.
pub fn read(path: &str) -> Result<Vec<u8>> {
    fs::read(at_root(path)).with_context(|| format!("cannot read {path}; run `cargo xtask vectors`"))
}

/// What native code computes for a case.
pub fn run(scorer: &Scorer, case: &MemberCase) -> Expect {
    match assess(scorer, case) {
        Ok(expect) => expect,
        Err(e) => Expect::Error { error: e.code().to_string() },
    }
}

fn assess(scorer: &Scorer, case: &MemberCase) -> Result<Expect, Error> {
    let bundle: &Bundle = scorer.bundle();
    let mut state = match &case.snapshot {
        Some(hex) => MemberState::restore(&unhex(hex), bundle.schema())?,
        None => bundle.new_member(),
    };
    let texts: Vec<String> = case.events.iter().map(Value::to_string).collect();
    let events =
        texts.iter().map(|text| EventInput::from_json(text.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    bundle.observe(&mut state, &events)?;
    let found = scorer.assess(&state, Timestamp::from_ms(case.now)?)?;
    Ok(Expect::Assessment {
        features: found.features.iter().map(|x| format!("{:08x}", x.to_bits())).collect(),
        probabilities: found.probabilities,
        tier: found.tier,
        standing: serde_json::to_value(found.standing).unwrap_or_default(),
    })
}

/// Bytes as hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a hexadecimal text; stops at what is none.
fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map_while(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// The check sum of a bundle's section, to put where one was changed on purpose.
pub fn checksum(bytes: &[u8]) -> u64 {
    let mix = |sum: u64, chunk: &[u8]| {
        let word = chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let product = (sum ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        product ^ (product >> 32)
    };
    let mut sum = bytes.chunks(8).fold(bytes.len() as u64, mix);
    if bytes.len().is_multiple_of(8) {
        sum = mix(sum, &[]);
    }
    mix(sum, &[])
}

/// Writes the check sum at the end of a snapshot that was changed on purpose.
pub fn sign_snapshot(bytes: &mut [u8]) {
    if let Some((body, check)) = bytes.split_last_chunk_mut::<4>() {
        *check = (checksum(body) as u32).to_le_bytes();
    }
}

/// The content of a section of any bundle, of members or of a model alone.
///
/// # Panics
/// When there is no such bundle or section.
pub fn section(bundle: &str, name: &str) -> Vec<u8> {
    let bytes = read(bundle).unwrap_or_else(|e| panic!("{e:#}"));
    let number = |at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte))
    };
    let named = |entry: &usize| bytes[*entry..].starts_with(&[name.as_bytes(), &[0]].concat());
    let entry = (0..number(12, 4)).map(|i| 16 + i * 40).find(named);
    let entry = entry.unwrap_or_else(|| panic!("{bundle} has no section {name}"));
    let (offset, length) = (number(entry + 16, 8), number(entry + 24, 8));
    bytes[offset..offset + length].to_vec()
}
