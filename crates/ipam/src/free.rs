//! The free addresses of one prefix, as ranges.

use std::collections::BTreeMap;

use herald_model::{Cidr, IpFamily};

/// What is free of one prefix: disjoint ranges, first to last (both included), so that size costs
/// nothing and the lowest free address is the start of the first range.
///
/// Where buggy addresses are avoided no range starts or ends with one, and two ranges never have
/// only buggy addresses between them. The lowest usable address is then still the first start, and
/// a prefix whose every usable address is taken has no range, however many .0 and .255 it has.
#[derive(Debug, Clone)]
pub(crate) struct FreeSpace {
    cidr: Cidr,
    avoid_buggy: bool,
    ranges: BTreeMap<u128, u128>,
}

/// True for an IPv4 address that ends in .0 or .255 (compat.md 1.1, `avoidBuggyIPs`).
pub(crate) fn is_buggy(family: IpFamily, number: u128) -> bool {
    family == IpFamily::V4 && matches!(number & 0xff, 0 | 0xff)
}

impl FreeSpace {
    /// All of `cidr`.
    pub(crate) fn new(cidr: Cidr, avoid_buggy: bool) -> Self {
        let mut space = Self {
            cidr,
            avoid_buggy,
            ranges: BTreeMap::new(),
        };
        space.insert(Some(cidr.first_number()), Some(cidr.last_number()));
        space
    }

    /// True if `number` may be given out at all.
    pub(crate) fn usable(&self, number: u128) -> bool {
        !self.skips(number)
    }

    /// How many addresses may be given out; `u128::MAX` also stands for the 2^128 of `::/0`.
    pub(crate) fn size(&self) -> u128 {
        let (first, last) = (self.cidr.first_number(), self.cidr.last_number());
        let all = (last - first).saturating_add(1);
        if !self.avoid_buggy || self.cidr.family() == IpFamily::V6 {
            return all;
        }
        let buggy = if self.cidr.prefix_len() <= 24 {
            all / 256 * 2
        } else if first == last {
            u128::from(self.skips(first))
        } else {
            // Within a /25 or longer only the ends can be .0 or .255.
            u128::from(self.skips(first)) + u128::from(self.skips(last))
        };
        all - buggy
    }

    /// The lowest free address.
    pub(crate) fn first(&self) -> Option<u128> {
        self.ranges.first_key_value().map(|(&start, _)| start)
    }

    /// Takes `number` out of the free addresses.
    pub(crate) fn take(&mut self, number: u128) {
        let Some((&start, &end)) = self.ranges.range(..=number).next_back() else {
            return;
        };
        if number > end || !self.usable(number) {
            return;
        }
        self.ranges.remove(&start);
        self.insert(Some(start), number.checked_sub(1));
        self.insert(number.checked_add(1), Some(end));
    }

    /// Puts `number` back and joins it with the ranges beside it.
    pub(crate) fn give(&mut self, number: u128) {
        if !self.usable(number) {
            return;
        }
        let (mut start, mut end) = (number, number);
        if let Some((&before, &last)) = self.ranges.range(..=number).next_back() {
            if last >= number {
                return;
            }
            if self.nothing_usable_between(last, number) {
                self.ranges.remove(&before);
                start = before;
            }
        }
        if let Some((&after, &last)) = self.ranges.range(number..).next()
            && self.nothing_usable_between(number, after)
        {
            self.ranges.remove(&after);
            end = last;
        }
        self.ranges.insert(start, end);
    }

    fn skips(&self, number: u128) -> bool {
        self.avoid_buggy && is_buggy(self.cidr.family(), number)
    }

    /// True if no address lies strictly between the two, or only ones that are never given.
    fn nothing_usable_between(&self, low: u128, high: u128) -> bool {
        // At most .255 and .0 are neighbours, so a wider gap has a usable address in it.
        let gap = high - low - 1;
        gap <= 2 && (1..=gap).all(|step| self.skips(low + step))
    }

    /// Adds a range without buggy ends; nothing if either end is missing or nothing is left.
    fn insert(&mut self, start: Option<u128>, end: Option<u128>) {
        let (Some(mut start), Some(mut end)) = (start, end) else {
            return;
        };
        while start <= end && self.skips(start) {
            start += 1;
        }
        while end > start && self.skips(end) {
            end -= 1;
        }
        if start <= end {
            self.ranges.insert(start, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn space(cidr: &str, avoid_buggy: bool) -> FreeSpace {
        FreeSpace::new(cidr.parse().expect(cidr), avoid_buggy)
    }

    #[test]
    fn the_whole_of_ipv6_is_an_ordinary_prefix() {
        let mut all = space("::/0", false);
        assert_eq!(all.size(), u128::MAX);
        all.take(0);
        all.take(u128::MAX);
        all.take(7);
        assert_eq!(all.first(), Some(1));
        all.give(u128::MAX);
        all.give(0);
        all.give(7);
        assert_eq!(all.ranges, BTreeMap::from([(0, u128::MAX)]));
    }

    #[test]
    fn the_whole_of_ipv4_without_buggy_addresses_is_one_range() {
        let all = space("0.0.0.0/0", true);
        assert_eq!(all.size(), (1 << 32) - (1 << 25));
        assert_eq!(all.ranges, BTreeMap::from([(1, 0xffff_fffe)]));
    }

    #[test]
    fn a_prefix_with_only_buggy_addresses_has_no_size() {
        for cidr in ["192.0.2.0/32", "192.0.2.255/32"] {
            assert_eq!(space(cidr, true).size(), 0, "{cidr}");
            assert_eq!(space(cidr, true).first(), None, "{cidr}");
            assert_eq!(space(cidr, false).size(), 1, "{cidr}");
        }
        assert_eq!(space("192.0.2.0/31", true).size(), 1);
        assert_eq!(space("192.0.2.128/25", true).size(), 127);
        assert_eq!(space("2001:db8::/120", true).size(), 256);
    }

    proptest! {
        #[test]
        fn ranges_say_what_a_set_of_addresses_says(
            avoid: bool,
            steps in proptest::collection::vec((any::<bool>(), 0_u32..1024), 0..400),
        ) {
            let mut ranges = space("10.0.4.0/22", avoid);
            let base = ranges.cidr.first_number();
            let mut set: BTreeSet<u128> = (base..base + 1024)
                .filter(|&n| !avoid || !is_buggy(IpFamily::V4, n))
                .collect();
            prop_assert_eq!(ranges.size(), set.len() as u128);
            for (take, offset) in steps {
                let number = base + u128::from(offset);
                if take {
                    set.remove(&number);
                    ranges.take(number);
                } else if ranges.usable(number) {
                    set.insert(number);
                    ranges.give(number);
                }
                prop_assert_eq!(ranges.first(), set.first().copied());
            }
            let listed: BTreeSet<u128> = ranges.ranges.iter()
                .flat_map(|(&start, &end)| start..=end)
                .filter(|&n| ranges.usable(n))
                .collect();
            prop_assert_eq!(&listed, &set);
            // Ranges are as few as can be, so that history leaves no litter behind.
            let pairs: Vec<_> = ranges.ranges.iter().map(|(&s, &e)| (s, e)).collect();
            for pair in pairs.windows(2) {
                prop_assert!(!ranges.nothing_usable_between(pair[0].1, pair[1].0));
            }
        }
    }
}
