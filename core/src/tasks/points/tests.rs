use alloc::{format, string::String, vec, vec::Vec};

use super::*;
use crate::{
    Event, EventInput, EventRules, FeatureSchema, MemberState, Period, Scalar, Tier, TierRules, Timestamp,
    event::short_hash, money::MAX_MINOR, time::DAY_MS, wire,
};

fn events() -> EventRules {
    serde_json::from_str(r#"{"currency":{"code":"USD","exponent":2},"custom_kinds":["stamp"]}"#).unwrap()
}

/// A point a dollar, half as much again in tier 2, twice on drinks in December; 500 for a review, 20 for a stamp.
fn rules() -> PointsRules {
    let rules = r#"{"points":1,"per":100,"tiers":[100,150],"redeem_points":100,"redeem_minor":99,"min_redeem":50,
        "expires":"10d","breakage_percent":10,"bonuses":[
        {"name":"drinks","category":"drinks","from":"2024-12-01","to":"2025-01-01","percent":100},
        {"name":"review","kind":"review","points":500},
        {"name":"stamp","kind":"stamp","channel":"app","points":20}]}"#;
    let rules: PointsRules = serde_json::from_str(rules).unwrap();
    rules.check(2, &events()).unwrap();
    rules
}

fn tiers() -> TierRules {
    let tier = |name: &str, at_least| Tier { name: name.into(), at_least };
    TierRules { tiers: vec![tier("A", 0), tier("B", 100_000)], period: Period::Month }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn event(kind: &'static str, time: &str, minor: i64) -> Event {
    let mut event = EventInput::new(kind, Scalar::Text(String::from(time).into()));
    event.amount_minor = Some(Scalar::Int(minor));
    event.category = Some("drinks".into());
    event.channel = Some("app".into());
    event.validate(&events()).unwrap()
}

fn member(capacity: u32, events: &[Event]) -> MemberState {
    let spec = format!(
        r#"{{"events":{{"currency":{{"code":"USD","exponent":2}},"custom_kinds":["stamp"]}},"capacity":{capacity},
            "features":[{{"name":"recency","op":"recency"}}]}}"#
    );
    let schema = FeatureSchema::compile(serde_json::from_str(&spec).unwrap()).unwrap();
    let mut state = MemberState::new(&schema);
    for event in events {
        state.observe(*event);
    }
    state
}

fn statement(events: &[Event], redemptions: &[PointsAt], now: &str) -> Statement {
    rules().statement(&tiers(), &member(64, events), redemptions, None, at(now)).unwrap()
}

fn redeemed(time: &str, points: u64) -> PointsAt {
    PointsAt { at: at(time), points }
}

#[test]
fn what_an_event_earns_is_rounded_down_once() {
    let earn = |kind, time, minor, tier| {
        let Earned { points, base, bonus, capped } = rules().earn(&event(kind, time, minor), tier, 0);
        assert_eq!(points, base + bonus - capped as i64);
        (points, base, bonus)
    };
    assert_eq!(earn("purchase", "2024-11-30", 199, 1), (1, 1, 0));
    assert_eq!(earn("purchase", "2024-11-30", 199, 2), (2, 1, 1), "2.985, not 1.5 times 1");
    assert_eq!(earn("purchase", "2024-12-01", 199, 2), (4, 1, 3), "percentages add: 250, not 300");
    assert_eq!(earn("purchase", "2025-01-01", 199, 2), (2, 1, 1), "`to` is the first moment without it");
    assert_eq!(earn("return", "2024-12-01", 199, 2), (-4, -1, -3));
    assert_eq!(earn("review", "2024-12-01", 199, 2), (500, 0, 500));
    assert_eq!(earn("stamp", "2024-12-01", 0, 1), (20, 0, 20));
    assert_eq!(earn("view", "2024-12-01", 199, 1), (0, 0, 0));
    let elsewhere = Event { channel: short_hash("store"), ..event("stamp", "2024-12-01", 0) };
    assert_eq!(rules().earn(&elsewhere, 1, 0).points, 0);
    let other = Event { category: 0, ..event("purchase", "2024-12-01", 199) };
    assert_eq!(rules().earn(&other, 1, 0).points, 1);
    assert_eq!(earn("purchase", "2024-11-30", 199, 0), earn("purchase", "2024-11-30", 199, 1));
    assert_eq!(earn("purchase", "2024-11-30", 199, 9), earn("purchase", "2024-11-30", 199, 2));
}

#[test]
fn caps_hold_for_what_is_earned_and_not_for_what_is_taken_back() {
    let rules = PointsRules { cap_per_event: Some(30), cap_per_day: Some(50), ..rules() };
    let earn = |kind, today| {
        let earned = rules.earn(&event(kind, "2024-11-30", 10_000), 1, today);
        (earned.points, earned.capped)
    };
    assert_eq!(earn("purchase", 0), (30, 70));
    assert_eq!(earn("purchase", 30), (20, 80));
    assert_eq!(earn("purchase", 60), (0, 100));
    assert_eq!(earn("review", 45), (5, 495));
    assert_eq!(earn("return", 50), (-100, 0));
}

#[test]
fn the_largest_rules_do_not_overflow() {
    let bonus = |i| Bonus { name: format!("{i}"), percent: 2500, ..Bonus::default() };
    let review = Bonus { kind: Some("review".into()), percent: 0, points: 1_000_000_000, ..bonus(0) };
    let largest = PointsRules {
        points: 1000,
        per: 1,
        tiers: vec![20_000; 2],
        bonuses: (0..MAX_BONUSES).map(bonus).collect(),
        redeem_points: 1_000_000,
        redeem_minor: 1_000_000_000,
        breakage_percent: 0,
        ..rules()
    };
    largest.check(2, &events()).unwrap();
    let points = i128::from(MAX_MINOR) * 1000 * 100_000 / 100;
    for (kind, sign) in [("purchase", 1), ("return", -1)] {
        let earned = largest.earn(&event(kind, "2024-11-30", MAX_MINOR), 2, u64::MAX);
        assert_eq!(i128::from(earned.points), sign * points);
        assert_eq!(i128::from(earned.base), sign * i128::from(MAX_MINOR) * 1000);
    }
    assert_eq!(largest.value_minor(MAX_POINTS), MAX_POINTS * 1000);
    assert_eq!(largest.liability_minor(MAX_POINTS), MAX_POINTS * 1000);
    let odd =
        PointsRules { redeem_points: 999_983, redeem_minor: 999_983_000 - 1, breakage_percent: 1, ..largest };
    let exact = |percent: u128| u128::from(MAX_POINTS) * 999_982_999 * percent / (999_983 * 100);
    assert_eq!(u128::from(odd.value_minor(MAX_POINTS)), exact(100));
    assert_eq!(u128::from(odd.liability_minor(MAX_POINTS)), exact(99));
    let many = PointsRules { bonuses: vec![review; MAX_BONUSES], ..odd };
    many.check(2, &events()).unwrap();
    assert_eq!(many.earn(&event("review", "2024-11-30", 0), 1, 0).points, 32_000_000_000);
    let state = member(64, &[event("purchase", "2024-11-30", MAX_MINOR)]);
    let error = many.statement(&tiers(), &state, &[], None, at("2024-12-01")).unwrap_err();
    assert!(error.message().contains("cap it"), "{error}");
}

#[test]
fn rules_out_of_range_are_refused() {
    type Mistake = (&'static str, &'static str, fn(&mut PointsRules));
    let mistakes: [Mistake; 20] = [
        ("points", "1 to 1000", |r| r.points = 0),
        ("points", "1 to 1000", |r| r.points = 1001),
        ("per", "0 is out of range", |r| r.per = 0),
        ("per", "1 to 1000000000", |r| r.per = 1_000_000_001),
        ("tiers", "1 percentages for 2 tiers", |r| r.tiers.truncate(1)),
        ("tiers.1", "0 to 20000", |r| r.tiers[1] = 20_001),
        ("bonuses", "33 bonuses", |r| r.bonuses = vec![r.bonuses[0].clone(); 33]),
        ("cap_per_day", "0 is out of range", |r| r.cap_per_day = Some(0)),
        ("cap_per_event", "give 1 to 9007199254740", |r| r.cap_per_event = Some(MAX_POINTS + 1)),
        ("min_redeem", "0 to 9007199254740", |r| r.min_redeem = MAX_POINTS + 1),
        ("expires", "whole number of days", |r| r.expires = Some("36h".parse().unwrap())),
        ("redeem_points", "1 to 1000000", |r| (r.redeem_points, r.redeem_minor) = (0, 0)),
        ("redeem_minor", "0 to 100000", |r| r.redeem_minor = 100_001),
        ("breakage_percent", "0 to 100", |r| r.breakage_percent = 101),
        ("bonuses.1", "is not a kind", |r| r.bonuses[1].kind = Some("buy".into())),
        ("bonuses.0", "give `percent`", |r| r.bonuses[0].points = 5),
        ("bonuses.1", "only purchases earn by percentages", |r| r.bonuses[1].percent = 5),
        ("bonuses.0", "takes back what purchases earn", |r| r.bonuses[0].kind = Some("return".into())),
        ("bonuses.0", "ends before it begins", |r| r.bonuses[0].to = r.bonuses[0].from),
        ("bonuses.0", "is empty", |r| r.bonuses[0].category = Some(String::new())),
    ];
    for (path, expected, mistake) in mistakes {
        let mut rules = rules();
        mistake(&mut rules);
        let found = rules.mistakes(2, &events());
        let [(at, message)] = &found[..] else { panic!("{path}: {found:?}") };
        assert_eq!(at, path);
        assert!(message.contains(expected), "{expected}: {message}");
        assert_eq!(rules.check(2, &events()).unwrap_err().code(), "invalid_spec");
    }
    let unknown = r#"{"points":1,"per":100,"tiers":[100],"redeem_points":1,"redeem_minor":1,"expire":"3d"}"#;
    assert!(serde_json::from_str::<PointsRules>(unknown).is_err());
}

#[test]
fn rules_come_back_from_bytes_and_from_text() {
    let rules = rules();
    assert_eq!(wire::from_bytes(&wire::to_bytes(&rules)), Some(rules.clone()));
    let text = serde_json::to_string(&rules).unwrap();
    assert_eq!(serde_json::from_str::<PointsRules>(&text).unwrap(), rules);
}

#[test]
fn those_that_expire_first_are_redeemed_first_and_the_latest_are_taken_back() {
    let day = |day: i64| Timestamp::from_ms(day * DAY_MS + 5).unwrap();
    let lots = |ledger: &Ledger| ledger.expiring().map(|l| (l.at.day(), l.points)).collect::<Vec<_>>();
    let mut ledger = Ledger::new(Some("10d".parse().unwrap()));
    ledger.earn(100, day(0)).unwrap();
    ledger.earn(20, Timestamp::from_ms(DAY_MS - 1).unwrap()).unwrap();
    ledger.earn(30, day(1)).unwrap();
    assert_eq!(lots(&ledger), [(11, 120), (12, 30)], "the points of a day expire together");
    ledger.redeem(50, day(1)).unwrap();
    assert_eq!(ledger.reverse(40, day(1)).unwrap(), 40);
    assert_eq!(lots(&ledger), [(11, 60)]);
    ledger.expire(Timestamp::from_ms(11 * DAY_MS - 1).unwrap()).unwrap();
    assert_eq!(ledger.balance(), 60);
    let error = ledger.redeem(1, day(11)).unwrap_err();
    assert_eq!(error.code(), "invalid_input", "expired points cannot be redeemed");
    assert_eq!(ledger.reverse(7, day(11)).unwrap(), 0);
    let totals = Totals { earned: 150, redeemed: 50, expired: 60, reversed: 40, short: 7 };
    assert_eq!((ledger.totals(), ledger.balance()), (totals, 0));
    assert_eq!(ledger.earn(1, day(10)).unwrap_err().code(), "invalid_input", "time goes on");
    assert_eq!(ledger.earn(MAX_POINTS, day(11)).unwrap_err().code(), "invalid_input");
    assert_eq!(ledger.redeem(0, day(11)).unwrap_err().code(), "invalid_input");
    assert_eq!(ledger.totals(), totals);
}

#[test]
fn points_that_never_expire_are_redeemed_last() {
    let opening = Statement {
        expiring: vec![redeemed("2024-12-05", 30)],
        ..Statement::opening(at("2024-12-01"), 100, 1)
    };
    let mut ledger = Ledger::resume(&opening, None).unwrap();
    ledger.redeem(40, at("2024-12-02")).unwrap();
    assert_eq!((ledger.expiring().count(), ledger.balance()), (0, 60));
    let mut ledger = Ledger::resume(&opening, Some("1d".parse().unwrap())).unwrap();
    ledger.earn(5, at("2024-12-02")).unwrap();
    let lots: Vec<_> = ledger.expiring().collect();
    assert_eq!(lots, [redeemed("2024-12-04", 5), redeemed("2024-12-05", 30)]);
    assert_eq!(ledger.reverse(80, at("2024-12-03")).unwrap(), 80);
    assert_eq!(
        ledger.expiring().collect::<Vec<_>>(),
        [redeemed("2024-12-04", 5), redeemed("2024-12-05", 20)]
    );
}

#[test]
fn the_tier_is_what_the_period_before_has_earned() {
    let bought = |time, minor| Event { category: 0, ..event("purchase", time, minor) };
    let events = [
        bought("2024-11-01", 100_000),
        bought("2024-11-20", 10_000),
        bought("2024-12-31", 10_000),
        bought("2025-01-01", 10_000),
        bought("2025-03-01", 10_000),
    ];
    let earned = |now| (statement(&events, &[], now).tier, statement(&events, &[], now).earned);
    assert_eq!(earned("2024-11-30"), (1, 1100), "in the month itself nothing changes");
    assert_eq!(earned("2024-12-31"), (2, 1250));
    assert_eq!(earned("2025-01-31"), (1, 1350));
    assert_eq!(earned("2025-03-01"), (1, 1450));
}

#[test]
fn a_return_finds_what_was_earned_at_the_same_moment() {
    // Their identities put the return first in canonical order.
    let purchase = Event { id: 2, ..event("purchase", "2024-11-20", 5000) };
    let back = Event { id: 1, ..event("return", "2024-11-20", 5000) };
    let found = statement(&[purchase, back], &[], "2024-11-21");
    assert_eq!((found.earned, found.reversed, found.short, found.balance), (50, 50, 0, 0));
    let late = Event { time: at("2024-11-19"), ..back };
    let found = statement(&[purchase, late], &[], "2024-11-21");
    assert_eq!((found.earned, found.reversed, found.short, found.balance), (50, 0, 50, 50));
}

#[test]
fn a_statement_says_all() {
    let events = [event("purchase", "2024-11-01", 20_000), event("purchase", "2024-11-20", 9_900)];
    let spent = [redeemed("2024-11-21", 30), redeemed("2024-11-05", 60)];
    let found = statement(&events, &spent, "2024-11-20T12:00:00Z");
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<Statement>(&json).unwrap(), found);
    assert_eq!(
        found,
        Statement {
            at: at("2024-11-20T12:00:00Z"),
            balance: 99,
            earned: 299,
            redeemed: 60,
            expired: 140,
            reversed: 0,
            short: 0,
            expiring: vec![redeemed("2024-12-01", 99)],
            value_minor: 98,
            redeemable: 99,
            liability_minor: 88,
            breakage: 700,
            tier: 1,
            spend_minor: 29_900,
            earned_today: 99,
        }
    );
    assert_eq!(statement(&events, &[], "2024-11-30").redeemable, 99);
    assert_eq!(statement(&events, &[], "2024-11-01").earned_today, 200);
    assert_eq!(statement(&events, &[], "2024-11-02").earned_today, 0);
    assert_eq!(statement(&events, &spent, "2024-11-22").redeemable, 69);
    assert_eq!(statement(&events, &[redeemed("2024-11-21", 50)], "2024-11-22").redeemable, 0);
}

#[test]
fn a_forgotten_event_needs_an_opening_after_it() {
    let bought: Vec<Event> =
        (1..=20).map(|day| event("purchase", &format!("2024-11-{day:02}"), 1000 * day)).collect();
    let (state, whole) = (member(16, &bought), member(64, &bought));
    let of = |state: &MemberState, opening: Option<&Statement>, now: &str| {
        rules().statement(&tiers(), state, &[], opening, at(now))
    };
    assert_eq!(of(&state, None, "2024-11-30").unwrap_err().code(), "too_late");
    let early = of(&whole, None, "2024-11-03T23:00:00Z").unwrap();
    assert_eq!(of(&state, Some(&early), "2024-11-30").unwrap_err().code(), "too_late");
    let opening = of(&whole, None, "2024-11-04").unwrap();
    for now in ["2024-11-04", "2024-11-04T01:00:00Z", "2024-11-16", "2024-12-02"] {
        assert_eq!(of(&state, Some(&opening), now), of(&whole, None, now), "{now}");
    }
    assert_eq!(of(&state, Some(&opening), "2024-11-03").unwrap_err().code(), "invalid_input");
    let wrong: [fn(&mut Statement); 5] = [
        |s| s.balance += 1,
        |s| s.tier = 3,
        |s| s.expiring[0].points += 1000,
        |s| s.expiring.reverse(),
        |s| s.expired = u64::MAX,
    ];
    for change in wrong {
        let mut opening = opening.clone();
        change(&mut opening);
        assert_eq!(of(&state, Some(&opening), "2024-11-30").unwrap_err().code(), "invalid_input");
    }
    let moved = Statement::opening(at("2024-11-10"), 77, 2);
    let found = of(&state, Some(&moved), "2024-11-11").unwrap();
    assert_eq!((found.balance, found.earned), (77 + 165, 77 + 165), "11 days of November in tier 2");
}

#[test]
fn more_than_there_was_was_not_redeemed() {
    let state = member(64, &[event("purchase", "2024-11-10", 10_000)]);
    let of = |redemptions: &[PointsAt], now| rules().statement(&tiers(), &state, redemptions, None, at(now));
    let early = [redeemed("2024-11-09", 10)];
    assert_eq!(of(&early, "2024-11-11").unwrap_err().code(), "invalid_input");
    assert_eq!(of(&early, "2024-11-08").unwrap().redeemed, 0, "after the moment asked about");
    assert_eq!(of(&[redeemed("2024-11-10", 100)], "2024-11-10").unwrap().redeemed, 100);
    assert_eq!(of(&[redeemed("2024-11-21", 1)], "2024-11-21").unwrap_err().code(), "invalid_input");
}

#[test]
fn breakage_is_a_share_of_what_ended() {
    for (expired, redeemed, share) in
        [(0, 0, 0), (1, 2, 333), (5, 0, 1000), (u64::MAX, u64::MAX, 1000), (1 << 60, 1 << 60, 500)]
    {
        assert_eq!(breakage(expired, redeemed), share, "{expired} {redeemed}");
    }
}

#[test]
fn options_are_objects_of_known_fields() {
    let lot = r#"{"at":5,"points":7}"#;
    let good =
        PointsOptions::from_json(format!(r#"{{"redemptions":[{lot}],"opening":null}}"#).as_bytes()).unwrap();
    assert_eq!(
        good,
        PointsOptions { redemptions: vec![PointsAt { at: moment(5), points: 7 }], opening: None }
    );
    assert_eq!(PointsOptions::from_json(b"{}").unwrap(), PointsOptions::default());
    let opening = Statement { expiring: good.redemptions.clone(), ..Statement::opening(moment(9), 7, 2) };
    let json = serde_json::to_string(&opening).unwrap();
    let read = |opening: &str| PointsOptions::from_json(format!(r#"{{"opening":{opening}}}"#).as_bytes());
    assert_eq!(read(&json).unwrap().opening, Some(opening));
    for wrong in [
        "",
        "[]",
        "null",
        r#"{"redemption":[]}"#,
        r#"{"redemptions":[[5,7]]}"#,
        r#"{"opening":[9]}"#,
        r#"{"redemptions":[{"at":5,"points":7,"of":1}]}"#,
        r#"{"redemptions":[{"at":5,"points":-7}]}"#,
    ] {
        assert_eq!(
            PointsOptions::from_json(wrong.as_bytes()).unwrap_err().code(),
            "invalid_input",
            "{wrong}"
        );
    }
    assert_eq!(read(&json.replace(lot, "[5,7]")).unwrap_err().code(), "invalid_input");
    let earn = |json: &str| EarnOptions::from_json(json.as_bytes()).map_err(|error| error.code());
    assert_eq!(earn(r#"{"tier":2}"#), Ok(EarnOptions { tier: 2, earned_today: 0 }));
    assert_eq!(earn(r#"{"tier":2,"earnedToday":9}"#), Ok(EarnOptions { tier: 2, earned_today: 9 }));
    for wrong in ["{}", "[2,9]", r#"{"tier":300}"#, r#"{"tier":1,"today":9}"#] {
        assert_eq!(earn(wrong), Err("invalid_input"), "{wrong}");
    }
}

fn moment(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms).unwrap()
}
