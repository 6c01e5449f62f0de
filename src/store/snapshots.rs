//! Tracks the live snapshots of a memory, so that rows that they can see are not overwritten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::sync::lock;

/// The snapshots of one memory that are alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    /// The time of the next snapshot.
    next: u64,
    /// How many were taken at each time and are alive.
    alive: BTreeMap<u64, usize>,
}

/// The memory as it was when this was taken.
#[derive(Debug)]
pub(crate) struct Snapshot {
    of: Snapshots,
    at: u64,
}

impl Snapshots {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        lock(&self.0)
    }

    /// A snapshot of now.
    pub fn take(&self) -> Snapshot {
        let mut taken = self.taken();
        let at = taken.next;
        taken.next += 1;
        *taken.alive.entry(at).or_default() += 1;
        Snapshot { of: self.clone(), at }
    }

    /// Now: a row that is freed now is seen by the snapshots before.
    pub fn now(&self) -> u64 {
        self.taken().next
    }

    /// Whether some snapshot sees what is stored now.
    pub fn any(&self) -> bool {
        !self.taken().alive.is_empty()
    }

    /// The time of the oldest snapshot; rows that were freed before or then are seen by none.
    pub fn oldest(&self) -> u64 {
        self.taken().alive.keys().next().copied().unwrap_or(u64::MAX)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        if let Some(count) = taken.alive.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                taken.alive.remove(&self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_free_once_no_snapshot_sees_them() {
        let snapshots = Snapshots::default();
        assert_eq!((snapshots.any(), snapshots.oldest()), (false, u64::MAX));
        let first = snapshots.take();
        let freed = snapshots.now();
        let second = snapshots.take();
        assert!(snapshots.oldest() < freed, "the first sees it");
        drop(first);
        assert!(snapshots.oldest() >= freed && snapshots.any(), "the second does not");
        drop(second);
        assert!(!snapshots.any());
    }
}
