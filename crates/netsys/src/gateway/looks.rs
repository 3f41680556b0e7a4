//! When to look for the gateway though nothing was told.

use std::time::Duration;

use super::{Gateway, RETRY};
use crate::Error;

/// How often it is looked for.
const CHECK: Duration = Duration::from_mins(1);

/// The same for IPv6, of which all routes have to be read.
const CHECK_V6: Duration = Duration::from_mins(10);

/// The pauses between looks.
///
/// While routes of IPv6 change, the kernel may leave out some that were there all the time, and the
/// default route as well. So one that was there and is not found is looked for soon again, and then
/// ever less often.
#[derive(Debug)]
pub(super) struct Looks {
    usual: Duration,
    /// The next pause if there is no gateway.
    missing: Duration,
}

impl Looks {
    pub(super) fn new(v6: bool) -> Self {
        let usual = if v6 { CHECK_V6 } else { CHECK };
        Self {
            usual,
            missing: usual,
        }
    }

    /// The pause after a look that found this.
    pub(super) fn after(&mut self, found: &Result<Option<Gateway>, Error>) -> Duration {
        match found {
            Err(_) => RETRY,
            Ok(Some(_)) => {
                self.missing = RETRY;
                self.usual
            }
            Ok(None) => {
                let longer = (self.missing * 2).min(self.usual);
                std::mem::replace(&mut self.missing, longer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there() -> Gateway {
        Gateway {
            address: [10, 0, 0, 1].into(),
            interface: "eth0".to_owned(),
        }
    }

    fn broken() -> Error {
        crate::gateway::failed("dump of routes", &"broken")
    }

    #[test]
    fn a_gateway_that_was_there_is_looked_for_soon_and_then_ever_less_often() {
        let mut looks = Looks::new(true);
        for _ in 0..2 {
            assert_eq!(looks.after(&Ok(Some(there()))), CHECK_V6);
            let mut expected = RETRY;
            while expected < CHECK_V6 {
                assert_eq!(looks.after(&Ok(None)), expected);
                expected *= 2;
            }
            assert_eq!(looks.after(&Ok(None)), CHECK_V6);
            assert_eq!(looks.after(&Ok(None)), CHECK_V6);
        }
    }

    #[test]
    fn one_that_never_was_there_is_not_looked_for_more_often_than_one_that_is() {
        for (v6, usual) in [(false, CHECK), (true, CHECK_V6)] {
            let mut looks = Looks::new(v6);
            for found in [None, None, Some(there()), Some(there())] {
                assert_eq!(looks.after(&Ok(found)), usual);
            }
        }
    }

    #[test]
    fn a_look_that_failed_says_nothing_of_what_is_there() {
        let mut looks = Looks::new(true);
        assert_eq!(looks.after(&Ok(Some(there()))), CHECK_V6);
        for found in [Err(broken()), Ok(None), Err(broken())] {
            assert_eq!(looks.after(&found), RETRY);
        }
        assert_eq!(looks.after(&Ok(None)), RETRY * 2);
    }
}
