use std::path::Path;

use datafusion::{
    arrow::{
        array::AsArray,
        datatypes::{Float64Type, TimestampMillisecondType},
    },
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
};

use super::*;
use crate::fixtures;

fn args(folder: &Path, policy: Policy, truth: bool) -> Args {
    Args {
        shop: Shop {
            project: folder.join("tiercast.toml"),
            periods: 4,
            period: PeriodArg::Month,
            arms: ["0", "100", "200"].map(|text| arm(text).unwrap()).to_vec(),
            point_value: 0.01,
        },
        output: folder.join("decisions.parquet"),
        policy,
        seed: 7,
        truth,
    }
}

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let batches: Vec<_> = reader.with_batch_size(1 << 20).build().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(batches.len(), 1);
    batches[0].clone()
}

fn numbers(batch: &RecordBatch, name: &str) -> Vec<f64> {
    batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().to_vec()
}

#[test]
fn a_log_has_every_known_member_at_each_month_and_is_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let project = fixtures::synthetic(folder.path(), 500);
    let bytes = || {
        run(args(folder.path(), Policy::Softmax, true)).unwrap();
        std::fs::read(folder.path().join("decisions.parquet")).unwrap()
    };
    assert_eq!(bytes(), bytes());
    let log = read(&folder.path().join("decisions.parquet"));
    let times = log.column_by_name("time").unwrap().as_primitive::<TimestampMillisecondType>();
    let mut found = times.values().to_vec();
    found.dedup();
    let wanted = ["2024-07-01", "2024-08-01", "2024-09-01", "2024-10-01"];
    assert_eq!(found, wanted.map(|date| Timestamp::parse(date).unwrap().ms()));
    assert_eq!(project.as_ofs().last().unwrap().ms(), found[3]);
    assert!(log.num_rows() > 3 * 450 && log.num_rows() <= 4 * 500, "{}", log.num_rows());
    let none = times.values().iter().filter(|time| **time == found[0]).count();
    let members = log.column_by_name("member").unwrap().as_string::<i32>();
    let names: std::collections::BTreeSet<_> = (0..none).map(|row| members.value(row)).collect();
    assert_eq!(names.len(), none, "a member is asked once a date");
}

#[test]
fn offers_come_as_often_as_their_propensities_say() {
    let folder = tempfile::tempdir().unwrap();
    fixtures::synthetic(folder.path(), 500);
    run(args(folder.path(), Policy::Softmax, false)).unwrap();
    let log = read(&folder.path().join("decisions.parquet"));
    assert!(log.column_by_name("expected_reward_none").is_none());
    let chances = numbers(&log, "propensity");
    let (least, most) = chances.iter().fold((1.0_f64, 0.0_f64), |(l, m), p| (l.min(*p), m.max(*p)));
    assert!(least < 0.3 && most > 0.4 && least > 0.1, "{least} {most}");
    let offers = log.column_by_name("offer").unwrap().as_string::<i32>();
    // A row that was offered something counts as often as 1 / its chance: all rows together, for each offer.
    for name in ["none", "points_100", "points_200"] {
        let of = offers.iter().zip(&chances).filter(|(offer, _)| *offer == Some(name));
        let (weight, squares) = of.fold((0.0, 0.0), |(w, s), (_, p)| (w + 1.0 / p, s + (1.0 - p) / (p * p)));
        let rows = log.num_rows() as f64;
        assert!((weight - rows).abs() < 4.0 * f64::sqrt(squares), "{name}: {weight} of {rows}");
    }
}

#[test]
fn draws_agree_with_the_truth_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    fixtures::synthetic(folder.path(), 500);
    run(args(folder.path(), Policy::Uniform, true)).unwrap();
    let log = read(&folder.path().join("decisions.parquet"));
    assert!(numbers(&log, "propensity").iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-12));
    let offers = log.column_by_name("offer").unwrap().as_string::<i32>();
    for what in ["reward", "cost"] {
        let drawn = numbers(&log, what);
        for name in ["none", "points_100", "points_200"] {
            let expected = numbers(&log, &format!("expected_{what}_{name}"));
            let rows: Vec<usize> = (0..log.num_rows()).filter(|row| offers.value(*row) == name).collect();
            let off: Vec<f64> = rows.iter().map(|row| drawn[*row] - expected[*row]).collect();
            let error = off.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!(off.iter().sum::<f64>().abs() <= 4.0 * error, "{what} {name}");
        }
    }
}

#[test]
fn offers_that_cannot_be_are_refused() {
    let checked = |texts: &[&str]| {
        let arms = texts.iter().map(|text| arm(text)).collect::<anyhow::Result<Vec<_>>>()?;
        Shop { arms, ..args(Path::new(""), Policy::Uniform, false).shop }.check()
    };
    let refused = |texts: &[&str]| checked(texts).unwrap_err().to_string();
    checked(&["none=0", "Gold = 100"]).unwrap();
    assert!(refused(&["0"]).contains("at least two"));
    assert!(refused(&["0", "50", "0"]).contains("twice"));
    assert!(refused(&["0", "Gold=many"]).contains("whole points"));
}
