//! The members of the vectors: seeded ones that look like a shop's, and corners that a shop meets once a year.

use anyhow::Result;
use serde_json::{Value, json};
use tiercast_core::{Bundle, EventInput, FeatureSchema, MemberState};

/// The moment at which most cases are assessed: 2017-11-15T12:00:00Z.
pub const NOW: i64 = 1_510_747_200_000;

const DAY: i64 = 86_400_000;

/// A member without its expected outcome.
#[derive(Clone, Debug)]
pub struct Member {
    /// What the case is about.
    pub name: String,
    /// The state it starts from, if it has one.
    pub snapshot: Option<Vec<u8>>,
    /// Events as they are sent.
    pub events: Vec<Value>,
    /// The moment of the assessment.
    pub now: i64,
}

/// All members of the vectors, always the same for a bundle.
///
/// # Errors
/// When the bundle does not take the events that it should.
pub fn all(bundle: &Bundle) -> Result<Vec<Member>> {
    let mut members: Vec<Member> = (0..20).map(seeded).collect();
    members.extend(corners());
    members.extend(mistakes());
    members.extend(continued(bundle)?);
    Ok(members)
}

/// Members whose first events another runtime saved, and states that no runtime may take.
fn continued(bundle: &Bundle) -> Result<Vec<Member>> {
    let saved = |member: &Member, schema: &FeatureSchema, count: usize| -> Result<Vec<u8>> {
        let texts: Vec<String> = member.events.iter().take(count).map(Value::to_string).collect();
        let inputs = texts.iter().map(|text| EventInput::from_json(text.as_bytes()));
        let mut state = MemberState::new(schema);
        bundle.observe(&mut state, &inputs.collect::<Result<Vec<_>, _>>()?)?;
        Ok(state.snapshot())
    };
    let schema = bundle.schema();
    let mut members = Vec::new();
    for seed in [1, 3, 4] {
        let member = seeded(seed);
        let half = member.events.len() / 2;
        let snapshot = Some(saved(&member, schema, half)?);
        let name = format!("continued, {}", member.name);
        members.push(Member { name, snapshot, events: member.events[half..].to_vec(), now: member.now });
    }
    let member = seeded(1);
    let whole = saved(&member, schema, 12)?;
    let mut foreign = schema.spec().clone();
    foreign.events.currency.code = "EUR".into();
    let mut bad = |name: &str, snapshot: Vec<u8>| {
        members.push(Member { name: name.into(), snapshot: Some(snapshot), events: vec![], now: NOW });
    };
    let changed = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        bytes
    };
    bad("an empty state", vec![]);
    bad("a state cut off", whole[..whole.len() / 2].to_vec());
    bad("a state with a changed byte", changed(40, whole[40] ^ 1));
    bad("something else", b"{\"events\":[]}".to_vec());
    bad("a state of the future", changed(3, 9));
    bad("a state of another currency", saved(&member, &FeatureSchema::compile(foreign)?, 12)?);
    Ok(members)
}

/// A seeded member whose events come in any order, some of them twice.
pub fn seeded(seed: u64) -> Member {
    let mut random = Random(seed);
    let count = [3, 12, 40, 120, 300][seed as usize % 5];
    let mut origins = Random(!seed);
    let mut events: Vec<Value> = (0..count).map(|i| event(&mut random, i)).collect();
    events.iter_mut().for_each(|event| come_from(event, &mut origins));
    for _ in 0..count / 10 {
        let again = events[random.below(count) as usize].clone();
        events.push(again);
    }
    Member {
        snapshot: None,
        name: format!("seeded {seed}, {count} events"),
        events,
        now: NOW - (seed as i64 % 7) * DAY * 13,
    }
}

fn event(random: &mut Random, i: u64) -> Value {
    let kinds = ["purchase", "purchase", "purchase", "purchase", "return", "view", "coupon", "stamp"];
    let kind = kinds[random.below(8) as usize];
    let category = ["GROCERY", "DRUG GM", "PRODUCE", "花"][random.below(4) as usize];
    let channel = ["store", "web"][random.below(2) as usize];
    let mut event = json!({
        "id": format!("e{i}"),
        "kind": kind,
        "time": NOW - random.below(400 * 86_400) as i64 * 1000,
        "item": format!("item {}", random.below(50)),
        "category": category,
        "channel": channel,
        "order": format!("order {}", random.below(60)),
    });
    if kind != "view" {
        let cents = random.below(20_000);
        event["amount"] = match i % 3 {
            0 => json!(format!("{}.{:02}", cents / 100, cents % 100)),
            1 => json!(cents as f64 / 100.0),
            _ => json!(cents / 100),
        };
        event["discountMinor"] = json!(random.below(500));
        event["quantity"] = json!(1.0 + random.below(8) as f64 / 4.0);
    }
    event
}

/// Tells where three events of four came from.
fn come_from(event: &mut Value, random: &mut Random) {
    const PLACES: [(f64, f64); 4] = [(52.52, 13.405), (52.49, 13.36), (40.71, -74.006), (-33.87, 151.21)];
    if random.below(4) == 0 {
        return;
    }
    event["device"] = json!(format!("device {}", random.below(3)));
    event["ip"] = match random.below(3) {
        0 => json!(format!("2001:db8:{:x}::7", random.below(3))),
        _ => json!(format!("203.0.{}.{}", random.below(4), random.below(256))),
    };
    if random.below(3) > 0 {
        let (latitude, longitude) = PLACES[random.below(4) as usize];
        (event["latitude"], event["longitude"]) = (json!(latitude), json!(longitude));
    }
    if event["kind"] == "purchase" {
        event["card"] = json!(random.below(3));
        event["address"] = json!(format!("address {}", random.below(3)));
        event["deviceMembers"] = json!(1 + random.below(4));
    }
}

fn corners() -> Vec<Member> {
    let buy = |time: i64, minor: i64| json!({"kind": "purchase", "time": time, "amountMinor": minor, "category": "GROCERY"});
    let case =
        |name: &str, events: Vec<Value>| Member { snapshot: None, name: name.into(), events, now: NOW };
    let quarter = 1_506_816_000_000; // 2017-10-01
    vec![
        case("no events", vec![]),
        case("one event at now itself", vec![buy(NOW, 1999)]),
        case(
            "an event one millisecond after now is not seen",
            vec![buy(NOW - DAY, 500), buy(NOW + 1, 99_999)],
        ),
        case(
            "the last millisecond of a quarter and the first of the next",
            vec![buy(quarter - 1, 20_000), buy(quarter, 30_000)],
        ),
        case("exactly on a threshold", vec![buy(NOW - DAY, 25_000)]),
        case("one minor unit below a threshold", vec![buy(NOW - DAY, 24_999)]),
        case("above the highest threshold", vec![buy(NOW - DAY, 9_999_999)]),
        case(
            "a hundred times the largest amount",
            (0..100).map(|i| buy(NOW - DAY - i, 100_000_000_000)).collect(),
        ),
        case("the largest amount", vec![buy(NOW - DAY, 100_000_000_000)]),
        case(
            "returns exceed purchases",
            vec![buy(NOW - 2 * DAY, 1000), json!({"kind": "return", "time": NOW - DAY, "amount": "25.00"})],
        ),
        case("only views", vec![json!({"kind": "view", "time": NOW - DAY, "item": "a"})]),
        case("at 1970", vec![buy(0, 100)]),
        case(
            "a decimal text and a number mean the same",
            vec![
                json!({"kind": "purchase", "time": "2017-11-01", "amount": "0.30"}),
                json!({"kind": "purchase", "time": "2017-11-01T00:00:00Z", "amount": 0.30000000000000004}),
            ],
        ),
        case(
            "the same identity twice counts once",
            vec![
                json!({"id": "a", "kind": "purchase", "time": NOW - DAY, "amountMinor": 700}),
                json!({"id": "a", "kind": "purchase", "time": NOW - DAY, "amountMinor": 900}),
            ],
        ),
        case("the same line without identity counts twice", vec![buy(NOW - DAY, 700), buy(NOW - DAY, 700)]),
        case(
            "more than the capacity, oldest first",
            (0..300).map(|i| buy(NOW - (300 - i) * DAY / 2, 100 + i)).collect(),
        ),
        case(
            "a zero amount and a zero quantity",
            vec![json!({"kind": "purchase", "time": NOW - DAY, "amount": 0, "quantity": 0})],
        ),
    ]
}

fn mistakes() -> Vec<Member> {
    let case = |name: &str, event: Value| Member {
        snapshot: None,
        name: name.into(),
        events: vec![event],
        now: NOW,
    };
    let mut members = vec![
        case("not an object", json!("purchase")),
        case("fields by position", json!([null, "purchase", NOW])),
        case("no time", json!({"kind": "purchase"})),
        case("a misspelt field", json!({"kind": "purchase", "time": NOW, "amuont": 1})),
        case("a kind of the wrong type", json!({"kind": 7, "time": NOW})),
        case("an item of the wrong type", json!({"kind": "view", "time": NOW, "item": ["a"]})),
        case("an unknown kind", json!({"kind": "buy", "time": NOW})),
        case("a time before 1970", json!({"kind": "purchase", "time": -1})),
        case("a time in the year 292278994", json!({"kind": "purchase", "time": i64::MAX})),
        case("a time that is not whole", json!({"kind": "purchase", "time": 0.5})),
        case("a time in words", json!({"kind": "purchase", "time": "yesterday"})),
        case("a day that does not exist", json!({"kind": "purchase", "time": "2017-02-29"})),
        case("a negative amount", json!({"kind": "purchase", "time": NOW, "amount": -0.01})),
        case("an amount that says NaN", json!({"kind": "purchase", "time": NOW, "amount": "NaN"})),
        case("an amount with too many decimals", json!({"kind": "purchase", "time": NOW, "amount": "1.005"})),
        case("an amount beyond measure", json!({"kind": "purchase", "time": NOW, "amount": 1e300})),
        case(
            "an amount given twice",
            json!({"kind": "purchase", "time": NOW, "amount": 1, "amountMinor": 100}),
        ),
        case("a negative quantity", json!({"kind": "purchase", "time": NOW, "quantity": -1})),
        case("an empty item", json!({"kind": "purchase", "time": NOW, "item": ""})),
        case("an item of 257 bytes", json!({"kind": "purchase", "time": NOW, "item": "x".repeat(257)})),
        case("an empty device", json!({"kind": "login", "time": NOW, "device": ""})),
        case("an IP address that is none", json!({"kind": "login", "time": NOW, "ip": "localhost"})),
        case("half a place", json!({"kind": "login", "time": NOW, "latitude": 1})),
        case("a place off the globe", json!({"kind": "login", "time": NOW, "latitude": 91, "longitude": 0})),
        case("half a member", json!({"kind": "login", "time": NOW, "deviceMembers": 1.5})),
    ];
    let good = json!({"kind": "purchase", "time": NOW});
    members.push(Member {
        snapshot: None,
        name: "an assessment before 1970".into(),
        events: vec![good.clone()],
        now: -5,
    });
    let many = (0..300).map(|i| json!({"kind": "purchase", "time": NOW - i * 1000})).collect();
    members.push(Member {
        snapshot: None,
        name: "older than what was forgotten".into(),
        events: many,
        now: NOW,
    });
    let forward: Vec<Value> =
        (0..300).map(|i| json!({"kind": "purchase", "time": NOW - 400_000 + i * 1000})).collect();
    members.push(Member {
        snapshot: None,
        name: "an assessment at a moment that was forgotten".into(),
        events: forward,
        now: NOW - 399_000,
    });
    members
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same members everywhere, for ever.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}
