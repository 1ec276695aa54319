//! Properties of points that hold for any rules, events and redemptions.

#![allow(clippy::unwrap_used)] // A test that cannot go on should say where.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use tiercast_core::{
    DAY_MS, Duration, Event, EventInput, EventRules, FeatureSchema, Ledger, MAX_POINTS, MemberState, Period,
    PointsAt, PointsRules, Scalar, Statement, Tier, TierRules, Timestamp, net_spend,
};

/// The moment around which events lie.
const NOW: i64 = 1_510_747_200_000;

fn time(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms).unwrap()
}

fn schema() -> FeatureSchema {
    let events = json!({"currency": {"code": "USD", "exponent": 2}, "custom_kinds": ["stamp"]});
    let features = json!([{"name": "recency", "op": "recency"}]);
    let spec = json!({"events": events, "capacity": 256, "features": features});
    FeatureSchema::compile(serde_json::from_value(spec).unwrap()).unwrap()
}

fn event_rules() -> EventRules {
    schema().spec().events.clone()
}

fn tiers(period: Period) -> TierRules {
    let tier = |(i, at_least): (usize, i64)| Tier { name: format!("{i}"), at_least };
    TierRules { tiers: [0, 100_000, 1_000_000].into_iter().enumerate().map(tier).collect(), period }
}

fn any_period() -> impl Strategy<Value = Period> {
    let days = Period::Days { length: 10, anchor: time(NOW / DAY_MS * DAY_MS) };
    prop::sample::select(vec![Period::Month, Period::Quarter, Period::Year, days])
}

/// Rules of three tiers, some with bonuses, caps and an expiry.
fn any_rules() -> impl Strategy<Value = PointsRules> {
    let cap = |most: u64| prop::option::of(1..most);
    (
        (1_u32..100, prop::sample::select(vec![1_u32, 7, 100, 999, 100_000])),
        prop::array::uniform3(0_u32..400),
        (cap(100_000), cap(300_000), prop::option::of(1_u16..300)),
        (any::<bool>(), any::<bool>(), -100_i64..100, 1_u32..200),
        (1_u32..1000, 0_u32..1000, 0_u64..5000, 0_u8..=100),
    )
        .prop_map(|(rate, tiers, caps, (category, fixed, day, percent), worth)| {
            let mut bonuses = Vec::new();
            if category {
                let from = time(NOW + day * DAY_MS).to_string();
                bonuses.push(json!({"name": "a", "category": "a", "percent": percent, "from": from}));
            }
            if fixed {
                bonuses.push(json!({"name": "view", "kind": "view", "points": percent}));
                bonuses.push(json!({"name": "stamp", "kind": "stamp", "points": 7}));
            }
            let rules = PointsRules {
                points: rate.0,
                per: rate.1,
                tiers: tiers.to_vec(),
                bonuses: serde_json::from_value(json!(bonuses)).unwrap(),
                cap_per_event: caps.0,
                cap_per_day: caps.1,
                expires: caps.2.map(Duration::days),
                redeem_points: worth.0,
                redeem_minor: worth.1,
                min_redeem: worth.2,
                breakage_percent: worth.3,
            };
            rules.check(3, &event_rules()).unwrap();
            rules
        })
}

fn any_event() -> impl Strategy<Value = Event> {
    let kind = prop::sample::select(vec!["purchase", "purchase", "purchase", "return", "view", "stamp"]);
    // Some at the same moment and on the same day.
    let when = prop_oneof![(-40_i64..10).prop_map(|days| days * DAY_MS), -40 * DAY_MS..10 * DAY_MS];
    (kind, when, 0_i64..1_000_000, prop::option::of("[ab]"), prop::option::of("[a-z]{2}")).prop_map(
        |(kind, when, amount, category, id)| {
            let mut event = EventInput::new(kind, Scalar::Int(NOW + when));
            event.amount_minor = Some(Scalar::Int(amount));
            event.category = category.map(Into::into);
            event.id = id.map(Into::into);
            event.validate(&event_rules()).unwrap()
        },
    )
}

fn purchase(minor: i64) -> Event {
    let mut event = EventInput::new("purchase", Scalar::Int(NOW));
    event.amount_minor = Some(Scalar::Int(minor));
    event.category = Some("a".into());
    event.validate(&event_rules()).unwrap()
}

fn member(events: &[Event]) -> MemberState {
    let mut state = MemberState::new(&schema());
    for event in events {
        state.observe(*event);
    }
    state
}

/// Redemptions of shares of the balance at their moments, in order of time.
fn redeemed(
    rules: &PointsRules,
    tiers: &TierRules,
    state: &MemberState,
    asked: &[(i64, u64)],
) -> Vec<PointsAt> {
    let mut asked = asked.to_vec();
    asked.sort_unstable();
    let mut all: Vec<PointsAt> = Vec::new();
    for (when, percent) in asked {
        let at = time(NOW + when);
        let balance = rules.statement(tiers, state, &all, None, at).unwrap().balance;
        let points = balance * percent / 100;
        if points > 0 {
            all.push(PointsAt { at, points });
        }
    }
    all
}

fn any_redemptions() -> impl Strategy<Value = Vec<(i64, u64)>> {
    prop::collection::vec((-40 * DAY_MS..10 * DAY_MS, 1_u64..=100), 0..6)
}

fn holds_together(rules: &PointsRules, statement: &Statement) -> Result<(), TestCaseError> {
    let Statement { earned, redeemed, expired, reversed, balance, .. } = *statement;
    prop_assert_eq!(earned, redeemed + expired + reversed + balance);
    let expiring: u64 = statement.expiring.iter().map(|lot| lot.points).sum();
    prop_assert_eq!(expiring, if rules.expires.is_some() { balance } else { 0 });
    prop_assert!(statement.expiring.iter().all(|lot| lot.at > statement.at && lot.points > 0));
    prop_assert!(statement.expiring.is_sorted_by(|a, b| a.at < b.at));
    let exact = u128::from(balance) * u128::from(rules.redeem_minor) / u128::from(rules.redeem_points);
    prop_assert_eq!(u128::from(statement.value_minor), exact);
    prop_assert!(statement.liability_minor <= statement.value_minor);
    prop_assert!(rules.cap_per_day.is_none_or(|cap| statement.earned_today <= cap));
    Ok(())
}

/// What a ledger may be asked to do.
#[derive(Clone, Debug)]
enum Act {
    Earn(u64),
    Reverse(u64),
    Redeem(u64),
    Expire,
}

fn any_act() -> impl Strategy<Value = (Act, i64)> {
    let points = prop_oneof![4 => 0_u64..1000, 1 => prop::sample::select(vec![MAX_POINTS, MAX_POINTS - 500, u64::MAX])];
    let act = points.prop_flat_map(|points| {
        prop::sample::select(vec![Act::Earn(points), Act::Reverse(points), Act::Redeem(points), Act::Expire])
    });
    // Mostly onwards; what goes back in time is refused.
    (act, prop_oneof![9 => 0..3 * DAY_MS, 1 => -DAY_MS..0])
}

/// A ledger as its documentation defines it: points by the day on which they expire.
#[derive(Default)]
struct Plain(BTreeMap<i64, u64>);

impl Plain {
    fn balance(&self) -> u64 {
        self.0.values().sum()
    }

    fn take(&mut self, mut points: u64, latest: bool) {
        while points > 0 {
            let mut lot = if latest { self.0.last_entry() } else { self.0.first_entry() }.unwrap();
            let taken = points.min(*lot.get());
            *lot.get_mut() -= taken;
            points -= taken;
            if *lot.get() == 0 {
                lot.remove();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn points_are_conserved_whatever_is_done(
        acts in prop::collection::vec(any_act(), 0..80),
        days in prop::option::of(1_u16..20),
    ) {
        let mut ledger = Ledger::new(days.map(Duration::days));
        let (mut plain, mut now) = (Plain::default(), NOW);
        ledger.expire(time(now)).unwrap();
        for (act, step) in acts {
            let at = now + step;
            let before = ledger.clone();
            let outcome = match act {
                Act::Earn(points) => ledger.earn(points, time(at)).map(|()| points),
                Act::Reverse(points) => ledger.reverse(points, time(at)),
                Act::Redeem(points) => ledger.redeem(points, time(at)).map(|()| points),
                Act::Expire => ledger.expire(time(at)).map(|()| 0),
            };
            if step < 0 {
                prop_assert_eq!(outcome.unwrap_err().code(), "invalid_input");
                prop_assert_eq!(&ledger, &before);
                continue;
            }
            now = at;
            plain.0.retain(|day, _| *day > now / DAY_MS);
            let balance = plain.balance();
            match (act, outcome) {
                (Act::Earn(points), Ok(_)) if points > 0 => {
                    let day = days.map_or(i64::MAX, |days| now / DAY_MS + i64::from(days) + 1);
                    *plain.0.entry(day).or_default() += points;
                }
                (Act::Reverse(points), Ok(taken)) => {
                    prop_assert_eq!(taken, points.min(balance));
                    plain.take(taken, true);
                }
                (Act::Redeem(points), Ok(_)) => {
                    prop_assert!(points <= balance);
                    plain.take(points, false);
                }
                (Act::Redeem(points), Err(_)) => prop_assert!(points == 0 || points > balance),
                (Act::Earn(points), Err(_)) => prop_assert!(points > MAX_POINTS - before.totals().earned),
                (Act::Reverse(points), Err(_)) => {
                    prop_assert!(points - balance > MAX_POINTS - before.totals().short);
                }
                _ => {}
            }
            let totals = ledger.totals();
            prop_assert_eq!(
                totals.earned,
                totals.redeemed + totals.expired + totals.reversed + ledger.balance()
            );
            prop_assert_eq!(ledger.balance(), plain.balance());
            let lots: Vec<_> = ledger.expiring().map(|lot| (lot.at.ms() / DAY_MS, lot.points)).collect();
            let expected: Vec<_> = plain.0.iter().filter(|(day, _)| **day < i64::MAX).map(|(d, p)| (*d, *p)).collect();
            prop_assert_eq!(lots, expected);
        }
    }

    #[test]
    fn what_has_expired_cannot_be_redeemed(earned in prop::collection::vec((0_i64..100, 1_u64..1000), 1..20), days in 1_u16..20) {
        let mut ledger = Ledger::new(Some(Duration::days(days)));
        let mut earned = earned;
        earned.sort_unstable();
        for (day, points) in &earned {
            ledger.earn(*points, time(NOW + day * DAY_MS)).unwrap();
        }
        let (last, _) = earned.last().unwrap();
        let whole: u64 = earned.iter().filter(|(day, _)| day == last).map(|(_, points)| points).sum();
        let end = (NOW / DAY_MS + last + i64::from(days) + 1) * DAY_MS;
        let mut before = ledger.clone();
        before.redeem(1, time(end - 1)).unwrap();
        prop_assert_eq!(before.balance(), whole - 1, "those of other days are gone");
        prop_assert_eq!(ledger.redeem(1, time(end)).unwrap_err().code(), "invalid_input");
        prop_assert_eq!(ledger.totals().expired, ledger.totals().earned);
    }

    #[test]
    fn an_event_earns_what_the_formula_says_at_any_size(
        minor in 0_i64..=100_000_000_000,
        (points, per) in (1_u32..=1000, 1_u32..=1_000_000_000),
        (tier, bonus) in (0_u32..=20_000, 1_u32..=2500),
        bonuses in 0_usize..=32,
    ) {
        let bonus = json!({"name": "a", "category": "a", "percent": bonus});
        let rules = json!({"points": points, "per": per, "tiers": [tier, tier, tier], "redeem_points": 1, "redeem_minor": 1,
            "bonuses": vec![bonus.clone(); bonuses]});
        let rules: PointsRules = serde_json::from_value(rules).unwrap();
        rules.check(3, &event_rules()).unwrap();
        let percent = u128::from(tier) + bonuses as u128 * u128::from(bonus["percent"].as_u64().unwrap());
        let exact = minor as u128 * u128::from(points) * percent / (u128::from(per) * 100);
        let event = purchase(minor);
        prop_assert_eq!(rules.earn(&event, 1, 0).points as u128, exact);
        let back = Event { kind: tiercast_core::EventKind::Return, ..event };
        prop_assert_eq!(i128::from(rules.earn(&back, 1, 0).points), -(exact as i128));
    }

    #[test]
    fn more_earns_no_less_and_lines_no_more_than_the_whole(
        rules in any_rules(),
        lines in prop::collection::vec(0_i64..10_000_000, 1..20),
        tier in 1_u8..=3,
        today in 0_u64..400_000,
    ) {
        let free = PointsRules { cap_per_event: None, cap_per_day: None, ..rules.clone() };
        let whole = free.earn(&purchase(lines.iter().sum()), tier, 0).points;
        let parts: i64 = lines.iter().map(|line| free.earn(&purchase(*line), tier, 0).points).sum();
        prop_assert!(parts <= whole);
        prop_assert!(whole < parts + lines.len() as i64, "less than one point is lost with each line");
        let mut rising = lines;
        rising.sort_unstable();
        let earned: Vec<_> = rising.iter().map(|line| rules.earn(&purchase(*line), tier, today)).collect();
        prop_assert!(earned.is_sorted_by_key(|earned| earned.points));
        for earned in earned {
            prop_assert_eq!(earned.points, earned.base + earned.bonus - earned.capped as i64);
            prop_assert!(earned.points >= 0);
            prop_assert!(rules.cap_per_event.is_none_or(|cap| earned.points as u64 <= cap));
            let room = rules.cap_per_day.map(|cap| cap.saturating_sub(today));
            prop_assert!(room.is_none_or(|room| earned.points as u64 <= room));
        }
    }

    #[test]
    fn the_order_of_arrival_never_matters(
        (rules, period) in (any_rules(), any_period()),
        events in prop::collection::vec(any_event(), 0..60),
        asked in any_redemptions(),
        seed in any::<u64>(),
    ) {
        let (tiers, state) = (tiers(period), member(&events));
        let redemptions = redeemed(&rules, &tiers, &state, &asked);
        let of = |events: &[Event], redemptions: &[PointsAt]| {
            rules.statement(&tiers, &member(events), redemptions, None, time(NOW + 20 * DAY_MS)).unwrap()
        };
        let found = of(&events, &redemptions);
        holds_together(&rules, &found)?;
        prop_assert_eq!(found.redeemed, redemptions.iter().map(|redemption| redemption.points).sum::<u64>());
        prop_assert_eq!(found, of(&shuffled(&events, seed), &shuffled(&redemptions, seed)));
    }

    #[test]
    fn what_comes_later_changes_nothing_and_a_statement_goes_on(
        (rules, period) in (any_rules(), any_period()),
        events in prop::collection::vec(any_event(), 0..60),
        asked in any_redemptions(),
        (first, second) in (-45 * DAY_MS..15 * DAY_MS, -45 * DAY_MS..15 * DAY_MS),
    ) {
        let (tiers, state) = (tiers(period), member(&events));
        let redemptions = redeemed(&rules, &tiers, &state, &asked);
        let (first, second) = (time(NOW + first.min(second)), time(NOW + first.max(second)));
        let of = |state: &MemberState, opening: Option<&Statement>, now: Timestamp| {
            rules.statement(&tiers, state, &redemptions, opening, now)
        };
        let known: Vec<Event> = state.events().filter(|event| event.time <= first).copied().collect();
        let opening = of(&state, None, first).unwrap();
        holds_together(&rules, &opening)?;
        prop_assert_eq!(&of(&member(&known), None, first).unwrap(), &opening);
        // With the opening, nothing before it is needed.
        let later: Vec<Event> = state.events().filter(|event| event.time > first).copied().collect();
        let whole = of(&state, None, second).unwrap();
        prop_assert_eq!(&of(&state, Some(&opening), second).unwrap(), &whole);
        prop_assert_eq!(&of(&member(&later), Some(&opening), second).unwrap(), &whole);
    }

    #[test]
    fn the_tier_is_that_of_the_spend_before(
        (rules, period) in (any_rules(), any_period()),
        events in prop::collection::vec(any_event(), 0..60),
        now in -45 * DAY_MS..100 * DAY_MS,
    ) {
        let (tiers, state, now) = (tiers(period), member(&events), time(NOW + now));
        let found = rules.statement(&tiers, &state, &[], None, now).unwrap();
        let known: Vec<Event> = state.events().filter(|event| event.time <= now).copied().collect();
        let spend = |(from, to)| net_spend(&known, from, to);
        prop_assert_eq!(found.tier, tiers.tier_of(spend(period.before(now))));
        prop_assert_eq!(found.spend_minor, spend(period.around(now)));
    }

    #[test]
    fn what_was_forgotten_is_never_guessed(
        rules in any_rules(),
        events in prop::collection::vec(any_event(), 200..400),
        opened in -45 * DAY_MS..10 * DAY_MS,
    ) {
        let (tiers, state) = (tiers(Period::Month), member(&events));
        let opening = Statement::opening(time(NOW + opened), 100, 1);
        let now = time(NOW + 20 * DAY_MS);
        let found = rules.statement(&tiers, &state, &[], Some(&opening), now);
        if state.forgot_since(opening.at.ms() + 1) {
            prop_assert_eq!(found.unwrap_err().code(), "too_late");
        } else {
            prop_assert!(found.unwrap().earned >= 100);
        }
        let alone = rules.statement(&tiers, &state, &[], None, now).map(drop).map_err(|e| e.code());
        prop_assert_eq!(alone, if state.forgot_since(0) { Err("too_late") } else { Ok(()) });
    }
}

fn shuffled<T: Clone>(items: &[T], mut seed: u64) -> Vec<T> {
    let mut items = items.to_vec();
    for i in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(i, (seed >> 33) as usize % (i + 1));
    }
    items
}
