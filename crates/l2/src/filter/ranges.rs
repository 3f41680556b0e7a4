//! Few ranges that cover many numbers.

/// The numbers from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) last: u32,
}

/// At most `limit` ascending, disjoint ranges that cover all numbers. As long as there are more,
/// the two with the smallest gap between them become one, so that the fewest other numbers are
/// let in.
pub(super) fn cover(numbers: impl IntoIterator<Item = u32>, limit: usize) -> Vec<Range> {
    let mut numbers: Vec<u32> = numbers.into_iter().collect();
    numbers.sort_unstable();
    numbers.dedup();

    // The widest gaps are those that remain; a gap is known by the number above it.
    let mut gaps: Vec<(u32, u32)> = numbers
        .iter()
        .zip(numbers.iter().skip(1))
        .map(|(below, above)| (above - below, *above))
        .filter(|(width, _)| *width > 1)
        .collect();
    gaps.sort_unstable_by_key(|&(width, above)| (std::cmp::Reverse(width), above));
    gaps.truncate(limit.saturating_sub(1));
    let mut starts: Vec<u32> = gaps.into_iter().map(|(_, above)| above).collect();
    starts.sort_unstable();

    let mut starts = starts.into_iter().peekable();
    let mut ranges: Vec<Range> = Vec::new();
    for number in numbers {
        let starts_here = starts.next_if_eq(&number).is_some();
        match ranges.last_mut() {
            Some(range) if !starts_here => range.last = number,
            _ => ranges.push(Range {
                first: number,
                last: number,
            }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(numbers: &[u32], limit: usize) -> Vec<(u32, u32)> {
        let ranges = cover(numbers.iter().copied(), limit);
        ranges.iter().map(|r| (r.first, r.last)).collect()
    }

    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(pairs(&[7, 5, 6, 6, 9], 9), [(5, 7), (9, 9)]);
        assert_eq!(pairs(&[], 9), []);
        assert_eq!(pairs(&[0, u32::MAX], 9), [(0, 0), (u32::MAX, u32::MAX)]);
    }

    #[test]
    fn the_closest_are_merged_when_there_are_too_many() {
        let numbers = [1, 10, 12, 100, 105, 200];
        assert_eq!(
            pairs(&numbers, 4),
            [(1, 1), (10, 12), (100, 105), (200, 200)]
        );
        assert_eq!(pairs(&numbers, 2), [(1, 105), (200, 200)]);
        assert_eq!(pairs(&numbers, 1), [(1, 200)]);
    }
}
