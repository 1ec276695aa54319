//! Threads within one fit. What is done side by side is parted the same way whatever their number, and joined in one
//! order, so that they change how long it takes and nothing else.

use std::{
    cell::Cell,
    sync::{Mutex, PoisonError},
};

thread_local! {
    static ALLOWED: Cell<usize> = const { Cell::new(1) };
}

/// Does some work whose fits may each use so many threads; without this they use one.
pub fn allow<T>(threads: usize, work: impl FnOnce() -> T) -> T {
    let before = ALLOWED.replace(threads.max(1));
    let done = work();
    ALLOWED.set(before);
    done
}

/// How many threads a fit may use here.
pub(super) fn allowed() -> usize {
    ALLOWED.get()
}

/// Does a job for each item and gives what each gave, in their order.
///
/// # Panics
/// When a job does.
pub fn map<I: Send, T: Send>(items: Vec<I>, job: impl Fn(I) -> T + Sync) -> Vec<T> {
    let threads = allowed().min(items.len());
    if threads < 2 {
        return items.into_iter().map(job).collect();
    }
    let mut done: Vec<Option<T>> = items.iter().map(|_| None).collect();
    let queue = Mutex::new(items.into_iter().zip(&mut done));
    let work = || {
        loop {
            // Taken under the lock, done without it.
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((item, place)) = next else { return };
            *place = Some(job(item));
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| {
            scope.spawn(work);
        });
        work();
    });
    drop(queue);
    done.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_do_each_job_once_and_keep_their_order() {
        let squares = |threads| allow(threads, || map((0..1000_u64).collect(), |x| x * x));
        assert_eq!(squares(1), squares(3));
        assert_eq!(squares(3)[999], 998_001);
        assert_eq!(allow(4, allowed), 4);
        assert_eq!(allowed(), 1);
    }
}
