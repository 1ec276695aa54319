//! Puts a trained model into a bundle, with members by which every loader can prove itself.
//!
//! Those members are made up: a bundle goes to browsers, and nobody's purchases may travel in it.

use std::path::Path;

use anyhow::{Context, bail};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tiercast_core::{
    Bundle, BundleParts, Catalogue, DAY_MS, Decode, EngineKind, EventInput, FeatureDecl, FeatureSpec,
    LowerOptions, Manifest, MemberState, Of, Op, PointsRules, Policies, ProfileSpec, RecommendOptions,
    Reference, Scalar, Scorer, TierRules, Timestamp, Transform, Vector, lower,
};

use crate::weights::Weights;

/// Members in a bundle.
const VECTORS: usize = 8;
/// How long before the assessment their oldest event lies at most, days.
const HISTORY: i64 = 400;

/// What goes into a bundle.
#[derive(Clone, Debug)]
pub struct Contents<'a> {
    /// The project's name.
    pub name: &'a str,
    /// The declared features.
    pub spec: &'a FeatureSpec,
    /// The steps fitted to the training rows.
    pub transform: &'a Transform,
    /// The tiers cut on the training targets.
    pub rules: &'a TierRules,
    /// Kind of model, for example `dnn`.
    pub model: &'a str,
    /// The model, an ONNX file: as many inputs as the transform gives, as many outputs as there are tiers.
    pub onnx: &'a [u8],
    /// Which engine runs it.
    pub engine: EngineKind,
    /// How a plan's weights are stored.
    pub weights: Weights,
    /// How probabilities become a tier.
    pub decode: Decode,
    /// For decoding by ranks, the expected tiers above which tiers 2…K begin; otherwise empty.
    pub cuts: &'a [f32],
    /// Each feature's typical value in the training rows.
    pub typical: &'a [f32],
    /// What profiles are made by, and their model, an ONNX file; none for a bundle of tiers alone.
    pub profile: Option<(&'a ProfileSpec, &'a [u8])>,
    /// What is recommended, and the ranker, an ONNX file; none for a bundle that recommends nothing.
    pub recommend: Option<(&'a Catalogue, &'a [u8])>,
    /// Which tier of service and which offer of points members get.
    pub policies: &'a Policies,
    /// How points are earned and what they are worth; none for a bundle without points.
    pub points: Option<&'a PointsRules>,
    /// What the training rows were distributed like.
    pub drift: Option<&'a Reference>,
    /// What people should know.
    pub card: Value,
    /// The moment at which the made-up members are assessed.
    pub now: Timestamp,
    /// Seeds the made-up members.
    pub seed: u64,
}

/// Writes the bundle, loads it again and lets it prove itself. Equal contents give equal bytes.
///
/// # Errors
/// When core refuses the parts, or the loaded bundle does not give what it was written with.
pub fn write(contents: &Contents<'_>) -> anyhow::Result<Vec<u8>> {
    let manifest = Manifest {
        task: "tier".into(),
        name: contents.name.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        producer: concat!("tiercast ", env!("CARGO_PKG_VERSION")).into(),
        model: contents.model.into(),
        engine: contents.engine,
        decode: contents.decode,
        cuts: contents.cuts.to_vec(),
        schema_hash: String::new(),
    };
    let options = LowerOptions { storage: contents.weights.storage(), ..LowerOptions::default() };
    let plan = |onnx: &[u8]| Ok::<_, tiercast_core::Error>(lower(onnx, &options)?.write());
    let profile =
        contents.profile.map(|(spec, onnx)| Ok::<_, tiercast_core::Error>((spec.clone(), plan(onnx)?)));
    let mut parts = BundleParts {
        manifest,
        spec: contents.spec.clone(),
        transform: contents.transform.clone(),
        rules: contents.rules.clone(),
        model: match contents.engine {
            EngineKind::Plan => plan(contents.onnx)?,
            EngineKind::Onnx => contents.onnx.to_vec(),
        },
        typical: contents.typical.to_vec(),
        profile: profile.transpose()?,
        recommend: match contents.recommend {
            // Trees are never rounded.
            Some((catalogue, onnx)) => Some((catalogue.clone(), plan(onnx)?)),
            None => None,
        },
        policies: contents.policies.clone(),
        points: contents.points.cloned(),
        risk: None,
        drift: contents.drift.cloned(),
        card: contents.card.clone(),
        vectors: Vec::new(),
    };
    let scorer = Scorer::load(&Bundle::write(parts.clone())?).context("the new bundle does not load")?;
    parts.vectors = vectors(&scorer, contents.now, contents.seed)?;
    let bytes = Bundle::write(parts)?;
    Scorer::load(&bytes)?.prove().context("the new bundle does not prove itself")?;
    Ok(bytes)
}

/// Writes a bundle again of which something was changed, with members by which it proves itself anew; `from` is the file that it
/// was read from, and `fails` what is wrong if these members cannot be scored.
///
/// # Errors
/// When the parts do not fit each other, or the new bundle does not prove itself.
pub fn renew(mut parts: BundleParts, from: &Path, fails: &'static str) -> anyhow::Result<Vec<u8>> {
    let Some(now) = parts.vectors.first().map(|vector| vector.now) else {
        bail!(
            "{} has no made-up members, which say at what moment to try the model; write it again with `tiercast train`",
            from.display()
        );
    };
    parts.vectors.clear();
    let scorer =
        Scorer::load(&Bundle::write(parts.clone())?).context("what was changed does not fit the bundle")?;
    parts.vectors = vectors(&scorer, now, 1).context(fails)?;
    let bytes = Bundle::write(parts)?;
    Scorer::load(&bytes)?.prove().context("the new bundle does not prove itself")?;
    Ok(bytes)
}

/// Made-up members and what the scorer gives for them.
///
/// # Errors
/// When the scorer refuses one.
pub fn vectors(scorer: &Scorer, now: Timestamp, seed: u64) -> anyhow::Result<Vec<Vector>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let shop = Shop::new(scorer.bundle().schema().spec(), scorer.catalogue());
    (0..VECTORS)
        .map(|at| {
            let (name, events) = shop.member(at, now, &mut rng);
            let mut state = scorer.bundle().new_member();
            scorer.bundle().observe(&mut state, &events)?;
            let assessment = scorer.assess(&state, now)?;
            Ok(Vector {
                events,
                now,
                features: assessment.features.iter().map(|x| format!("{:08x}", x.to_bits())).collect(),
                probabilities: assessment.probabilities,
                tier: assessment.tier,
                profile: profile(scorer, &state, now)?,
                recommendations: match scorer.catalogue() {
                    Some(_) => scorer.recommend(&state, now, &RecommendOptions::default())?,
                    None => Vec::new(),
                },
                decisions: scorer.decisions(&state, now, &name)?,
                risk: scorer.told_risk(&state, now)?,
                name,
                // A member whose history is not whole has none.
                points: scorer.points(&state, now, &[], None).ok(),
            })
        })
        .collect()
}

/// The numbers of a member's profile; none where the bundle has no profiles.
fn profile(scorer: &Scorer, state: &MemberState, now: Timestamp) -> anyhow::Result<Vec<f32>> {
    if scorer.profile_spec().is_none() {
        return Ok(Vec::new());
    }
    let found = scorer.profile(state, now)?;
    Ok([found.embedding, vec![found.churn, found.next_purchase]].concat())
}

/// The words that a schema's features look for, so that made-up events move them.
struct Shop {
    kinds: Vec<String>,
    categories: Vec<String>,
    channels: Vec<String>,
    items: Vec<String>,
    /// Whether a feature asks where events came from.
    origins: bool,
    exponent: u32,
    capacity: usize,
}

impl Shop {
    fn new(spec: &FeatureSpec, catalogue: Option<&Catalogue>) -> Self {
        let mut kinds: Vec<String> = ["purchase", "return"].map(String::from).to_vec();
        let named = spec.features.iter().flat_map(|decl| &decl.events).filter(|kind| *kind != "*");
        kinds.extend(named.cloned());
        kinds.extend(spec.events.custom_kinds.iter().cloned());
        kinds.sort();
        kinds.dedup();
        let values = |of| {
            let declared = spec.features.iter().filter(|decl| decl.of == Some(of));
            let mut values: Vec<String> = declared.filter_map(|decl| decl.value.clone()).collect();
            values.push("other".into());
            values
        };
        Self {
            kinds,
            categories: values(Of::Category),
            channels: values(Of::Channel),
            items: match catalogue {
                Some(catalogue) => catalogue.items.iter().take(30).map(|item| item.id.clone()).collect(),
                None => (0..30).map(|at| format!("item {at}")).collect(),
            },
            origins: spec.features.iter().any(asks_where),
            exponent: u32::from(spec.events.currency.exponent),
            capacity: spec.capacity as usize,
        }
    }

    fn member(&self, at: usize, now: Timestamp, rng: &mut StdRng) -> (String, Vec<EventInput<'static>>) {
        let (name, events, money) = [
            ("no events", 0, 0),
            ("one purchase", 1, 20),
            ("rare and small", 4, 10),
            ("now and then", 20, 20),
            ("regular", 60, 25),
            ("often and large", 120, 60),
            ("one very large", 2, 100_000),
            ("out of order and twice", 40, 30),
        ][at % VECTORS];
        let events = events.min(self.capacity / 2);
        let mut events: Vec<_> = (0..events).map(|i| self.event(i, now, money, rng)).collect();
        if at == VECTORS - 1 {
            events.reverse();
            events.extend_from_within(..events.len() / 4);
        } else {
            events.sort_by_key(|event| match event.time {
                Scalar::Int(ms) => ms,
                _ => 0,
            });
        }
        (name.into(), events)
    }

    /// Mostly purchases; about one event in five is of another kind.
    fn event(&self, i: usize, now: Timestamp, money: i64, rng: &mut StdRng) -> EventInput<'static> {
        let pick = |words: &[String], rng: &mut StdRng| words[rng.random_range(0..words.len())].clone();
        let kind = if i == 0 || rng.random_bool(0.8) { "purchase".into() } else { pick(&self.kinds, rng) };
        let age = rng.random_range(1..HISTORY * DAY_MS / 1000) * 1000;
        let mut event = EventInput::new(kind, Scalar::Int((now.ms() - age).max(0)));
        let scale = 10_i64.pow(self.exponent);
        event.id = Some(format!("event {i}").into());
        event.amount_minor = Some(Scalar::Int(rng.random_range(1..=2 * money * scale)));
        event.discount_minor =
            rng.random_bool(0.3).then(|| Scalar::Int(rng.random_range(0..=money * scale / 4)));
        event.quantity = Some(f64::from(rng.random_range(1_u32..5)));
        event.item = Some(pick(&self.items, rng).into());
        event.category = Some(pick(&self.categories, rng).into());
        event.channel = Some(pick(&self.channels, rng).into());
        event.order = Some(format!("order {}", i / 3).into());
        if self.origins {
            come_from(&mut event, rng);
        }
        event
    }
}

fn asks_where(decl: &FeatureDecl) -> bool {
    let name = matches!(decl.of, Some(Of::Device | Of::Card | Of::Address | Of::Network | Of::DeviceMembers));
    name || decl.op == Op::Speed
}

fn come_from(event: &mut EventInput<'_>, rng: &mut StdRng) {
    let one_of = |what: &str, rng: &mut StdRng| Some(format!("{what} {}", rng.random_range(0..3)).into());
    event.device = one_of("device", rng);
    event.card = one_of("card", rng);
    event.address = one_of("address", rng);
    event.ip = Some(format!("203.0.{}.7", rng.random_range(0..4)).into());
    event.latitude = Some(f64::from(rng.random_range(-9..=9)) * 10.0);
    event.longitude = Some(f64::from(rng.random_range(-18..=18)) * 10.0);
    event.device_members = Some(f64::from(rng.random_range(1_u8..5)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        export,
        fixtures::ladder,
        models::{Kind, Model, fit},
    };
    use tiercast_core::{Column, FeatureSchema, Period, Step, Tier};

    fn contents_and(check: impl Fn(&Contents<'_>)) {
        let spec: FeatureSpec = serde_json::from_str(
            r#"{"events":{"currency":{"code":"USD","exponent":2},"customKinds":["stamp"],"custom_kinds":["stamp"]},
                "capacity":256,"features":[
                {"name":"recency","op":"recency"},
                {"name":"spend","op":"sum","of":"amount","window":"91d"}]}"#
                .replace(r#""customKinds":["stamp"],"#, "")
                .as_str(),
        )
        .unwrap();
        let column = |name: &str, source| Column {
            name: name.into(),
            source,
            steps: vec![Step::Impute(0.0), Step::Standardize { mean: 10.0, std: 30.0 }],
        };
        let transform = Transform { columns: vec![column("recency", 0), column("spend", 1)] };
        let tier = |name: &str, at_least| Tier { name: name.into(), at_least };
        let rules = TierRules {
            tiers: vec![tier("A", 0), tier("B", 5000), tier("C", 20_000)],
            period: Period::Quarter,
        };
        let Model::Network(network) = fit(Kind::Logistic, 3, &ladder(200, 3), 1).unwrap().model else {
            panic!("not a network")
        };
        assert_eq!(FeatureSchema::compile(spec.clone()).unwrap().len(), 2);
        let onnx = export::onnx("logistic", &network, &[]);
        check(&Contents {
            name: "test shop",
            spec: &spec,
            transform: &transform,
            rules: &rules,
            model: "logistic",
            onnx: &onnx,
            engine: EngineKind::Plan,
            weights: Weights::F32,
            decode: Decode::Median,
            cuts: &[],
            typical: &[20.0, 100.0],
            profile: None,
            recommend: None,
            policies: &Policies::default(),
            points: None,
            drift: None,
            card: serde_json::json!({"summary": "a test"}),
            now: Timestamp::parse("2017-10-01").unwrap(),
            seed: 7,
        });
    }

    #[test]
    fn a_bundle_proves_itself_and_is_the_same_each_time() {
        contents_and(|contents| {
            let bytes = write(contents).unwrap();
            assert_eq!(bytes, write(contents).unwrap());
            let scorer = Scorer::load(&bytes).unwrap();
            assert_eq!(scorer.prove().unwrap(), VECTORS);
            assert!(scorer.bundle().vectors().unwrap().iter().any(|vector| vector.features[0] == "7fc00000"));
            assert_eq!(scorer.bundle().manifest().model, "logistic");
        });
    }

    #[test]
    fn points_travel_in_a_bundle() {
        let rules = |tiers: &str| -> PointsRules {
            let rules = r#"{"points":1,"per":100,"tiers":TIERS,"expires":"200d","redeem_points":100,"redeem_minor":100,
                "bonuses":[{"name":"stamp","kind":"stamp","points":5}]}"#;
            serde_json::from_str(&rules.replace("TIERS", tiers)).unwrap()
        };
        contents_and(|contents| {
            let (points, without) = (rules("[100,150,200]"), write(contents).unwrap());
            let scorer =
                Scorer::load(&write(&Contents { points: Some(&points), ..contents.clone() }).unwrap())
                    .unwrap();
            assert_eq!(scorer.bundle().points(), Some(&points));
            let vectors = scorer.bundle().vectors().unwrap();
            let found = vectors.iter().filter_map(|vector| vector.points.as_ref());
            assert!(found.clone().count() == VECTORS && found.clone().any(|points| points.expired > 0));
            assert!(scorer.bundle().json("manifest").contains(r#""points":{"points":1,"perMinor":100,"#));
            let mut event = EventInput::new("purchase", Scalar::Int(0));
            event.amount_minor = Some(Scalar::Int(250));
            assert_eq!(scorer.earn(&event, 3, 0).unwrap().points, 5);
            assert_eq!(scorer.earn(&event, 4, 0).unwrap_err().code(), "invalid_input");
            let scorer = Scorer::load(&without).unwrap();
            assert!(scorer.bundle().points().is_none());
            assert_eq!(scorer.earn(&event, 1, 0).unwrap_err().code(), "invalid_input");
            let error = write(&Contents { points: Some(&rules("[100]")), ..contents.clone() }).unwrap_err();
            assert!(format!("{error:#}").contains("points.tiers"), "{error:#}");
        });
    }

    #[test]
    fn points_that_differ_disprove_a_bundle() {
        contents_and(|contents| {
            let rules = r#"{"points":1,"per":100,"tiers":[100,100,100],"redeem_points":1,"redeem_minor":1}"#;
            let points: PointsRules = serde_json::from_str(rules).unwrap();
            let bytes = write(&Contents { points: Some(&points), ..contents.clone() }).unwrap();
            let old = Scorer::load(&bytes).unwrap();
            let mut vectors = old.bundle().vectors().unwrap();
            vectors[1].points.as_mut().unwrap().balance += 1;
            let parts = BundleParts { vectors, ..Bundle::parts(&bytes).unwrap() };
            let error = Scorer::load(&Bundle::write(parts).unwrap()).unwrap().prove().unwrap_err();
            assert!(error.message().contains("the points are others"), "{error}");
        });
    }

    #[test]
    fn a_model_of_another_width_is_refused() {
        contents_and(|contents| {
            let wide = Transform {
                columns: [contents.transform.columns.clone(), contents.transform.columns.clone()].concat(),
            };
            let error = write(&Contents { transform: &wide, ..contents.clone() }).unwrap_err();
            assert!(format!("{error:#}").contains("invalid_model"), "{error:#}");
        });
    }
}
