use std::{collections::HashMap, fs};

use datafusion::{dataframe::DataFrameWriteOptions, prelude::SessionContext};
use tiercast_core::{Event, MemberState, net_spend};

use super::*;
use crate::{
    fixtures::{ROWS, small, synthetic},
    table::columns::EventColumns,
};

fn dataset(project: &Project, options: &BuildOptions) -> Dataset {
    build_with(project, &project.as_ofs(), options, &ProgressBar::hidden()).unwrap().0
}

fn bits(dataset: &Dataset) -> Vec<u32> {
    dataset.features.iter().map(|value| value.to_bits()).collect()
}

fn assert_equal(a: &Dataset, b: &Dataset) {
    assert_eq!(a.rows, b.rows);
    assert_eq!(bits(a), bits(b));
    assert_eq!((&a.current_spend, &a.target_spend), (&b.current_spend, &b.target_spend));
    let next =
        |dataset: &Dataset| dataset.next_purchase.iter().map(|days| days.to_bits()).collect::<Vec<_>>();
    assert_eq!((next(a), &a.categories), (next(b), &b.categories));
}

/// Each member's events, read without the fold.
fn histories(project: &Project) -> HashMap<String, Vec<Event>> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let batches = runtime.block_on(async {
        Events::open(project, &ReadOptions::default())
            .await
            .unwrap()
            .frame()
            .await
            .unwrap()
            .collect()
            .await
            .unwrap()
    });
    let mut histories: HashMap<String, Vec<Event>> = HashMap::new();
    for batch in &batches {
        let columns = EventColumns::new(batch.columns()).unwrap();
        for row in 0..batch.num_rows() {
            let member = columns.member(row).unwrap().to_owned();
            histories.entry(member).or_default().push(columns.event(row, &project.event_rules()).unwrap());
        }
    }
    histories
}

#[test]
fn the_fold_gives_what_core_gives() {
    let folder = tempfile::tempdir().unwrap();
    let project = synthetic(folder.path(), 40);
    let found = dataset(&project, &BuildOptions::default());
    let histories = histories(&project);
    assert!(found.len() > 100, "{}", found.len());
    for (row, key) in found.rows.iter().enumerate() {
        let mut state = MemberState::new(&found.schema);
        // Newest first: the order of arrival must not matter.
        let mut known: Vec<_> =
            histories[&key.member].iter().filter(|event| event.time < key.as_of).collect();
        known.sort_unstable_by(|a, b| b.cmp(a));
        for event in known {
            state.observe(*event);
        }
        let expected =
            found.schema.features_at(&state, crate::fold::just_before(key.as_of).unwrap()).unwrap();
        let (row_bits, expected): (Vec<_>, Vec<_>) = (
            found.row(row).iter().map(|v| v.to_bits()).collect(),
            expected.iter().map(|v| v.to_bits()).collect(),
        );
        assert_eq!(row_bits, expected, "{key:?}");
        let (from, _) = project.tiers.period.before(key.as_of);
        let (_, to) = project.tiers.period.around(key.as_of);
        assert_eq!(found.current_spend[row], net_spend(&histories[&key.member], from, key.as_of));
        assert_eq!(found.target_spend[row], net_spend(&histories[&key.member], key.as_of, to));
    }
}

#[test]
fn partitions_and_memory_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let project = synthetic(folder.path(), 300);
    let with = |partitions, memory| {
        dataset(
            &project,
            &BuildOptions {
                read: ReadOptions { partitions: Some(partitions), memory, ..ReadOptions::default() },
                skip_invalid: false,
            },
        )
    };
    let one = with(1, None);
    assert_equal(&one, &with(7, None));
    assert_equal(&one, &with(2, Some(32 << 20)));
}

#[test]
fn csv_and_parquet_agree() {
    let folder = tempfile::tempdir().unwrap();
    let project = synthetic(folder.path(), 60);
    let csv = folder.path().join("events.csv");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let frame = SessionContext::new()
            .read_parquet(folder.path().join("events.parquet").to_str().unwrap(), Default::default())
            .await
            .unwrap();
        let options = DataFrameWriteOptions::new().with_single_file_output(true);
        frame.write_csv(csv.to_str().unwrap(), options, None).await.unwrap();
    });
    let mut other = project.clone();
    other.events[0].table = "events.csv".into();
    assert_equal(&dataset(&project, &BuildOptions::default()), &dataset(&other, &BuildOptions::default()));
}

#[test]
fn an_event_at_the_as_of_belongs_to_the_future() {
    let folder = tempfile::tempdir().unwrap();
    let found = dataset(&small(folder.path(), ROWS, ("", "")), &BuildOptions::default());
    let rows: Vec<_> = found.rows.iter().map(|row| (row.as_of.date(), row.member.as_str())).collect();
    let expected = ["2024-02-01", "2024-03-01", "2024-04-01"]
        .map(|date| [(date.to_owned(), "a"), (date.to_owned(), "b")]);
    assert_eq!(rows, expected.as_flattened());
    assert_eq!(found.current_spend, [1000, 725, 350, 0, 0, 0]);
    assert_eq!(found.target_spend, [350, 0, 0, 0, 0, 100]);
    // A purchase at the as-of itself is the next one; the last one is on 28 April at 10:00.
    let next: Vec<String> = found.next_purchase.iter().map(|days| format!("{days:.4}")).collect();
    assert_eq!(next, ["0.0000", "NaN", "NaN", "NaN", "NaN", "27.4167"]);
    let spend: Vec<_> = found.features.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(spend, [10.0, 7.25, 15.5, 7.25, 5.5, 0.0]);
}

#[test]
fn the_same_identity_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let twice = format!("{ROWS}a,purchase,2024-01-05T10:00:00,1,10.00\n");
    let once = dataset(&small(folder.path(), ROWS, ("", "")), &BuildOptions::default());
    assert_equal(&once, &dataset(&small(folder.path(), &twice, ("", "")), &BuildOptions::default()));
}

#[test]
fn activity_is_a_purchase_within_the_time_given() {
    let folder = tempfile::tempdir().unwrap();
    let project = small(folder.path(), ROWS, ("[[features]]", "active_within = \"28d\"\n\n[[features]]"));
    let found = dataset(&project, &BuildOptions::default());
    let rows: Vec<_> = found.rows.iter().map(|row| (row.as_of.date(), row.member.as_str())).collect();
    // Of the events in the 28 days before March, one is a return.
    assert_eq!(rows, [("2024-02-01".to_owned(), "a"), ("2024-02-01".to_owned(), "b")]);
}

#[test]
fn a_row_that_is_not_an_event_stops_with_table_row_and_code() {
    let folder = tempfile::tempdir().unwrap();
    for (row, code) in [
        ("a,purchase,2024-01-06T10:00:00,9,-1.00", "invalid_amount"),
        ("a,buy,2024-01-06T10:00:00,9,1.00", "unknown_kind"),
        ("a,purchase,1969-01-06T10:00:00,9,1.00", "invalid_time"),
        (",purchase,2024-01-06T10:00:00,9,1.00", "invalid_event"),
        ("a,,2024-01-06T10:00:00,9,1.00", "invalid_event"),
        ("a,purchase,,9,1.00", "invalid_event"),
    ] {
        let project = small(folder.path(), &format!("{ROWS}{row}\n{row}\n"), ("", ""));
        let strict = build(&project, &project.as_ofs(), &ProgressBar::hidden()).unwrap_err().to_string();
        assert!(strict.contains("table events.csv, row 6") && strict.contains(code), "{row}: {strict}");

        let options = BuildOptions { skip_invalid: true, ..BuildOptions::default() };
        let (lenient, skipped) =
            build_with(&project, &project.as_ofs(), &options, &ProgressBar::hidden()).unwrap();
        assert_eq!(skipped[code].0, 2, "{row}");
        assert_equal(&lenient, &dataset(&small(folder.path(), ROWS, ("", "")), &BuildOptions::default()));
    }
}

#[test]
fn the_table_comes_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let project = small(folder.path(), ROWS, ("", ""));
    let path = folder.path().join("features.parquet");
    let args = Args {
        project: project.path,
        output: path.clone(),
        skip_invalid: false,
        partitions: None,
        memory: 64,
        engine: Engine::Embedded,
    };
    run(args).unwrap();
    let batches = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let frame =
            SessionContext::new().read_parquet(path.to_str().unwrap(), Default::default()).await.unwrap();
        frame.collect().await.unwrap()
    });
    let schema = batches[0].schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(
        names,
        ["member", "as_of", "recency", "spend", "current_spend", "target_spend", "next_purchase"]
    );
    let spend = batches[0].column(3).as_primitive::<Float32Type>();
    assert_eq!(spend.values().as_ref(), [10.0, 15.5, 5.5, 7.25, 7.25, 0.0], "by member and date");
    assert!(fs::metadata(&path).unwrap().len() > 0);
}

#[test]
fn cells_that_do_not_fit_far_down_a_csv_are_rows_with_codes() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = ROWS.to_owned();
    for n in 0..30_000 {
        rows += &format!("m{},purchase,2024-01-{:02} 09:30:00,x{n},{}.25\n", n % 400, 1 + n % 28, n % 50);
    }
    for (bad, code) in [
        ("q,purchase,2024-02-30 09:30:00,y,1.00\n", "invalid_time"),
        ("q,purchase,2024-01-03 09:30:00,y,abc\n", "invalid_amount"),
    ] {
        let project = small(folder.path(), &format!("{rows}{bad}"), ("", ""));
        let error = build(&project, &project.as_ofs(), &ProgressBar::hidden()).unwrap_err().to_string();
        assert!(error.contains("row 30006 (member q)") && error.contains(code), "{error}");
    }
}

#[test]
fn dates_that_the_table_does_not_cover_are_refused_or_noted() {
    let folder = tempfile::tempdir().unwrap();
    let built = |change| {
        let project = small(folder.path(), ROWS, change);
        build(&project, &project.as_ofs(), &ProgressBar::hidden())
    };
    assert_eq!(built(("", "")).unwrap().warnings, [""; 0]);
    let late = built(("test = [\"2024-04-01\"]", "test = [\"2024-05-01\"]")).unwrap_err().to_string();
    assert!(late.contains("2024-05-01") && late.contains("2024-01-05 to 2024-04-28"), "{late}");
    let early = built(("\"2024-02-01\"", "\"2024-01-01\"")).unwrap_err().to_string();
    assert!(early.contains("nothing is known of anyone"), "{early}");

    let cut = small(folder.path(), &ROWS.replace("2024-04-28", "2024-04-20"), ("", ""));
    let cut = dataset(&cut, &BuildOptions::default());
    assert!(cut.warnings.len() == 1 && cut.warnings[0].contains("2024-05-01"), "{:?}", cut.warnings);
}
