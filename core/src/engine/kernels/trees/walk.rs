//! Walks from the roots of trees to their leaves, eight side by side.
#![allow(clippy::indexing_slicing)] // Only arrays of LANES elements, by lane; the compiler sees that it cannot fail.

/// Walks that go side by side: rows through one tree, or one row through as many trees.
pub(super) const LANES: usize = 8;
/// Steps between looking whether all walks have arrived; balanced trees are hardly deeper.
const STEPS: u32 = 8;

/// The parts of a node's words.
pub(super) const FEATURE: u32 = 0x7fff;
pub(super) const NAN_LEFT: u32 = 0x8000;
pub(super) const LEAF_NUMBER: u32 = 0x003f_ffff;

pub(super) type Nodes<'r> = &'r [[u32; 2]];

/// The numbers of the leaves that eight rows reach in a tree. `nans` says whether a value may be NaN.
pub(super) fn rows(nodes: Nodes<'_>, xs: &[f32], depth: u32, nans: bool) -> [u32; LANES] {
    let mut rows = xs.chunks_exact(xs.len() / LANES);
    let rows = core::array::from_fn(|_| rows.next().unwrap_or_default());
    if nans { walk::<true>([nodes; LANES], rows, depth) } else { walk::<false>([nodes; LANES], rows, depth) }
}

/// The numbers of the leaves that a row reaches in eight trees.
pub(super) fn trees(nodes: &[Nodes<'_>; LANES], xs: &[f32], depth: u32, nans: bool) -> [u32; LANES] {
    if nans { walk::<true>(*nodes, [xs; LANES], depth) } else { walk::<false>(*nodes, [xs; LANES], depth) }
}

/// Takes eight walks from the roots to the leaves; gives the leaves' numbers.
#[inline(always)]
fn walk<const NANS: bool>(nodes: [Nodes<'_>; LANES], rows: [&[f32]; LANES], depth: u32) -> [u32; LANES] {
    let mut at = [0_u32; LANES];
    let mut left = depth;
    loop {
        for _ in 0..left.min(STEPS) {
            for lane in 0..LANES {
                let [threshold, link] = node(nodes[lane], at[lane]);
                let x = rows[lane].get((link & FEATURE) as usize).copied().unwrap_or_default();
                let mut right = x > f32::from_bits(threshold);
                if NANS {
                    right |= x.is_nan() & (link & NAN_LEFT == 0);
                }
                at[lane] = (link >> 16) + u32::from(right);
            }
        }
        let leaves: [u32; LANES] = core::array::from_fn(|lane| node(nodes[lane], at[lane])[0]);
        left = left.saturating_sub(STEPS);
        if left == 0 || leaves.iter().all(|threshold| f32::from_bits(*threshold).is_nan()) {
            return leaves.map(|threshold| threshold & LEAF_NUMBER);
        }
    }
}

#[inline(always)]
fn node(nodes: Nodes<'_>, at: u32) -> [u32; 2] {
    nodes.get(at as usize).copied().unwrap_or_default()
}
