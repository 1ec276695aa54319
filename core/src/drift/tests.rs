//! Values worked out by hand.

use alloc::vec;

use super::*;
use crate::{
    features::FeatureSpec,
    wire::{from_bytes, to_bytes},
};

const NAN: f32 = f32::NAN;

fn schema() -> FeatureSchema {
    let spec = r#"{"events":{"currency":{"code":"USD","exponent":2}},"capacity":16,"features":[
        {"name":"orders","op":"count"},{"name":"recency","op":"recency"},
        {"name":"channel","op":"mode","of":"channel"}]}"#;
    FeatureSchema::compile(serde_json::from_str::<FeatureSpec>(spec).unwrap()).unwrap()
}

/// Of 8 training rows.
fn reference() -> Reference {
    let codes = Bins::Codes(vec![3.0_f32.to_bits()]);
    Reference {
        rows: 8,
        features: vec![
            Watched { feature: 0, bins: Bins::Cuts(vec![1.0, 2.5]), shares: vec![0.25, 0.25, 0.5, 0.0] },
            Watched { feature: 2, bins: codes, shares: vec![0.5, 0.25, 0.25] },
        ],
        tiers: vec![0.75, 0.25],
    }
}

#[test]
fn the_index_is_the_sum_over_bins() {
    // (.25 − .5) ln(.25 / .5) + (.75 − .5) ln(.75 / .5) = .25 ln 2 + .25 ln 1.5 = .25 ln 3
    let found = Drift::between(&[(50.0, 10.0), (50.0, 30.0), (0.0, 0.0)]).unwrap();
    assert!((found.psi - 0.274_653_072_167_027_4).abs() < 1e-15, "{}", found.psi);
    assert!((found.chance - (1.0 / 100.0 + 1.0 / 40.0)).abs() < 1e-15, "{}", found.chance);
}

#[test]
fn an_empty_bin_counts_as_half_a_row() {
    // (.5/10 − .2) ln(.5/10 / .2) + (10/10 − .8) ln(1 / .8) = .15 ln 4 + .2 ln 1.25
    let found = Drift::between(&[(20.0, 0.0), (80.0, 10.0)]).unwrap().psi;
    assert!((found - 0.252_572_864_430_825_6).abs() < 1e-15, "{found}");
    for empty in [&[][..], &[(1.0, 0.0)], &[(0.0, 1.0)]] {
        assert_eq!(Drift::between(empty), None, "{empty:?}");
    }
}

#[test]
fn values_fall_up_to_and_with_a_cut_and_codes_are_told_apart_by_bits() {
    let places = |bins: &Bins, values: &[f32]| values.iter().map(|x| bins.of(*x)).collect::<Vec<_>>();
    let cuts = Bins::Cuts(vec![1.0, 2.5]);
    assert_eq!(places(&cuts, &[f32::NEG_INFINITY, 1.0, 1.1, 2.5, 2.6, NAN]), [0, 0, 1, 1, 2, 3]);
    assert_eq!(places(&Bins::Codes(vec![7.0_f32.to_bits()]), &[7.0, 8.0, NAN]), [0, 1, 2]);
    assert_eq!(places(&Bins::Cuts(Vec::new()), &[7.0, NAN]), [0, 1], "never known in training");
}

#[test]
fn members_are_counted_bin_by_bin() {
    let reference = reference();
    let mut counts = vec![0; reference.bins()];
    reference.count(&[1.0, 9.0, 3.0], 1, &mut counts).unwrap();
    reference.count(&[5.0, NAN, NAN], 2, &mut counts).unwrap();
    reference.count(&[NAN, 9.0, 4.0], 2, &mut counts).unwrap();
    assert_eq!(counts, [1, 0, 1, 1, 1, 1, 1, 1, 2]);
    counts[0] = u32::MAX;
    reference.count(&[1.0, 9.0, 3.0], 1, &mut counts).unwrap();
    assert_eq!(counts[0], u32::MAX);
}

#[test]
fn what_is_not_of_the_bundle_is_not_counted() {
    let reference = reference();
    let mut counts = vec![0; reference.bins()];
    for (features, tier) in [(&[1.0, 2.0, 3.0], 0), (&[1.0, 2.0, 3.0], 3)] {
        assert_eq!(reference.count(features, tier, &mut counts).unwrap_err().code(), "invalid_input");
    }
    assert_eq!(reference.count(&[1.0, 2.0], 1, &mut counts).unwrap_err().code(), "invalid_input");
    assert_eq!(reference.count(&[1.0, 2.0, 3.0], 1, &mut counts[1..]).unwrap_err().code(), "invalid_input");
    assert!(counts.iter().all(|count| *count == 0));
    assert_eq!(reference.psi(&schema(), &counts[1..]).unwrap_err().code(), "invalid_input");
    assert_eq!(reference.psi(&schema(), &counts).unwrap(), [], "nobody is counted");
}

#[test]
fn counts_in_the_training_rows_shares_are_no_drift() {
    let (schema, reference) = (schema(), reference());
    let found = reference.psi(&schema, &[4, 4, 8, 0, 8, 4, 4, 12, 4]).unwrap();
    let of =
        |name, bins: f64| Psi { name, psi: 0.0, chance: (bins - 1.0) * (1.0 / 8.0 + 1.0 / 16.0), rows: 16 };
    assert_eq!(found, [of("orders", 3.0), of("channel", 3.0), of("tier", 2.0)]);
    // Tiers (.25 − .75) ln(.25 / .75) + (.75 − .25) ln(.75 / .25) = ln 3; the others are as they were.
    let found = reference.psi(&schema, &[1, 1, 2, 0, 2, 1, 1, 1, 3]).unwrap();
    assert_eq!((found[0].psi, found[1].psi, found[2].rows), (0.0, 0.0, 4));
    assert!((found[2].psi - 1.098_612_288_668_109_8).abs() < 1e-15, "{}", found[2].psi);
}

#[test]
fn shares_of_no_round_number_of_rows_are_no_drift_either() {
    let counts = [1_000_003_u32, 2_500_000, 17, 0];
    let rows: u32 = counts.iter().sum();
    let shares = counts.iter().map(|n| (f64::from(*n) / f64::from(rows)) as f32).collect();
    let feature = Watched { feature: 0, bins: Bins::Cuts(vec![0.0, 1.0]), shares };
    let reference = Reference { rows: rows.into(), features: vec![feature], tiers: Vec::new() };
    reference.check(1, 2).unwrap();
    assert_eq!(reference.psi(&schema(), &counts).unwrap()[0].psi, 0.0);
}

#[test]
fn a_reference_survives_its_bytes_and_damage_is_refused_or_sound() {
    let (schema, reference) = (schema(), reference());
    reference.check(3, 2).unwrap();
    let bytes = to_bytes(&reference);
    assert_eq!(from_bytes::<Reference>(&bytes).as_ref(), Some(&reference));
    for cut in 0..bytes.len() {
        assert_eq!(from_bytes::<Reference>(&bytes[..cut]), None, "cut at {cut}");
    }
    let mut refused = 0;
    for (at, mask) in (0..bytes.len()).flat_map(|at| (1..=255_u8).map(move |mask| (at, mask))) {
        let mut damaged = bytes.clone();
        damaged[at] ^= mask;
        let read = from_bytes::<Reference>(&damaged).filter(|read| read.check(3, 2).is_ok());
        let Some(read) = read else {
            refused += 1;
            continue;
        };
        let mut counts = vec![0; read.bins()];
        read.count(&[1.0, NAN, 3.0], 1, &mut counts).unwrap();
        assert!(read.psi(&schema, &counts).unwrap().iter().all(|found| found.psi.is_finite()), "{at} {mask}");
    }
    assert!(refused > 255 * bytes.len() / 3, "{refused} of {}", 255 * bytes.len());
}

#[test]
fn what_contradicts_itself_is_refused() {
    for change in [
        |r: &mut Reference| r.rows = 0,
        |r| r.features[0].feature = 2,
        |r| r.features[1].feature = 3,
        |r| r.features[0].shares[3] = NAN,
        |r| r.features[0].shares[3] = 0.1,
        |r| r.features[0].shares[3] = -0.0001,
        |r| r.features[0].shares.truncate(3),
        |r| r.features[0].bins = Bins::Cuts(vec![2.5, 1.0]),
        |r| r.features[0].bins = Bins::Cuts(vec![1.0, 1.0]),
        |r| r.features[0].bins = Bins::Cuts(vec![1.0, NAN]),
        |r| {
            r.features[1].bins = Bins::Codes((0..11).collect());
            r.features[1].shares = vec![0.0; 12];
            r.features[1].shares.push(1.0);
        },
        |r| r.tiers = vec![1.0],
        |r| r.tiers = vec![0.5, 0.6],
    ] as [fn(&mut Reference); 13]
    {
        let mut reference = reference();
        change(&mut reference);
        assert_eq!(reference.check(3, 2).unwrap_err().code(), "invalid_spec", "{reference:?}");
    }
    let imported = Reference { tiers: Vec::new(), ..reference() };
    imported.check(3, 2).unwrap();
    assert_eq!(
        imported.psi(&schema(), &[1; 7]).unwrap().len(),
        2,
        "the tiers of another model are not judged"
    );
}
