//! How many of the speakers that there should be are in the group.

use std::cmp::Ordering;

use herald_model::Standing;

/// A count of speakers, this one included in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quorum {
    /// Those that are in the group.
    pub(crate) live: usize,
    /// Those that count.
    pub(crate) size: usize,
}

impl Quorum {
    pub(crate) fn standing(self) -> Standing {
        if self.size <= 1 {
            return Standing::Majority;
        }
        match (self.live * 2).cmp(&self.size) {
            Ordering::Greater => Standing::Majority,
            Ordering::Equal => Standing::Half,
            Ordering::Less => Standing::Minority,
        }
    }

    /// The same if one of the live ones were not there.
    pub(crate) fn without_one(self) -> Self {
        Self {
            live: self.live.saturating_sub(1),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_by_more_than_half_half_or_less() {
        let standing = |live, size| Quorum { live, size }.standing();
        assert_eq!(standing(1, 1), Standing::Majority);
        assert_eq!(standing(1, 2), Standing::Half);
        assert_eq!(standing(2, 2), Standing::Majority);
        assert_eq!(standing(1, 3), Standing::Minority);
        assert_eq!(standing(2, 3), Standing::Majority);
        assert_eq!(standing(2, 4), Standing::Half);
    }
}
