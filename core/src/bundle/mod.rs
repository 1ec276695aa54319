//! The bundle: the one file that training hands over and every runtime loads.
//!
//! Layout, little-endian: `TIERCAST`, format version (u32), number of sections (u32), then a table of 40 bytes a
//! section (name padded with zeros to 16, offset u64, length u64, check sum u64), then the sections, each at a multiple of
//! 16 bytes. `scorer` holds what scoring needs, in binary: it is read without a JSON parser, and its numbers come back
//! bit by bit. `plan` is a lowered model, ready for the compact engine, and `model.onnx`, in its place, a standard ONNX
//! file. Some bundles also have `profile.plan`, the model of profiles, and `recommend` with `recommend.plan`, the catalogue and
//! the ranker of recommendations, or `assign` and `reward`, policies, with a plan each where they were learned, or `points`, the
//! rules for points, or `risk` with `risk.plan`, what judges risk, or `drift`, what the training rows were distributed like.
//! `manifest`, `schema`, `card` and `vectors` are JSON, for people and for programs around the core.
//! Sections that a reader does not know are left alone.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Deserializer, Serialize};

mod info;
mod table;

pub use self::table::FORMAT;
pub(crate) use self::table::unreadable;
pub(crate) use self::table::{Table, assemble, to_json};
use crate::{
    checksum::checksum,
    drift::Reference,
    engine::EngineKind,
    error::{Quoted, Result, bail},
    event::EventInput,
    features::{FeatureSchema, FeatureSpec, PackedSchema},
    held::Held,
    tasks::decide::{DECIDES, Decision, Policies, Policy, Task},
    tasks::points::{POINTS, PointsRules, Statement},
    tasks::profile::{PROFILES, ProfileSpec, Stored},
    tasks::recommend::{Catalogue, RECOMMENDS, Recommendation, Shelf},
    tasks::risk::{RISKS, Risk, RiskModel},
    tasks::tier::{Decode, TierRules},
    time::Timestamp,
    transform::Transform,
    wire,
};

pub(crate) const TASK: &str = "tier";
/// The section that holds the plan of the profile's model.
const PROFILE: &str = "profile.plan";
/// The sections of recommendations: the catalogue, and the plan of its ranker.
const RECOMMEND: [&str; 2] = ["recommend", "recommend.plan"];

/// The sections of risk: what it is judged by, and the plan of its model.
const RISK: [&str; 2] = ["risk", "risk.plan"];

/// The section of the rules for points.
const POINTS_RULES: &str = "points";

/// The section of what drift is measured by. A build without it leaves it alone, as no answer to a member needs it.
const DRIFT: &str = "drift";

/// The sections of what is not done in every build, and whether this one does it.
const MORE: [(bool, &str); 6] = [
    (PROFILES, PROFILE),
    (RECOMMENDS, RECOMMEND[0]),
    (DECIDES, Task::Assign.name()),
    (DECIDES, Task::Reward.name()),
    (POINTS, POINTS_RULES),
    (RISKS, RISK[0]),
];

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// Which engine it is for.
    pub engine: EngineKind,
    /// How a tier is chosen from probabilities.
    pub decode: Decode,
    /// For [`Decode::Ranks`], the expected tiers above which tiers 2…K begin; otherwise empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<f32>,
    /// Hash of the feature schema that the transform and the model were fitted to; filled in by [`Bundle::write`].
    pub schema_hash: String,
}

crate::wire::fields!(Manifest { task, name, version, producer, model, engine, decode, cuts, schema_hash });

/// A member, and what every runtime must compute for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vector {
    /// What the case is about.
    pub name: String,
    /// The member's events, in any order.
    #[serde(deserialize_with = "kept")]
    pub events: Vec<EventInput<'static>>,
    /// The moment of the assessment.
    pub now: Timestamp,
    /// The raw features' bits, eight hexadecimal digits each.
    pub features: Vec<String>,
    /// The tiers' probabilities.
    pub probabilities: Vec<f32>,
    /// The tier decided on.
    pub tier: u8,
    /// What the profile's model gives, if the bundle has one: the embedding, the chance of no purchase, days.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<f32>,
    /// The member's list with the bundle's own options, if the bundle recommends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recommendations: Vec<Recommendation>,
    /// What the bundle's policies decide for a member of the vector's name, as far as it has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
    /// The member's points without redemptions, if the bundle has rules for points and the history is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<Statement>,
    /// What is thought of the member, if the bundle judges risk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
}

/// Events are read with texts of what they are read from; a vector outlives it.
fn kept<'de, D: Deserializer<'de>>(from: D) -> core::result::Result<Vec<EventInput<'static>>, D::Error> {
    Ok(Vec::<EventInput<'_>>::deserialize(from)?.into_iter().map(EventInput::into_owned).collect())
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
    /// The model, as the manifest's engine reads it: `transform.width()` numbers a row in, a probability per tier out.
    pub model: Vec<u8>,
    /// Each feature's median over the training rows, NaN where it is mostly missing: what explanations compare with.
    pub typical: Vec<f32>,
    /// What profiles are made by, and the plan of their model; none for a bundle of tiers alone.
    pub profile: Option<(ProfileSpec, Vec<u8>)>,
    /// What is recommended, and the plan of the ranker; none for a bundle that recommends nothing.
    pub recommend: Option<(Catalogue, Vec<u8>)>,
    /// Which tier of service and which offer of points members get.
    pub policies: Policies,
    /// How points are earned and what they are worth; none for a bundle without points.
    pub points: Option<PointsRules>,
    /// What risk is judged by, and the plan of its model; none for a bundle that judges none.
    pub risk: Option<(RiskModel, Vec<u8>)>,
    /// What the training rows were distributed like; none for a bundle that drift is not measured by.
    pub drift: Option<Reference>,
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
    /// Its check sum, 16 hexadecimal digits: it notices damage, and does not stop a forger.
    pub checksum: String,
}

/// What scoring needs besides the model.
#[derive(Clone, Debug)]
struct Core {
    manifest: Manifest,
    schema: PackedSchema,
    transform: Transform,
    rules: TierRules,
    typical: Vec<f32>,
    profile: Stored,
}

crate::wire::fields!(Core { manifest, schema, transform, rules, typical, profile });

/// A bundle that was read and checked.
#[derive(Clone, Debug)]
pub struct Bundle {
    manifest: Manifest,
    schema: FeatureSchema,
    transform: Transform,
    rules: TierRules,
    typical: Vec<f32>,
    points: Held<PointsRules>,
    drift: Held<Reference>,
    info: String,
    card: String,
    vectors: String,
    sections: Vec<Section>,
}

/// A bundle, and its models as they are in the file.
pub(crate) struct Opened<'b> {
    pub(crate) bundle: Bundle,
    pub(crate) model: &'b [u8],
    pub(crate) profile: Held<(ProfileSpec, &'b [u8])>,
    pub(crate) recommend: Held<(Catalogue, &'b [u8])>,
    pub(crate) policies: Held<Vec<(Task, Policy, &'b [u8])>>,
    pub(crate) risk: Held<(RiskModel, &'b [u8])>,
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
        parts.manifest.decode.check(&parts.manifest.cuts, parts.rules.len())?;
        if parts.typical.len() != schema.len() {
            bail!(InvalidSpec, "{} typical values for {} features", parts.typical.len(), schema.len());
        }
        parts.manifest.schema_hash = schema.hash_hex();
        let (profile, profile_plan) = parts.profile.unzip();
        profile.iter().try_for_each(|profile| profile.check(schema.len()))?;
        let recommend =
            parts.recommend.map(|(catalogue, plan)| Ok((Shelf::new(catalogue)?, plan))).transpose()?;
        for task in Task::ALL {
            if let Some((policy, _)) = parts.policies.of(task) {
                policy.check(task, schema.len(), &parts.rules)?;
            }
        }
        let (tiers, events) = (parts.rules.len(), &schema.spec().events);
        parts.points.iter().try_for_each(|points| points.check(tiers, events))?;
        parts.risk.iter().try_for_each(|(risk, _)| risk.check(&schema))?;
        parts.drift.iter().try_for_each(|drift| drift.check(schema.len(), tiers))?;
        let catalogue = recommend.as_ref().map(|(shelf, _)| shelf.catalogue());
        let info = info::Info::new(&parts.manifest, &schema, &parts.rules)
            .with(profile.as_ref(), catalogue)
            .with_policies(&parts.policies)
            .with_points(parts.points.as_ref())
            .with_risk(parts.risk.as_ref().map(|(risk, _)| risk.describe(&schema)));
        let manifest = to_json(&info)?;
        let engine = parts.manifest.engine;
        let core = Core {
            manifest: parts.manifest,
            schema: schema.pack(),
            transform: parts.transform,
            rules: parts.rules,
            typical: parts.typical,
            profile: Stored(Held::new(|| Ok(profile))?),
        };
        let mut sections = alloc::vec![
            ("manifest", manifest),
            ("scorer", wire::to_bytes(&core)),
            (engine.section(), parts.model),
        ];
        sections.extend(profile_plan.map(|plan| (PROFILE, plan)));
        if let Some((shelf, plan)) = recommend {
            sections.extend(RECOMMEND.into_iter().zip([wire::to_bytes(shelf.catalogue()), plan]));
        }
        for task in Task::ALL {
            if let Some((policy, plan)) = parts.policies.of(task) {
                sections.extend([(task.name(), wire::to_bytes(policy)), (task.plan(), plan.clone())]);
            }
        }
        sections.extend(parts.points.map(|points| (POINTS_RULES, wire::to_bytes(&points))));
        if let Some((risk, plan)) = parts.risk {
            sections.extend(RISK.into_iter().zip([wire::to_bytes(&risk), plan]));
        }
        sections.extend(parts.drift.map(|drift| (DRIFT, wire::to_bytes(&drift))));
        sections.extend([
            ("schema", to_json(schema.spec())?),
            ("card", to_json(&parts.card)?),
            ("vectors", to_json(&parts.vectors)?),
        ]);
        Ok(assemble(&sections))
    }

    /// Reads and checks a bundle.
    ///
    /// # Errors
    /// `not_a_bundle`, `bundle_version`, `bundle_truncated`, `bundle_hash` or `bundle_section` for damaged or foreign
    /// bytes; `schema_mismatch` when it was trained for other feature formulas; `invalid_spec` when the sections
    /// contradict each other.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Ok(Self::open(bytes)?.bundle)
    }

    /// Which engine the model of a bundle is for, also of one that holds a model alone.
    ///
    /// # Errors
    /// Those of a damaged bundle.
    pub fn engine_of(bytes: &[u8]) -> Result<EngineKind> {
        let keeps_onnx = Table::parse(bytes)?.find(EngineKind::Onnx.section()).is_ok();
        Ok(if keeps_onnx { EngineKind::Onnx } else { EngineKind::Plan })
    }

    /// Everything that a bundle was written from, to be written again with something changed.
    ///
    /// # Errors
    /// Those of [`Bundle::parse`], and `bundle_section` when the card or the vectors cannot be read.
    pub fn parts(bytes: &[u8]) -> Result<BundleParts> {
        let Opened { bundle, model, profile, recommend, policies, risk } = Self::open(bytes)?;
        let mut parts = BundleParts {
            vectors: bundle.vectors()?,
            card: serde_json::from_str(&bundle.card).map_err(|e| unreadable("card", &e))?,
            spec: bundle.schema.spec().clone(),
            manifest: bundle.manifest,
            transform: bundle.transform,
            rules: bundle.rules,
            typical: bundle.typical,
            model: model.into(),
            profile: profile.into_option().map(|(spec, plan)| (spec, plan.into())),
            recommend: recommend.into_option().map(|(catalogue, plan)| (catalogue, plan.into())),
            policies: Policies::default(),
            points: bundle.points.into_option(),
            risk: risk.into_option().map(|(model, plan)| (model, plan.into())),
            drift: bundle.drift.into_option(),
        };
        for (task, policy, plan) in policies.into_option().unwrap_or_default() {
            parts.policies.put(task, policy, plan.into());
        }
        Ok(parts)
    }

    /// As [`Bundle::parse`], with the sections that hold the models.
    pub(crate) fn open(bytes: &[u8]) -> Result<Opened<'_>> {
        let table = Table::parse(bytes)?;
        if table.find("model").is_ok() {
            bail!(
                BundleSection,
                "the bundle holds a model alone, without members and tiers; load it as a model"
            );
        }
        let absent = |(known, name): &&(bool, &str)| !known && table.find(name).is_ok();
        if let Some((_, name)) = MORE.iter().find(absent) {
            bail!(
                UnsupportedModel,
                "the bundle has {name}, which this build leaves out; use a build with the feature `all-kernels`"
            );
        }
        let core: Core = table.value("scorer")?;
        let manifest = core.manifest;
        if manifest.task != TASK {
            bail!(
                BundleVersion,
                "the bundle's task is {}; this build knows {TASK}; update tiercast",
                Quoted(&manifest.task)
            );
        }
        let schema = FeatureSchema::unpack(core.schema)?;
        core.transform.check(schema.len())?;
        core.rules.check()?;
        manifest.decode.check(&manifest.cuts, core.rules.len())?;
        if core.typical.len() != schema.len() {
            bail!(InvalidSpec, "{} typical values for {} features", core.typical.len(), schema.len());
        }
        let model = table.find(manifest.engine.section())?;
        let features = schema.len();
        let (spec, rules) = (core.profile.0, &core.rules);
        let profile = Held::new(|| {
            let Some(spec) = spec.into_option() else { return Ok(None) };
            spec.check(features)?;
            Ok(Some((spec, table.find(PROFILE)?)))
        })?;
        let recommend = Held::new(|| match table.find(RECOMMEND[0]) {
            Ok(_) => Ok(Some((table.value(RECOMMEND[0])?, table.find(RECOMMEND[1])?))),
            Err(_) => Ok(None),
        })?;
        let policies = Held::new(|| {
            let has = |task: &Task| table.find(task.name()).is_ok();
            let read = |task: Task| {
                let policy: Policy = table.value(task.name())?;
                policy.check(task, features, rules)?;
                Ok((task, policy, table.find(task.plan())?))
            };
            Task::ALL.into_iter().filter(has).map(read).collect::<Result<Vec<_>>>().map(Some)
        })?;
        let points = Held::new(|| {
            if table.find(POINTS_RULES).is_err() {
                return Ok(None);
            }
            let points: PointsRules = table.value(POINTS_RULES)?;
            points.check(rules.len(), &schema.spec().events)?;
            Ok(Some(points))
        })?;
        let risk = Held::new(|| {
            if table.find(RISK[0]).is_err() {
                return Ok(None);
            }
            let risk: RiskModel = table.value(RISK[0])?;
            risk.check(&schema)?;
            Ok(Some((risk, table.find(RISK[1])?)))
        })?;
        let drift = Held::new(|| {
            if table.find(DRIFT).is_err() {
                return Ok(None);
            }
            let drift: Reference = table.value(DRIFT)?;
            drift.check(features, rules.len())?;
            Ok(Some(drift))
        })?;
        let bundle = Self {
            manifest,
            schema,
            transform: core.transform,
            rules: core.rules,
            typical: core.typical,
            points,
            drift,
            info: table.text("manifest")?,
            card: table.text("card")?,
            vectors: table.text("vectors")?,
            sections: table.sections(),
        };
        Ok(Opened { bundle, model, profile, recommend, policies, risk })
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

    /// Each feature's median over the training rows, for a code the commonest; NaN where it is mostly missing.
    pub fn typical(&self) -> &[f32] {
        &self.typical
    }

    /// How points are earned and what they are worth; none for a bundle without points.
    pub fn points(&self) -> Option<&PointsRules> {
        self.points.get()
    }

    /// What the training rows were distributed like; none for a bundle that says nothing of it, and in a build without the
    /// feature `all-kernels`.
    pub fn drift(&self) -> Option<&Reference> {
        self.drift.get()
    }

    /// The model card, as JSON.
    pub fn card(&self) -> &str {
        &self.card
    }

    /// A section that programs around the core read, as it is written: `manifest` (with the tiers, and the features in
    /// words), `card` or `vectors` (a list of [`Vector`]); empty for another name.
    pub fn json(&self, section: &str) -> &str {
        match section {
            "manifest" => &self.info,
            "card" => &self.card,
            "vectors" => &self.vectors,
            _ => "",
        }
    }

    /// Members by which a loader can prove itself.
    ///
    /// # Errors
    /// `bundle_section` when they cannot be read.
    pub fn vectors(&self) -> Result<Vec<Vector>> {
        serde_json::from_str(&self.vectors).map_err(|e| unreadable("vectors", &e))
    }

    /// What sets this bundle apart from others, 16 hexadecimal digits made of its sections' check sums: to be logged with decisions.
    /// It tells bundles apart, and does not stop a forger.
    pub fn fingerprint(&self) -> String {
        let sums: Vec<u8> = self.sections.iter().flat_map(|section| section.checksum.bytes()).collect();
        alloc::format!("{:016x}", checksum(&sums))
    }

    /// The sections, in the order of the file.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }
}
