//! One allocation for equal values.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// Values of which equal ones are shared. One that nobody else has any more goes when the pool has
/// grown to twice its size after the last time.
#[derive(Debug)]
pub(super) struct Interned<T> {
    values: HashSet<Arc<T>, RandomState>,
    /// What was shared last, as it was given and as it is.
    last: Option<[Arc<T>; 2]>,
    /// The size at which to look for values that are not used.
    clean_at: usize,
}

const SMALLEST: usize = 64;

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self {
            values: HashSet::default(),
            last: None,
            clean_at: SMALLEST,
        }
    }
}

impl<T: Eq + Hash> Interned<T> {
    /// The shared value that equals this one.
    pub(super) fn get(&mut self, value: T) -> Arc<T> {
        match self.values.get(&value) {
            Some(shared) => Arc::clone(shared),
            None => self.add(Arc::new(value)),
        }
    }

    /// The same for a value that is ready to be shared.
    pub(super) fn share(&mut self, value: &Arc<T>) -> Arc<T> {
        if let Some([given, shared]) = &self.last
            && Arc::ptr_eq(given, value)
        {
            return Arc::clone(shared);
        }
        let shared = match self.values.get(value) {
            Some(shared) => Arc::clone(shared),
            None => self.add(Arc::clone(value)),
        };
        self.last = Some([Arc::clone(value), Arc::clone(&shared)]);
        shared
    }

    fn add(&mut self, value: Arc<T>) -> Arc<T> {
        if self.values.len() >= self.clean_at {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.clean_at = SMALLEST.max(self.values.len().saturating_mul(2));
        }
        self.values.insert(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_those_that_nobody_has_go() {
        let mut pool = Interned::default();
        let kept = pool.get(0);
        for number in 1..100_000 {
            pool.get(number);
            assert!(pool.values.len() <= SMALLEST + 1);
        }
        assert!(Arc::ptr_eq(&kept, &pool.get(0)));
    }
}
