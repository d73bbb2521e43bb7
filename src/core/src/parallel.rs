//! One function over many items, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What `of` gives for each item, in their order. Whoever is free takes the next one.
pub fn on_all_cores<T: Sync, R: Send>(items: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
    on_all_cores_with(items, || (), |(), item| of(item))
}

/// The same where a worker needs something of its own that can be used again for its next item.
pub fn on_all_cores_with<T: Sync, R: Send, S>(
    items: &[T],
    own: impl Fn() -> S + Sync,
    of: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut own, mut done) = (own(), Vec::new());
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            done.push((at, of(&mut own, item)));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let mut all: Vec<(usize, R)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        // A panic of a worker is one of the caller.
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_their_items() {
        let items: Vec<u64> = (0..1000).collect();
        assert_eq!(on_all_cores(&items, |item| item * item), items.iter().map(|item| item * item).collect::<Vec<_>>());
        assert!(on_all_cores(&[] as &[u64], |item| *item).is_empty());
    }

    #[test]
    fn a_worker_keeps_what_is_its_own() {
        let seen = on_all_cores_with(
            &[(); 100],
            || 0,
            |count, ()| {
                *count += 1;
                *count
            },
        );
        let workers = seen.iter().filter(|count| **count == 1).count();
        let most = thread::available_parallelism().map_or(1, usize::from);
        assert!((1..=most).contains(&workers), "{seen:?}");
    }
}
