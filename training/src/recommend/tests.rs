//! A shop of two tastes, by hand: what is learned of it, and that later purchases change nothing.

use std::{collections::HashSet, fs, path::Path};

use super::*;

/// Members of two tastes, and a member in two who also buys milk every week; 140 days.
fn events() -> String {
    let mut csv = String::from("member,kind,time,item,amount,order\n");
    let start = Timestamp::parse("2024-01-01").unwrap().ms();
    for member in 0..60_u64 {
        for day in (member % 7..140).step_by(7) {
            let luck = crate::models::mix(member << 32 | day);
            let taste = if member % 2 == 0 {
                ["tea", "cake", "jam", "honey"]
            } else {
                ["nail", "screw", "glue", "tape"]
            };
            let mut items = vec![taste[luck as usize % 4], taste[(luck >> 8) as usize % 4]];
            if member % 4 < 2 {
                items.push("milk");
            }
            items.sort_unstable();
            items.dedup();
            let time = Timestamp::from_ms(start + day as i64 * DAY_MS + 36_000_000).unwrap();
            for item in items {
                csv += &format!("m{member:02},purchase,{time},{item},2.50,{member}-{day}\n");
            }
        }
    }
    csv
}

fn project(folder: &Path, events: &str) -> Project {
    fs::write(folder.join("events.csv"), events).unwrap();
    fs::write(folder.join("items.csv"), "item,name\ntea,Green tea\nmilk,Milk\n").unwrap();
    let text = r#"
        [project]
        name = "tastes"
        [currency]
        code = "USD"
        exponent = 2
        [[events]]
        table = "events.csv"
        [events.columns]
        member = "member"
        kind = "kind"
        time = "time"
        item = "item"
        amount = "amount"
        order = "\"order\""
        [tiers]
        names = ["low", "high"]
        period = "month"
        shares = [0.5, 0.5]
        [split]
        train = ["2024-02-01", "2024-03-01"]
        [recommend]
        period = "14d"
        train = ["2024-03-10", "2024-03-24"]
        test = "2024-04-20"
        factors = 16
        [recommend.items]
        table = "items.csv"
        item = "item"
        name = "name"
        [[features]]
        name = "recency"
        op = "recency"
    "#;
    let path = folder.join("tiercast.toml");
    fs::write(&path, text).unwrap();
    Project::load(&path).unwrap()
}

fn rules() -> TierRules {
    let tier = |name: &str, at_least| tiercast_core::Tier { name: name.into(), at_least };
    TierRules { tiers: vec![tier("low", 0), tier("high", 5000)], period: tiercast_core::Period::Month }
}

fn learn(project: &Project, threads: usize) -> Recommended<'_> {
    let bar = indicatif::ProgressBar::hidden();
    train(project, &rules(), &ReadOptions::default(), threads, &bar).unwrap().unwrap()
}

#[test]
fn a_member_is_offered_its_own_taste() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path(), &events());
    let found = learn(&project, 2);
    assert_eq!((found.record.items, found.record.members), (9, 60));
    let names: Vec<(&str, &str)> =
        found.catalogue.items.iter().map(|item| (item.id.as_str(), item.name.as_str())).collect();
    assert!(names.contains(&("tea", "Green tea")) && names.contains(&("jam", "")), "{names:?}");
    let milk = found.catalogue.items.iter().find(|item| item.id == "milk").unwrap();
    assert_eq!((milk.gap, milk.price), (7.0, 250.0));
    assert!((milk.buyers - 0.5).abs() < 0.02 && milk.again == 1.0, "{milk:?}");
    let shelf = Shelf::new(found.catalogue.clone()).unwrap();
    let place = |id: &str| shelf.place(name_hash(id)).unwrap();
    let tastes: [HashSet<u32>; 2] = [["tea", "cake", "jam", "honey"], ["nail", "screw", "glue", "tape"]]
        .map(|taste| taste.map(place).into());
    for (at, state) in found.base.members.iter().enumerate() {
        let near = shelf.nearest(&shelf.affinities(state, found.base.now), 4, |item| item != place("milk"));
        let own = near.iter().filter(|item| tastes[at % 2].contains(item)).count();
        assert_eq!(own, 4, "member {at}: {near:?}");
    }
}

#[test]
fn threads_change_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path(), &events());
    let (one, three) = (learn(&project, 1), learn(&project, 3));
    // NaN is not itself.
    assert_eq!(format!("{:?}", one.catalogue), format!("{:?}", three.catalogue));
    assert!(one.onnx == three.onnx);
    assert_eq!(one.record, three.record);
}

#[test]
fn what_was_bought_after_the_test_began_teaches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let all = events();
    let (before, later): (Vec<&str>, Vec<&str>) =
        all.lines().partition(|line| !line.contains("2024-04-2") && !line.contains("2024-05-"));
    assert!(later.len() > 100, "{}", later.len());
    // Everybody turns to candles when the test has begun.
    let turned: Vec<String> = later
        .iter()
        .map(|line| {
            let mut fields: Vec<&str> = line.split(',').collect();
            fields[3] = "candle";
            fields.join(",")
        })
        .collect();
    let with = |lines: &[String]| [before.join("\n"), lines.join("\n")].join("\n") + "\n";
    let first = project(folder.path(), &with(&turned));
    let one = learn(&first, 2);
    let other = tempfile::tempdir().unwrap();
    let second = project(other.path(), &all);
    let two = learn(&second, 2);
    assert_eq!(format!("{:?}", one.catalogue), format!("{:?}", two.catalogue));
    assert!(one.onnx == two.onnx);
}

#[test]
fn the_latest_orders_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path(), &events());
    let found = learn(&project, 1);
    let state = &found.base.members[0];
    let orders = |state: &MemberState| state.events().map(|event| event.order).collect::<HashSet<_>>().len();
    assert!(latest(&found.schema, state, 0).is_empty());
    for n in [1, 3] {
        let few = latest(&found.schema, state, n);
        assert_eq!(orders(&few), n);
        assert_eq!(few.last_time(), state.last_time());
        let lines = state.events().filter(|event| few.events().any(|kept| kept.order == event.order)).count();
        assert_eq!(lines, few.len());
    }
}

#[test]
fn a_shop_without_two_items_in_common_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let lonely: Vec<String> = events()
        .lines()
        .enumerate()
        .map(|(at, line)| {
            let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
            if at > 0 {
                fields[3] = format!("{}-{}", fields[0], fields[3]);
            }
            fields.join(",")
        })
        .collect();
    let project = project(folder.path(), &(lonely.join("\n") + "\n"));
    let bar = indicatif::ProgressBar::hidden();
    let error = train(&project, &rules(), &ReadOptions::default(), 1, &bar).err().unwrap().to_string();
    assert!(error.contains("nothing to recommend") && error.contains("2024-03-2"), "{error}");
}
