//! Writing what waits, as much as there is room for.

use super::{Outbound, Progress, Round, State, place_of};
use crate::routes::sets::NOTHING;
use crate::routes::slots::Slots;
use crate::routes::table::Written;
use crate::wire::{Family, RefreshKind, RouteRefresh};

impl Outbound {
    /// Appends messages until nothing waits or the budget is used up. The numbers of prefixes that
    /// nobody may need any more go to `withdrawn`.
    pub(in crate::routes) fn poll_messages(
        &mut self,
        slots: &mut Slots,
        complete: bool,
        budget: usize,
        buffer: &mut Vec<u8>,
    ) -> (Written, Vec<u32>) {
        let mut written = Written::default();
        let mut withdrawn = Vec::new();
        let end = buffer.len().saturating_add(budget);
        while buffer.len() < end {
            if self.write_mark(slots, complete, buffer, &mut written) {
                continue;
            }
            let Some(place) = self.pending.first_place() else {
                break;
            };
            self.write_update(place, slots, buffer, &mut written, &mut withdrawn);
        }
        (written, withdrawn)
    }

    /// Writes one message with what waits at `place`.
    fn write_update(
        &mut self,
        place: u32,
        slots: &mut Slots,
        buffer: &mut Vec<u8>,
        written: &mut Written,
        withdrawn: &mut Vec<u32>,
    ) {
        let writer = self.view.writer();
        let prefixes = self
            .pending
            .at(place)
            .filter_map(|index| Some(slots.get(index)?.prefix));
        let taken = match self.sets.get(place) {
            Some(attributes) => writer.announce(attributes, prefixes, buffer),
            None => writer.withdraw(prefixes, buffer),
        };
        let Ok(taken @ 1..) = taken else {
            self.give_up(place, slots, written);
            return;
        };
        written.updates += 1;
        for _ in 0..taken {
            let Some(index) = self.pending.pop(place) else {
                return;
            };
            if self.told_now(index, slots) {
                written.announced += 1;
            } else {
                written.withdrawn += 1;
                withdrawn.push(index);
            }
        }
    }

    /// The peer has just been told of a prefix. True if it was announced, false if withdrawn.
    fn told_now(&mut self, index: u32, slots: &mut Slots) -> bool {
        let (Some(state), Some(slot)) = (self.states.get_mut(index as usize), slots.get_mut(index))
        else {
            return false;
        };
        let family = Family::of(slot.prefix);
        let State { sent, want, marked } = *state;
        state.sent = want;
        state.marked = false;
        let progress = self.progress.get_mut(family);
        progress.marked -= usize::from(marked);
        match (sent, want) {
            (NOTHING, NOTHING) => {}
            (NOTHING, _) => {
                slot.holders += 1;
                progress.told += 1;
            }
            (_, NOTHING) => {
                slot.holders = slot.holders.saturating_sub(1);
                progress.told -= 1;
            }
            _ => {}
        }
        self.sets.hold(want);
        self.sets.release(sent);
        want != NOTHING
    }

    /// No message has room for this: prefixes that the peer has must go, others are not told.
    fn give_up(&mut self, place: u32, slots: &Slots, written: &mut Written) {
        let hopeless: Vec<_> = self.pending.at(place).collect();
        for index in hopeless {
            written.unsendable += 1;
            if let Some(slot) = slots.get(index) {
                self.want(index, Family::of(slot.prefix), NOTHING);
            }
        }
        // A withdrawal that cannot be written is of a family that was never told.
        while self.pending.pop(place).is_some() {}
    }

    /// Begins and ends rounds. True if a message was written.
    fn write_mark(
        &mut self,
        slots: &Slots,
        complete: bool,
        buffer: &mut Vec<u8>,
        written: &mut Written,
    ) -> bool {
        for family in self.view.negotiated.families.iter() {
            let marks = self.view.negotiated.enhanced_route_refresh;
            let Progress {
                marked,
                round,
                asked,
                ..
            } = *self.progress.get(family);
            let mark = match round {
                Some(_) if marked > 0 => continue,
                // The peer would take what is to come yet for gone (RFC 4724 4.1).
                Some(Round::First) if !complete => continue,
                Some(Round::First) => {
                    self.progress.get_mut(family).round = None;
                    if self.view.writer().end_of_rib(family, buffer).is_ok() {
                        written.updates += 1;
                        return true;
                    }
                    continue;
                }
                Some(Round::Refresh) => {
                    self.progress.get_mut(family).round = None;
                    RefreshKind::End
                }
                None if asked => {
                    self.begin_refresh(family, slots);
                    RefreshKind::Begin
                }
                None => continue,
            };
            if marks {
                RouteRefresh::new(family, mark).encode(buffer);
                written.marks += 1;
                return true;
            }
        }
        false
    }

    /// All that the peer should have of a family waits to be told again.
    fn begin_refresh(&mut self, family: Family, slots: &Slots) {
        let mut marked = 0;
        for (index, slot) in slots.iter() {
            let Some(state) = self.states.get_mut(index as usize) else {
                break;
            };
            let unknown = state.want == NOTHING && state.sent == NOTHING;
            if unknown || Family::of(slot.prefix) != family {
                continue;
            }
            // Withdrawals belong to it, too: after its end the peer has dropped them by itself.
            let waits = state.is_pending();
            state.marked = true;
            marked += 1;
            if !waits {
                self.pending.push(place_of(state.want, family), index);
            }
        }
        let progress = self.progress.get_mut(family);
        progress.asked = false;
        progress.marked = marked;
        progress.round = Some(Round::Refresh);
    }
}
