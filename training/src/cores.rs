//! Work on files, on all cores.

use crate::models::threads;

/// What `work` gives for each of some things, in their order, or the first of its errors.
pub(crate) fn each<T: Send, R: Send>(
    things: Vec<T>,
    work: impl Fn(T) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    threads::allow(cores, || threads::map(things, work)).into_iter().collect()
}
