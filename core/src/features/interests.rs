//! Which categories a member's recent purchases went to.

use alloc::vec::Vec;

use super::MemberState;
use crate::{event::EventKind, math, time::Timestamp};

/// Σ amount · 2^(−age / half-life) over the purchases known at `now`, in minor units: of all, and of each category that has
/// an `index`. Amounts are kept events'; what was forgotten is left out.
pub(crate) fn interests(
    state: &MemberState,
    now: Timestamp,
    half_life: i64,
    categories: usize,
    index: impl Fn(u32) -> Option<usize>,
) -> (f64, Vec<f64>) {
    let (mut all, mut weights) = (0.0, alloc::vec![0.0; categories]);
    for events in state.known(now, i64::MAX) {
        for event in events.iter().filter(|event| event.kind == EventKind::Purchase) {
            let age = (now.ms() - event.time.ms()) as f64;
            let weight = event.amount as f64 * math::exp2(-age / half_life as f64);
            all += weight;
            if let Some(slot) = index(event.category).and_then(|at| weights.get_mut(at)) {
                *slot += weight;
            }
        }
    }
    (all, weights)
}
