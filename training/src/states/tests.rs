use std::{collections::BTreeMap, fs, path::Path};

use indicatif::ProgressBar;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tiercast_core::{Event, EventKind, FeatureSchema, FeatureSpec, MemberState, Origin, Timestamp};

use super::{store::History, *};
use crate::{
    fixtures::{SMALL, synthetic},
    project::Project,
};

/// A schema that keeps few events of a member.
fn schema(capacity: u32) -> FeatureSchema {
    let project = Project::parse(SMALL, Path::new("tiercast.toml")).unwrap();
    let spec = project.schema().unwrap().spec().clone();
    FeatureSchema::compile(FeatureSpec { capacity, ..spec }).unwrap()
}

/// Events of which some have no identity, some have one twice at other times, and some are equal.
fn events(rng: &mut StdRng, most: usize) -> Vec<Event> {
    let kinds = [EventKind::Purchase, EventKind::Return, EventKind::View, EventKind::Custom(7)];
    let event = |rng: &mut StdRng| Event {
        time: Timestamp::from_ms(rng.random_range(0..40) * 1000).unwrap(),
        id: [0, 0, rng.random_range(1..30), rng.random_range(1..u64::MAX)][rng.random_range(0..4)],
        kind: kinds[rng.random_range(0..4)],
        order: 0,
        item: rng.random_range(0..3),
        category: 0,
        channel: 0,
        quantity: 1000,
        amount: rng.random_range(0..5),
        discount: 0,
        origin: Origin { device: rng.random_range(0..2), ..Origin::default() },
    };
    let mut events: Vec<Event> = (0..rng.random_range(1..=most)).map(|_| event(rng)).collect();
    if rng.random_bool(0.5) {
        let again = events[rng.random_range(0..events.len())];
        events.push(again);
    }
    events
}

#[test]
fn portions_in_any_order_give_what_all_events_give_at_once() {
    let mut rng = StdRng::seed_from_u64(11);
    let mut forgot = 0;
    for round in 0..3000 {
        let schema = schema([1, 3, 8, 50][round % 4]);
        let all = events(&mut rng, 40);
        let whole = History::of(&schema, all.clone());
        forgot += usize::from(!whole.archive.is_empty());

        let mut arrived = all.clone();
        arrived.shuffle(&mut rng);
        let mut found: Option<History> = None;
        while !arrived.is_empty() {
            let portion = arrived.split_off(arrived.len() - rng.random_range(1..=arrived.len()));
            found = Some(match found {
                None => History::of(&schema, portion),
                Some(known) => known.with(&schema, portion).unwrap(),
            });
        }
        assert!(found.as_ref() == Some(&whole), "round {round}: {all:?}");

        // And that is the state of a member who met the events one by one, as they happened.
        let mut state = MemberState::new(&schema);
        let mut sorted = all;
        crate::fold::canonical(&mut sorted);
        for event in &sorted {
            state.observe(*event);
        }
        assert_eq!(whole.state, state.snapshot());
    }
    assert!(forgot > 1000, "{forgot}");
}

#[test]
fn a_damaged_history_says_so() {
    let schema = schema(2);
    let mut rng = StdRng::seed_from_u64(3);
    let mut some = events(&mut rng, 30);
    let first = some[0];
    some.extend((0..9).map(|at| Event { id: 100 + at, ..first }));
    let whole = History::of(&schema, some.clone());
    assert!(!whole.archive.is_empty());
    for damage in [
        History { state: whole.state[1..].to_vec(), ..whole.clone() },
        History { archive: vec![9, 9], ..whole.clone() },
        History { archive: whole.archive[..whole.archive.len() - 1].to_vec(), ..whole.clone() },
    ] {
        damage.with(&schema, some.clone()).unwrap_err();
    }
}

/// A shop of synthetic members whose events come in a folder of files, split by a rule.
struct Shop {
    folder: tempfile::TempDir,
}

impl Shop {
    fn new(members: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        synthetic(folder.path(), members);
        let text = fs::read_to_string(folder.path().join("tiercast.toml")).unwrap();
        let text = text
            .replace("table = \"events.parquet\"", "table = \"events/\"")
            .replace("capacity = 8192", "capacity = 200");
        fs::write(folder.path().join("tiercast.toml"), text).unwrap();
        Self { folder }
    }

    fn project(&self) -> Project {
        Project::load(&self.folder.path().join("tiercast.toml")).unwrap()
    }

    /// Writes the events that a condition of SQL chooses as a file of the folder.
    fn add(&self, name: &str, condition: &str) {
        let path = self.folder.path();
        fs::create_dir_all(path.join("events")).unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let context = crate::table::session(&ReadOptions::default()).unwrap();
            let place = crate::table::Place::beside(path, "events.parquet");
            crate::table::register(&context, "t", &place).await.unwrap();
            let some = context.sql(&format!("SELECT * FROM t WHERE {condition}")).await.unwrap();
            let options = datafusion::dataframe::DataFrameWriteOptions::new().with_single_file_output(true);
            let file = path.join("events").join(name);
            some.write_parquet(file.to_str().unwrap(), options, None).await.unwrap();
        });
    }

    fn update(&self, store: &str, change: impl Fn(&mut Args)) -> anyhow::Result<Updated> {
        let mut args = Args {
            store: self.folder.path().join(store),
            events: None,
            project: self.folder.path().join("tiercast.toml"),
            rebuild: false,
            buckets: 5,
            skip_invalid: false,
            memory: 64,
        };
        change(&mut args);
        update(&self.project(), &args, &ProgressBar::hidden())
    }

    fn histories(&self, store: &str) -> BTreeMap<String, History> {
        let store = Store::open(&self.folder.path().join(store)).unwrap();
        let all: BTreeMap<_, _> =
            (0..store.buckets()).flat_map(|bucket| store.read(bucket, false).unwrap()).collect();
        assert_eq!(all.len() as u64, store.members());
        all
    }
}

#[test]
fn a_store_of_many_updates_is_the_store_of_one() {
    let shop = Shop::new(120);
    // The third file has late events and events of members whom nobody knew; the fourth sends some again.
    shop.add("1.parquet", "\"time\" < '2023-09-01' AND \"channel\" <> 'app'");
    let first = shop.update("grown", |_| {}).unwrap();
    assert_eq!((first.files, first.members, first.new), (1, first.new, first.members));
    shop.add("2.parquet", "\"time\" >= '2023-09-01' AND \"time\" < '2024-03-01'");
    shop.add("3.parquet", "\"time\" < '2023-09-01' AND \"channel\" = 'app'");
    let second = shop.update("grown", |_| {}).unwrap();
    assert!(second.files == 2 && second.new < second.members, "{second:?}");
    let one_member = "\"member\" = 'm00000007' AND \"time\" >= '2024-03-01'";
    shop.add("4.parquet", &format!("{one_member} OR (\"member\" = 'm00000007' AND \"time\" < '2023-06-01')"));
    let third = shop.update("grown", |_| {}).unwrap();
    assert_eq!((third.files, third.members), (1, 1), "only whom the news concern");
    for day in 1..=9 {
        shop.add(
            &format!("5-{day}.parquet"),
            &format!("\"time\" >= '2024-03-0{day}' AND \"time\" < '2024-03-0{day}T23:00:00'"),
        );
        shop.update("grown", |_| {}).unwrap();
    }
    assert_eq!(shop.update("grown", |_| {}).unwrap(), Updated::default(), "nothing is new");

    let at_once = shop.update("at once", |args| args.buckets = 1).unwrap();
    assert_eq!(at_once.files, 13);
    let (grown, whole) = (shop.histories("grown"), shop.histories("at once"));
    assert!(grown == whole && whole.values().any(|history| !history.archive.is_empty()));
    let files = fs::read_dir(shop.folder.path().join("grown")).unwrap().count();
    assert!(files <= 2 + 5 * 9, "{files} files");

    shop.update("grown", |args| args.rebuild = true).unwrap();
    assert!(shop.histories("grown") == whole);
}

#[test]
fn what_would_make_a_store_wrong_is_refused_and_changes_nothing() {
    let shop = Shop::new(30);
    shop.add("1.parquet", "\"time\" < '2023-09-01'");
    shop.update("store", |_| {}).unwrap();
    let before = shop.histories("store");
    let refused = |marks: &[&str]| {
        let error = format!("{:#}", shop.update("store", |_| {}).unwrap_err());
        marks.iter().for_each(|mark| assert!(error.contains(mark), "{error}"));
        assert!(shop.histories("store") == before);
    };
    let first = shop.folder.path().join("events/1.parquet");
    let bytes = fs::read(&first).unwrap();
    shop.add("1.parquet", "\"time\" < '2023-08-01'");
    refused(&["events/1.parquet has changed", "--rebuild"]);
    fs::write(&first, bytes).unwrap();
    fs::write(shop.folder.path().join("events/2.parquet"), "no table").unwrap();
    refused(&["cannot read"]);
    fs::remove_file(shop.folder.path().join("events/2.parquet")).unwrap();
    shop.add("2.parquet", "\"time\" >= '2024-09-01'");

    let toml = shop.folder.path().join("tiercast.toml");
    let text = fs::read_to_string(&toml).unwrap();
    for (from, to, mark) in [
        ("capacity = 200", "capacity = 300", "capacity"),
        ("code = \"USD\"", "code = \"EUR\"", "currency"),
        ("amount = \"amount\"", "amount = \"amount * 2\"", "mapping"),
    ] {
        fs::write(&toml, text.replace(from, to)).unwrap();
        refused(&[mark, "--rebuild"]);
    }
    fs::write(&toml, &text).unwrap();
    let lock = fs::File::create(shop.folder.path().join("store/lock")).unwrap();
    lock.lock().unwrap();
    refused(&["another process"]);
    drop(lock);
    // What a killed update leaves is no harm.
    fs::create_dir_all(shop.folder.path().join("store/update")).unwrap();
    fs::write(shop.folder.path().join("store/update/news-0001-0.arrow"), "half").unwrap();
    fs::write(shop.folder.path().join("store/states-0001-000002.parquet"), "half").unwrap();
    shop.update("store", |_| {}).unwrap();
    shop.update("other", |_| {}).unwrap();
    assert!(shop.histories("store") == shop.histories("other"));

    fs::create_dir_all(shop.folder.path().join("mine")).unwrap();
    fs::write(shop.folder.path().join("mine/letter"), "").unwrap();
    let error = shop.update("mine", |_| {}).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    fs::write(shop.folder.path().join("store/store.json"), "{\"format\": 9}").unwrap();
    let error = format!("{:#}", Store::open(&shop.folder.path().join("store")).unwrap_err());
    assert!(error.contains("format 9"), "{error}");
}
