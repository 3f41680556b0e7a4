//! Which counters of a session were received: a sliding window (as in RFC 6479).

/// How many counters below the greatest are told apart.
const WIDTH: u64 = 128;

/// Counters received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    greatest: u64,
    /// Bit n: `greatest - n` was received.
    seen: u128,
}

impl Window {
    /// Nothing was received, and nothing up to `floor` will be taken.
    pub(crate) fn above(floor: u64) -> Self {
        Self {
            greatest: floor,
            seen: u128::MAX,
        }
    }

    /// The greatest counter that was received.
    pub(crate) fn greatest(self) -> u64 {
        self.greatest
    }

    /// True if it was not received before for certain.
    pub(crate) fn is_new(self, counter: u64) -> bool {
        match self.greatest.checked_sub(counter) {
            None => true,
            Some(age) => age < WIDTH && self.seen & (1 << age) == 0,
        }
    }

    /// Notes that it was received.
    pub(crate) fn mark(&mut self, counter: u64) {
        if counter > self.greatest {
            let ahead = counter - self.greatest;
            self.seen = if ahead < WIDTH { self.seen << ahead } else { 0 };
            self.greatest = counter;
            self.seen |= 1;
        } else {
            let age = self.greatest - counter;
            if age < WIDTH {
                self.seen |= 1 << age;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn takes_no_counter_twice_and_none_up_to_its_floor(
            floor in 0_u64..300,
            counters in proptest::collection::vec(0_u64..600, 0..200),
        ) {
            let mut window = Window::above(floor);
            let mut taken = std::collections::BTreeSet::new();
            for counter in counters {
                if window.is_new(counter) {
                    prop_assert!(counter > floor);
                    prop_assert!(taken.insert(counter));
                    window.mark(counter);
                } else {
                    let far_behind = window.greatest() >= counter + WIDTH;
                    prop_assert!(taken.contains(&counter) || counter <= floor || far_behind);
                }
            }
        }
    }
}
