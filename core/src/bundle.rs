//! The bundle: the one file that training hands over and every runtime loads.
//!
//! Layout, little-endian: `TIERCAST`, format version (u32), number of sections (u32), then a table of 64 bytes a
//! section (name padded with zeros to 16, offset u64, length u64, SHA-256), then the sections, each at a multiple of
//! 16 bytes. `manifest`, `schema`, `card` and `vectors` are JSON, because people read them; `transform` and `tier` are
//! postcard, because their numbers must come back bit by bit; `model.onnx` is a standard ONNX file.
//! Sections that a reader does not know are left alone.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, ErrorKind, Result, bail},
    event::EventInput,
    features::{FeatureSchema, FeatureSpec, hex},
    tasks::tier::{Decode, TierRules},
    time::Timestamp,
    transform::Transform,
};

const MAGIC: &[u8; 8] = b"TIERCAST";
/// The version of the layout that this build writes and reads.
pub const FORMAT: u32 = 1;
const TASK: &str = "tier";
const HEAD: usize = 16;
const ENTRY: usize = 64;
const NAME: usize = 16;
const ALIGN: usize = 16;
const MAX_SECTIONS: usize = 64;

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The job: `tier`.
    pub task: String,
    /// What the shop calls it.
    pub name: String,
    /// The shop's version of it.
    pub version: String,
    /// The program and version that wrote it.
    pub producer: String,
    /// Kind of model, for example `dnn`.
    pub model: String,
    /// How a tier is chosen from probabilities.
    pub decode: Decode,
    /// Hash of the feature schema that the transform and the model were fitted to; filled in by [`Bundle::write`].
    #[serde(default)]
    pub schema_hash: String,
}

/// A member, and what every runtime must compute for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vector {
    /// What the case is about.
    pub name: String,
    /// The member's events, in any order.
    pub events: Vec<EventInput<'static>>,
    /// The moment of the assessment.
    pub now: Timestamp,
    /// The raw features' bits, eight hexadecimal digits each.
    pub features: Vec<String>,
    /// The tiers' probabilities.
    pub probabilities: Vec<f32>,
    /// The tier decided on.
    pub tier: u8,
}

/// Everything that goes into a bundle.
#[derive(Clone, Debug)]
pub struct BundleParts {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The declared features.
    pub spec: FeatureSpec,
    /// The fitted steps.
    pub transform: Transform,
    /// The shop's tiers.
    pub rules: TierRules,
    /// The model, an ONNX file: `[N, transform.width()]` in, `[N, tiers]` probabilities out.
    pub onnx: Vec<u8>,
    /// The model card: data, protocol, measures, caveats.
    pub card: serde_json::Value,
    /// Members by which a loader can prove itself.
    pub vectors: Vec<Vector>,
}

/// A section of a parsed bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub length: usize,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A bundle that was read and checked.
#[derive(Clone, Debug)]
pub struct Bundle {
    manifest: Manifest,
    schema: FeatureSchema,
    transform: Transform,
    rules: TierRules,
    onnx: Vec<u8>,
    card: serde_json::Value,
    vectors: Vec<Vector>,
    sections: Vec<Section>,
}

impl Bundle {
    /// Checks the parts against each other and writes them as one file.
    ///
    /// # Errors
    /// `invalid_spec` when the schema, the transform or the tiers contradict themselves or each other, or the task is not
    /// `tier`.
    pub fn write(mut parts: BundleParts) -> Result<Vec<u8>> {
        let schema = FeatureSchema::compile(parts.spec)?;
        parts.transform.check(schema.len())?;
        if parts.manifest.task != TASK {
            bail!(InvalidSpec, "the task is {:?}; this build writes {TASK:?}", parts.manifest.task);
        }
        parts.rules.check()?;
        parts.manifest.schema_hash = schema.hash_hex();
        Ok(assemble(&[
            ("manifest", to_json(&parts.manifest)?),
            ("schema", to_json(schema.spec())?),
            ("transform", to_postcard(&parts.transform)?),
            ("tier", to_postcard(&parts.rules)?),
            ("model.onnx", parts.onnx),
            ("card", to_json(&parts.card)?),
            ("vectors", to_json(&parts.vectors)?),
        ]))
    }

    /// Reads and checks a bundle.
    ///
    /// # Errors
    /// `not_a_bundle`, `bundle_version`, `bundle_truncated`, `bundle_hash` or `bundle_section` for damaged or foreign
    /// bytes; `schema_mismatch` when the manifest was written for another schema; `invalid_spec` when the sections
    /// contradict each other.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let table = Table::parse(bytes)?;
        let manifest: Manifest = table.json("manifest")?;
        if manifest.task != TASK {
            bail!(
                BundleVersion,
                "the bundle's task is {:?}; this build knows {TASK:?}; update tiercast",
                manifest.task
            );
        }
        let schema = FeatureSchema::compile(table.json("schema")?)?;
        if manifest.schema_hash != schema.hash_hex() {
            bail!(
                SchemaMismatch,
                "the model was trained for features {} but this build computes {}; train again with this version",
                manifest.schema_hash,
                schema.hash_hex()
            );
        }
        let transform: Transform = table.postcard("transform")?;
        transform.check(schema.len())?;
        let rules: TierRules = table.postcard("tier")?;
        rules.check()?;
        Ok(Self {
            manifest,
            schema,
            transform,
            rules,
            onnx: table.find("model.onnx")?.to_vec(),
            card: table.json("card")?,
            vectors: table.json("vectors")?,
            sections: table.sections(),
        })
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The features it needs.
    pub fn schema(&self) -> &FeatureSchema {
        &self.schema
    }

    /// The fitted steps.
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// The shop's tiers.
    pub fn rules(&self) -> &TierRules {
        &self.rules
    }

    /// The model, an ONNX file.
    pub fn onnx(&self) -> &[u8] {
        &self.onnx
    }

    /// The model card.
    pub fn card(&self) -> &serde_json::Value {
        &self.card
    }

    /// Members by which a loader can prove itself.
    pub fn vectors(&self) -> &[Vector] {
        &self.vectors
    }

    /// The sections, in the order of the file.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }
}

/// The sections of a file whose hashes were checked.
struct Table<'b> {
    entries: Vec<(&'b str, &'b [u8], &'b [u8])>,
}

impl<'b> Table<'b> {
    fn parse(bytes: &'b [u8]) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            if MAGIC.starts_with(bytes) {
                bail!(BundleTruncated, "the bundle ends after {} bytes; fetch it again", bytes.len());
            }
            bail!(
                NotABundle,
                "the bytes do not begin like a bundle; give a .tcb file written by `tiercast train`"
            );
        }
        let (Some(version), Some(count)) = (u32_at(bytes, 8), u32_at(bytes, 12)) else {
            bail!(BundleTruncated, "the bundle ends after {} bytes; fetch it again", bytes.len());
        };
        if version != FORMAT {
            bail!(
                BundleVersion,
                "the bundle has format {version}; this build reads {FORMAT}; update tiercast or train again"
            );
        }
        let count = count as usize;
        if count > MAX_SECTIONS {
            bail!(NotABundle, "the bundle claims {count} sections; at most {MAX_SECTIONS}");
        }
        let entries = (0..count).map(|i| entry(bytes, HEAD + i * ENTRY)).collect::<Result<_>>()?;
        Ok(Self { entries })
    }

    fn find(&self, name: &str) -> Result<&'b [u8]> {
        match self.entries.iter().find(|(known, ..)| *known == name) {
            Some((_, content, _)) => Ok(content),
            None => bail!(BundleSection, "the bundle has no section {name:?}; train again"),
        }
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_slice(self.find(name)?).map_err(|e| unreadable(name, &e))
    }

    fn postcard<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        postcard::from_bytes(self.find(name)?).map_err(|e| unreadable(name, &e))
    }

    fn sections(&self) -> Vec<Section> {
        let section = |(name, content, hash): &(&str, &[u8], &[u8])| Section {
            name: (*name).to_string(),
            length: content.len(),
            sha256: hex(hash),
        };
        self.entries.iter().map(section).collect()
    }
}

/// Reads one line of the table and checks the section it names.
fn entry(bytes: &[u8], at: usize) -> Result<(&str, &[u8], &[u8])> {
    let truncated = || Error::new(ErrorKind::BundleTruncated, "the bundle ends early; fetch it again");
    let line = bytes.get(at..at + ENTRY).ok_or_else(truncated)?;
    let (name, rest) = line.split_at(NAME);
    let (place, hash) = rest.split_at(16);
    let padding = name.iter().position(|b| *b == 0).unwrap_or(NAME);
    let Some(name) = name.get(..padding).and_then(|name| core::str::from_utf8(name).ok()) else {
        bail!(NotABundle, "the bundle's table has a section without a readable name");
    };
    let (offset, length) = place.split_at(8);
    let range = usize_of(offset).and_then(|from| Some(from..from.checked_add(usize_of(length)?)?));
    let content = range.and_then(|range| bytes.get(range)).ok_or_else(truncated)?;
    if Sha256::digest(content).as_slice() != hash {
        bail!(BundleHash, "section {name:?} does not have the hash that the bundle states; fetch it again");
    }
    Ok((name, content, hash))
}

fn assemble(sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::from(MAGIC.as_slice());
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend((sections.len() as u32).to_le_bytes());
    let mut offset = (HEAD + sections.len() * ENTRY).next_multiple_of(ALIGN);
    for (name, content) in sections {
        let mut padded = [0; NAME];
        padded.iter_mut().zip(name.bytes()).for_each(|(slot, byte)| *slot = byte);
        bytes.extend(padded);
        bytes.extend((offset as u64).to_le_bytes());
        bytes.extend((content.len() as u64).to_le_bytes());
        bytes.extend(Sha256::digest(content));
        offset = (offset + content.len()).next_multiple_of(ALIGN);
    }
    for (_, content) in sections {
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        bytes.extend(content);
    }
    bytes
}

fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|e| Error::new(ErrorKind::InvalidSpec, alloc::format!("cannot be written as JSON: {e}")))
}

fn to_postcard<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_allocvec(value)
        .map_err(|e| Error::new(ErrorKind::InvalidSpec, alloc::format!("cannot be written: {e}")))
}

fn unreadable(name: &str, reason: &dyn core::fmt::Display) -> Error {
    Error::new(
        ErrorKind::BundleSection,
        alloc::format!("section {name:?} cannot be read: {reason}; train again with this version"),
    )
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn usize_of(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}
