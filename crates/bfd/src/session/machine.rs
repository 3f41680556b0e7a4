//! What a received state does to the own one (RFC 5880 6.2 and 6.8.6).
//!
//! ```text
//!                             +--+
//!                             |  | UP, ADMIN DOWN, TIMER
//!                             |  V
//!                     DOWN  +------+  INIT
//!              +------------|      |------------+
//!              |            | DOWN |            |
//!              |  +-------->|      |<--------+  |
//!              |  |         +------+         |  |
//!              |  |                          |  |
//!              |  |               ADMIN DOWN,|  |
//!              |  |ADMIN DOWN,          DOWN,|  |
//!              |  |TIMER                TIMER|  |
//!              V  |                          |  V
//!            +------+                      +------+
//!       +----|      |                      |      |----+
//!   DOWN|    | INIT |--------------------->|  UP  |    |INIT, UP
//!       +--->|      | INIT, UP             |      |<---+
//!            +------+                      +------+
//! ```

use crate::State;

/// The state after a packet with the `received` state; the same if nothing changes.
pub(super) const fn next(own: State, received: State) -> State {
    match (own, received) {
        (State::AdminDown, _) => State::AdminDown,
        (_, State::AdminDown) | (State::Up, State::Down) | (State::Down, State::Up) => State::Down,
        (State::Down | State::Init, State::Down) => State::Init,
        (State::Down | State::Init | State::Up, State::Init) | (_, State::Up) => State::Up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_with_every_received_state_goes_where_the_rfc_says() {
        use State::{AdminDown, Down, Init, Up};
        let table = [
            // own, then the next after AdminDown, Down, Init and Up.
            (AdminDown, [AdminDown, AdminDown, AdminDown, AdminDown]),
            (Down, [Down, Init, Up, Down]),
            (Init, [Down, Init, Up, Up]),
            (Up, [Down, Down, Up, Up]),
        ];
        assert_eq!(table.map(|(own, _)| own), State::ALL);
        for (own, expected) in table {
            for (received, expected) in State::ALL.into_iter().zip(expected) {
                assert_eq!(next(own, received), expected, "{own} receives {received}");
            }
        }
    }
}
