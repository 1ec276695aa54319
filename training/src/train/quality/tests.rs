//! Values worked out by hand, and by numpy where said.

use super::*;

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-12
}

#[test]
fn the_index_is_the_sum_over_bins() {
    // (.25 − .5) ln(.25 / .5) + (.75 − .5) ln(.75 / .5) = .25 ln 2 + .25 ln 1.5
    let found = drift(&[50, 50], &[10, 30]).unwrap();
    assert!(near(found.psi, 0.25 * 2.0_f64.ln() + 0.25 * 1.5_f64.ln()), "{}", found.psi);
    assert!(near(found.chance, 1.0 / 100.0 + 1.0 / 40.0), "{}", found.chance);
    assert_eq!(drift(&[5, 5, 0], &[20, 20, 0]).unwrap().psi, 0.0);
}

#[test]
fn an_empty_bin_counts_as_half_a_row() {
    // (0.5/10 − 0.2) ln(0.5/10 / 0.2) + (10/10 − 0.8) ln(1 / 0.8)
    let found = drift(&[20, 80], &[0, 10]).unwrap().psi;
    assert!(near(found, -0.15 * 0.25_f64.ln() + 0.2 * 1.25_f64.ln()), "{found}");
}

#[test]
fn bins_are_training_deciles_and_missing_is_its_own() {
    let train: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let bins = of_numbers(&sorted(&train));
    assert_eq!(count(&bins, &train), [10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 0]);
    assert_eq!(count(&bins, &[-5.0, f32::NAN, 99.5, 1e9]), [1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
}

#[test]
fn equal_cuts_are_one_cut() {
    let train: Vec<f32> = (0..100).map(|i| if i < 70 { 0.0 } else { i as f32 }).collect();
    let counts = count(&of_numbers(&sorted(&train)), &train);
    // Deciles 0, 0, 0, 0, 0, 0, 21 (between 0 and 70), 79.2 and 89.1.
    assert_eq!(counts, [70, 0, 10, 10, 10, 0]);
}

#[test]
fn a_value_that_never_varied_shows_what_is_on_either_side() {
    let bins = of_numbers(&[7.0, 7.0, 7.0]);
    assert_eq!(count(&bins, &[7.0, 4.0, 10.0, 10.0, f32::NAN]), [1, 1, 2, 1]);
}

#[test]
fn codes_have_bins_of_their_own_up_to_ten() {
    let train: Vec<f32> = (0..100).map(|i| (i % 12) as f32).collect();
    let counts = count(&of_codes(&train), &train);
    assert_eq!(counts.len(), 12);
    assert_eq!(counts[10], 16, "the two rarest codes share a bin");
    assert_eq!(count(&of_codes(&[3.0, 3.0, 5.0]), &[5.0, 9.0, f32::NAN]), [0, 1, 1, 1]);
}

#[test]
fn missing_and_outlying_shares_are_by_the_training_limits() {
    let train: Vec<f32> = (0..1000).map(|i| i as f32).chain([f32::NAN; 250]).collect();
    let (found, ..) = of("x", false, &train, &[f32::NAN, -1.0, 500.0, 2000.0]);
    // numpy 2.4.6: np.quantile(np.arange(1000), [.005, .995]) = 4.995, 994.005
    let (low, high) = found.limits.unwrap();
    assert!(near(low, 4.995) && near(high, 994.005), "{low} {high}");
    assert_eq!(found.train, Side { missing: 0.2, outliers: 10.0 / 1250.0, median: Some(499.5) });
    let test = found.test.unwrap();
    assert_eq!((test.missing, test.outliers, test.median), (0.25, 0.5, Some(500.0)));
}

#[test]
fn without_a_test_there_is_no_drift_and_without_values_no_limit() {
    let (found, ..) = of("x", false, &[f32::NAN, f32::NAN], &[]);
    assert_eq!((found.limits, found.test, found.drift), (None, None, None));
    assert_eq!(found.train, Side { missing: 1.0, outliers: 0.0, median: None });
    let (code, ..) = of("x", true, &[3.0, 3.0], &[3.0]);
    assert_eq!((code.limits, code.train.median, code.drift.map(|drift| drift.psi)), (None, None, Some(0.0)));
}

#[test]
fn values_that_appear_from_nowhere_are_drift() {
    let (found, ..) = of("x", false, &[f32::NAN; 50], &[1.0; 50]);
    assert!(found.drift.unwrap().psi > 5.0);
}

/// What this module gave when it had the formula itself, with 64-bit cuts and the platform's logarithm: the same rows in the
/// same bins, and the same index but for the last bit, as core's logarithm has the same bits on every platform.
#[test]
fn the_formula_and_the_cuts_of_core_give_the_same_figures() {
    let values = |rows: usize, step: usize, shift: usize| -> Vec<f32> {
        let value = |i: usize| if i % 11 == 3 { f32::NAN } else { (i * step % 1009 + shift) as f32 / 7.0 };
        (0..rows).map(value).collect()
    };
    let before: [u64; 6] = [
        0x3fa8_9116_f56b_7993,
        0x3fbe_3356_190e_1e22,
        0x3fde_2ce4_d97a_7114,
        0x3fe1_da2f_080f_6b4c,
        0x3fe8_b322_b21a_cae3,
        0x3fef_f40f_c481_924b,
    ];
    for (k, psi) in (1..).zip(before) {
        let (train, test) = (values(700, 7919 * k, 0), values(300, 4241 + k, 40 * k));
        let (found, bins, counts) = of("x", false, &train, &test);
        let known = sorted(&train);
        let cuts: Vec<f64> = (1..10).map(|at| quantile(&known, f64::from(at) / 10.0)).collect();
        let by_64_bits = |values: &[f32]| {
            let mut counts = vec![0; 11];
            for value in values {
                let known = cuts.partition_point(|cut| *cut < f64::from(*value));
                counts[if value.is_nan() { 10 } else { known }] += 1;
            }
            counts
        };
        assert_eq!(counts, by_64_bits(&train));
        assert_eq!(count(&bins, &test), by_64_bits(&test));
        let drift = found.drift.unwrap();
        assert_eq!(drift.chance.to_bits(), 0x3fa8_6186_1861_8619);
        assert!(drift.psi.to_bits().abs_diff(psi) <= 1, "{k}: {}", drift.psi);
    }
}
