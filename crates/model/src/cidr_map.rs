//! A map by prefix in which neighbours are near each other.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use foldhash::quality::{FoldHasher, RandomState};

use crate::Cidr;

/// Values by prefix. Pools give out neighbours one after the other, and mostly they change together:
/// here they are in the same lines of the cache.
pub type CidrMap<V> = HashMap<Cidr, V, Neighbours>;

/// How many low bits of an address do not scatter it: 64 prefixes of one length are together.
const NEAR: u32 = 6;

/// Makes the hashes of a [`CidrMap`].
#[derive(Debug, Clone, Default)]
pub struct Neighbours(RandomState);

impl BuildHasher for Neighbours {
    type Hasher = NeighbourHasher;

    fn build_hasher(&self) -> NeighbourHasher {
        NeighbourHasher {
            far: self.0.build_hasher(),
            near: 0,
        }
    }
}

/// Hashes one prefix.
pub struct NeighbourHasher {
    far: FoldHasher<'static>,
    near: u64,
}

impl Hasher for NeighbourHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.far.write(bytes);
    }

    fn write_u16(&mut self, number: u16) {
        self.far.write_u16(number);
    }

    fn write_u128(&mut self, number: u128) {
        let far = number >> NEAR;
        self.near = u64::try_from(number ^ (far << NEAR)).unwrap_or_default();
        self.far.write_u128(far);
    }

    fn finish(&self) -> u64 {
        // The map finds the place by the lowest bits, and by the highest seven it tells entries apart.
        self.far.finish() ^ self.near ^ self.near.rotate_right(7)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    fn prefix(address: impl Into<IpAddr>, length: u8) -> Cidr {
        Cidr::new(address.into(), length).expect("a valid length")
    }

    fn v4(number: u32) -> Cidr {
        prefix(Ipv4Addr::from_bits(number), 32)
    }

    #[test]
    fn neighbours_are_near_and_told_apart() {
        let hash = Neighbours::default();
        let all: Vec<u64> = (0..64)
            .map(|n| hash.hash_one(v4(0x1400_0000 + n)))
            .collect();
        let of = |part: fn(&u64) -> u64| all.iter().map(part).collect::<HashSet<_>>().len();
        assert_eq!(of(|hash| hash & 63), 64, "each has a place of its own");
        assert_eq!(of(|hash| hash >> 6 & 0xfff), 1, "all places are together");
        assert_eq!(of(|hash| hash >> 57), 64);
    }

    /// The most entries that want to be in one of `1 << bits` parts of a map.
    fn most(prefixes: impl Iterator<Item = Cidr>, bits: u32) -> usize {
        let hash = Neighbours::default();
        let mut parts = vec![0; 1 << bits];
        for prefix in prefixes {
            let part = hash.hash_one(prefix) & ((1 << bits) - 1);
            parts[usize::try_from(part).expect("few bits")] += 1;
        }
        parts.into_iter().max().expect("there are parts")
    }

    #[test]
    fn prefixes_at_regular_distances_are_scattered() {
        // On the average there are four in each part.
        for distance in [1, 2, 16, 64, 256, 4096] {
            let numbers = (0..4096).map(|n| n * distance);
            let found = most(numbers.clone().map(v4), 10);
            assert!(found < 40, "{found} of {distance}");
            let v6 = |n| prefix(Ipv6Addr::from_bits(u128::from(n) << 64), 64);
            let found = most(numbers.map(v6), 10);
            assert!(found < 40, "{found} of {distance}");
        }
        let lengths = (8..=32).map(|length| prefix(Ipv4Addr::new(10, 0, 0, 0), length));
        assert!(most(lengths, 4) < 12);
    }
}
