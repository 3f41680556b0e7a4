//! Weights for routers that spread flows over several nodes: few values, and few changes of them.

use std::time::{Duration, Instant};

/// The weight for a number of endpoints: exact below 8, above that with three significant binary
/// digits, so at most an eighth off. Then of many endpoints one more or less mostly changes nothing.
/// Never 0: a node that announces gets traffic.
pub fn quantise(endpoints: u32) -> u32 {
    const DIGITS: u32 = 3;
    let digits = u32::BITS - endpoints.leading_zeros();
    let drop = digits.saturating_sub(DIGITS);
    let half = (1 << drop) >> 1;
    let rounded = endpoints.saturating_add(half) >> drop << drop;
    rounded.max(1)
}

/// Keeps a weight from changing more than once in so long.
const HOLD: Duration = Duration::from_secs(5);

/// Lets a weight change at once if it has not changed for five seconds, and otherwise when those
/// are over, to what it is then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Damper {
    shown: Option<(u32, Instant)>,
}

/// What a [`Damper`] shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damped {
    /// The weight.
    pub weight: u32,
    /// When to ask again, if it is not the one that was wanted.
    pub again: Option<Instant>,
}

impl Damper {
    /// The weight to show at `now`, if `wanted` is what it should be.
    pub fn show(&mut self, now: Instant, wanted: u32) -> Damped {
        if let Some((weight, since)) = self.shown {
            let again = since + HOLD;
            if weight == wanted || now < again {
                let again = (weight != wanted).then_some(again);
                return Damped { weight, again };
            }
        }
        self.shown = Some((wanted, now));
        Damped {
            weight: wanted,
            again: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weights_are_exact_while_small_and_coarse_when_large() {
        let weights: Vec<_> = (0..=20).map(quantise).collect();
        assert_eq!(
            weights,
            [
                1, 1, 2, 3, 4, 5, 6, 7, 8, 10, 10, 12, 12, 14, 14, 16, 16, 16, 20, 20, 20
            ]
        );
        assert_eq!(quantise(100), 96);
        assert_eq!(quantise(u32::MAX), 7 << 29);
    }

    #[test]
    fn the_first_change_comes_at_once_and_the_last_of_many_in_time() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let shown = |weight, again| Damped { weight, again };
        let mut damper = Damper::default();
        assert_eq!(damper.show(start, 3), shown(3, None));
        assert_eq!(damper.show(after(1), 4), shown(3, Some(after(5))));
        assert_eq!(damper.show(after(2), 9), shown(3, Some(after(5))));
        assert_eq!(damper.show(after(3), 3), shown(3, None));
        assert_eq!(damper.show(after(4), 2), shown(3, Some(after(5))));
        assert_eq!(damper.show(after(5), 2), shown(2, None));
        assert_eq!(damper.show(after(6), 7), shown(2, Some(after(10))));
        assert_eq!(damper.show(after(60), 8), shown(8, None));
    }

    proptest! {
        #[test]
        fn a_weight_is_at_most_an_eighth_off_and_grows_with_the_endpoints(n in 1..u32::MAX / 2) {
            let weight = quantise(n);
            prop_assert!(weight.abs_diff(n) <= n / 8 + 1, "{weight}");
            prop_assert!(weight <= quantise(n + 1));
        }

        #[test]
        fn a_weight_changes_at_most_once_in_a_hold(steps in prop::collection::vec((0..3000_u64, 1..5_u32), 1..40)) {
            let (mut now, mut damper) = (Instant::now(), Damper::default());
            let mut changes: Vec<Instant> = Vec::new();
            let mut last = None;
            for (milliseconds, wanted) in steps {
                now += Duration::from_millis(milliseconds);
                let damped = damper.show(now, wanted);
                prop_assert_eq!(damped.again.is_none(), damped.weight == wanted);
                prop_assert!(damped.again.is_none_or(|again| again > now));
                if last != Some(damped.weight) {
                    changes.push(now);
                    last = Some(damped.weight);
                }
            }
            prop_assert!(changes.windows(2).all(|pair| pair[1] - pair[0] >= HOLD));
        }
    }
}
