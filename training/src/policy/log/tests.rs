use super::*;

const TABLE: &str = "who,offer,got,cost,p,at,place,age,town\n\
    b,10,1,0.5,0.25,2026-01-02T00:00:00Z,top,30,Rome\n\
    a,9,0,0,0.75,2026-01-01T00:00:00Z,top,41,Oslo\n\
    b,9,2.5,0,0.5,2026-01-03T00:00:00Z,side,30,Rome\n";

fn columns() -> Columns {
    let some = |name: &str| Some(name.to_owned());
    Columns {
        action: "offer".into(),
        reward: "got".into(),
        propensity: "p".into(),
        cost: some("cost"),
        position: some("place"),
        member: some("who"),
        time: some("at"),
        context: vec!["age".into(), "town".into()],
        chance: None,
    }
}

fn read(table: &str, columns: &Columns) -> anyhow::Result<Log> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv");
    std::fs::write(&path, table).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(Log::read(&path, columns))
}

#[test]
fn a_table_becomes_columns_of_numbers() {
    let log = read(TABLE, &columns()).unwrap();
    assert_eq!(log.arms, ["9", "10"]);
    assert_eq!(log.actions, [1, 0, 0]);
    assert_eq!(log.rewards, [1.0, 0.0, 2.5]);
    assert_eq!(log.earned(), [0.5, 0.0, 2.5]);
    assert_eq!(log.propensities, [0.25, 0.75, 0.5]);
    assert!(log.members[0] == log.members[2] && log.members[0] != log.members[1]);
    assert_eq!((log.position_names, log.positions), (vec!["side".into(), "top".into()], Some(vec![1, 1, 0])));
    let times = log.times.unwrap();
    assert_eq!((times[1], times[0] - times[1]), (1_767_225_600_000, 86_400_000));
    assert_eq!(log.context_names, ["age", "town=Rome", "town=Oslo"]);
    assert_eq!(log.contexts, [30.0, 1.0, 0.0, 41.0, 0.0, 1.0, 30.0, 1.0, 0.0]);
}

#[test]
fn a_selection_keeps_arms_and_contexts() {
    let log = read(TABLE, &columns()).unwrap();
    let part = log.select(&[1]);
    assert_eq!((part.len(), &part.arms, part.actions[0]), (1, &log.arms, 0));
    assert_eq!(part.contexts, [41.0, 0.0, 1.0]);
    assert_eq!(log.select(&[0, 1, 2]), log);
}

#[test]
fn numbers_and_dates_are_times_and_rows_their_own_members() {
    let table = "a,r,p,day\nx,1,0.5,3\ny,0,0.5,1\n";
    let short =
        Columns { action: "a".into(), reward: "r".into(), propensity: "p".into(), ..Columns::default() };
    let timed = Columns { time: Some("day".into()), ..short };
    let log = read(table, &timed).unwrap();
    assert_eq!((log.times, log.members, log.contexts), (Some(vec![3, 1]), vec![0, 1], vec![]));
    let log = read(&table.replace(",3", ",2026-01-01").replace(",1\n", ",2025-12-31\n"), &timed).unwrap();
    assert_eq!(log.times.unwrap()[0], 1_767_225_600_000);
}

#[test]
fn what_cannot_be_is_named_by_column_and_row() {
    let says =
        |from: &str, to: &str| format!("{:#}", read(&TABLE.replace(from, to), &columns()).unwrap_err());
    for (from, to, said) in [
        ("0.75", "0", "column \"p\", row 2: 0; a probability here is above 0 and at most 1"),
        ("0.75", "1.5", "column \"p\", row 2: 1.5; a probability"),
        ("a,9,0,", "a,9,,", "column \"got\", row 2: nothing; it must be a number"),
        ("a,9,0,", "a,9,yes,", "column \"got\", row 2: \"yes\" is not a number"),
        ("a,9,0,", "a,9,NaN,", "column \"got\", row 2: NaN is not finite"),
        ("a,9,0,", "a,,0,", "column \"offer\", row 2: nothing; it must be a text"),
        ("41,Oslo", ",Oslo", "column \"age\", row 2: nothing; it must be a number"),
        ("2026-01-01T00:00:00Z", "soon", "column \"at\", row 2: \"soon\" is not a time"),
    ] {
        let found = says(from, to);
        assert!(found.contains(said) && found.contains("log.csv"), "{found}");
    }
    let mistaken = Columns { propensity: "pp".into(), ..columns() };
    let found = format!("{:#}", read(TABLE, &mistaken).unwrap_err());
    assert!(found.contains("no column \"pp\"; did you mean \"p\"?"), "{found}");
    let mistaken = Columns { propensity: "likelihood".into(), ..columns() };
    assert!(format!("{:#}", read(TABLE, &mistaken).unwrap_err()).contains("there are \"who\", \"offer\""));
    let short = Columns { action: "off".into(), ..columns() };
    assert!(format!("{:#}", read(TABLE, &short).unwrap_err()).contains("did you mean \"offer\"?"));
    let empty = TABLE.lines().next().unwrap();
    assert!(format!("{:#}", read(empty, &columns()).unwrap_err()).contains("there is no row"));
}

#[test]
fn rare_texts_are_all_zeros() {
    let rows = (0..120).map(|at| format!("x,1,0.5,{}\n", if at < 70 { at % 10 } else { at }));
    let table = format!("a,r,p,v\n{}", rows.collect::<String>()).replace("0.5,", "0.5,v");
    let few = Columns {
        action: "a".into(),
        reward: "r".into(),
        propensity: "p".into(),
        context: vec!["v".into()],
        ..Columns::default()
    };
    let log = read(&table, &few).unwrap();
    assert_eq!(log.context_names.len(), MOST_VALUES);
    assert_eq!(log.context_names[..2], ["v=v0", "v=v1"]);
    let ones = |row: usize| log.contexts[row * MOST_VALUES..(row + 1) * MOST_VALUES].iter().sum::<f32>();
    assert_eq!((ones(0), ones(99)), (1.0, 0.0));
}
