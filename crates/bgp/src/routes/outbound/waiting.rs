//! Prefixes that wait, in lists of those of which the same is said.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// No prefix has this number.
const END: u32 = u32::MAX;

/// Lists of numbers, each number in one of them at most. All lists are linked through one array, so
/// that a number moves from one to another without a search, and a list costs nothing but its ends.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lists: BTreeMap<u32, List>,
    /// By the numbers; of those in no list it does not matter what they say.
    links: Vec<Link>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

/// The neighbours of a number in its list.
#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

impl Link {
    const ALONE: Self = Self {
        before: END,
        after: END,
    };
}

impl Waiting {
    /// How many numbers are in some list.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first place that has a list.
    pub(super) fn first_place(&self) -> Option<u32> {
        self.lists.first_key_value().map(|(place, _)| *place)
    }

    /// The numbers at a place, in the order in which they came there.
    pub(super) fn at(&self, place: u32) -> impl Iterator<Item = u32> + '_ {
        let first = self.lists.get(&place).map(|list| list.first);
        std::iter::successors(first, |index| {
            let after = self.link(*index).after;
            (after != END).then_some(after)
        })
    }

    /// Puts a number that is in no list at the end of the one at `place`.
    pub(super) fn push(&mut self, place: u32, index: u32) {
        let before = match self.lists.entry(place) {
            Entry::Occupied(mut list) => std::mem::replace(&mut list.get_mut().last, index),
            Entry::Vacant(new) => {
                new.insert(List {
                    first: index,
                    last: index,
                });
                END
            }
        };
        let at = index as usize;
        if self.links.len() <= at {
            self.links.resize(at + 1, Link::ALONE);
        }
        if let Some(link) = self.links.get_mut(at) {
            *link = Link { before, after: END };
        }
        if let Some(link) = self.links.get_mut(before as usize) {
            link.after = index;
        }
        self.len += 1;
    }

    /// Takes a number out of the list at `place`, in which it is.
    pub(super) fn remove(&mut self, place: u32, index: u32) {
        let Link { before, after } = self.link(index);
        if let Some(link) = self.links.get_mut(before as usize) {
            link.after = after;
        }
        if let Some(link) = self.links.get_mut(after as usize) {
            link.before = before;
        }
        let Entry::Occupied(mut list) = self.lists.entry(place) else {
            return;
        };
        match (before, after) {
            (END, END) => {
                list.remove();
            }
            (END, _) => list.get_mut().first = after,
            (_, END) => list.get_mut().last = before,
            _ => {}
        }
        self.len -= 1;
    }

    /// Takes the first number out of the list at `place`.
    pub(super) fn pop(&mut self, place: u32) -> Option<u32> {
        let first = self.lists.get(&place)?.first;
        self.remove(place, first);
        Some(first)
    }

    fn link(&self, index: u32) -> Link {
        let link = self.links.get(index as usize);
        link.copied().unwrap_or(Link::ALONE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// To this place, from where it is.
        Move(u32, u32),
        Remove(u32),
        Pop,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..4_u32, 0..20_u32).prop_map(|(place, index)| Step::Move(place, index)),
            2 => (0..20_u32).prop_map(Step::Remove),
            2 => Just(Step::Pop),
        ]
    }

    proptest! {
        #[test]
        fn lists_are_as_if_each_were_kept_by_itself(
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let mut waiting = Waiting::default();
            let mut model: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            for step in steps {
                let number = match step {
                    Step::Move(_, index) | Step::Remove(index) => Some(index),
                    Step::Pop => None,
                };
                let place = model.iter().find(|(_, list)| list.iter().any(|n| Some(*n) == number));
                if let (Some(place), Some(index)) = (place.map(|(place, _)| *place), number) {
                    waiting.remove(place, index);
                    model.entry(place).or_default().retain(|n| *n != index);
                }
                match step {
                    Step::Move(place, index) => {
                        waiting.push(place, index);
                        model.entry(place).or_default().push(index);
                    }
                    Step::Remove(_) => {}
                    Step::Pop => {
                        let first = waiting.first_place();
                        let popped = first.and_then(|place| waiting.pop(place));
                        let expected = first.and_then(|place| {
                            let list = model.get_mut(&place)?;
                            (!list.is_empty()).then(|| list.remove(0))
                        });
                        prop_assert_eq!(popped, expected);
                    }
                }
                model.retain(|_, list| !list.is_empty());
                prop_assert_eq!(waiting.first_place(), model.keys().next().copied());
                prop_assert_eq!(waiting.len(), model.values().map(Vec::len).sum::<usize>());
                for place in 0..4 {
                    let expected = model.get(&place).cloned().unwrap_or_default();
                    prop_assert_eq!(waiting.at(place).collect::<Vec<_>>(), expected);
                }
            }
        }
    }
}
