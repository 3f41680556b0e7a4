//! Percentiles and medians.

use std::time::Duration;

/// The value that `percent` of the samples do not exceed (nearest rank); `None` without samples.
pub(crate) fn percentile(samples: &mut [Duration], percent: usize) -> Option<Duration> {
    samples.sort_unstable();
    let rank = (samples.len() * percent).div_ceil(100).max(1);
    samples.get(rank - 1).copied()
}

/// The middle value, or the mean of the middle two; `None` without values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_percentile_is_a_sample_that_was_measured() {
        let mut hundred = millis((1..=100).rev());
        assert_eq!(
            percentile(&mut hundred, 50),
            Some(Duration::from_millis(50))
        );
        assert_eq!(
            percentile(&mut hundred, 99),
            Some(Duration::from_millis(99))
        );
        assert_eq!(
            percentile(&mut hundred, 100),
            Some(Duration::from_millis(100))
        );
    }

    #[test]
    fn of_few_samples_the_99th_percentile_is_the_greatest() {
        let mut few = millis([7, 1, 3]);
        assert_eq!(percentile(&mut few, 99), Some(Duration::from_millis(7)));
        assert_eq!(percentile(&mut few, 0), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&mut [], 50), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
