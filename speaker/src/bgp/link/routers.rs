//! The routers that are heard on a link.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// How many are remembered: on a link with an unnumbered peer there is one.
const MOST: usize = 16;

/// How long one that is no default router is believed to be there (the default lifetime of RFC 4861
/// section 6.2.1).
const NO_LIFETIME: Duration = Duration::from_mins(30);

/// How long one may be silent until another one takes its place. Routers with unnumbered peers
/// advertise every ten seconds.
const SILENT: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Routers {
    heard: BTreeMap<Ipv6Addr, Heard>,
    current: Option<Ipv6Addr>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    until: Instant,
}

impl Routers {
    /// One has advertised, with this lifetime in seconds.
    pub(super) fn hear(&mut self, now: Instant, from: Ipv6Addr, lifetime: u16) {
        if self.heard.len() >= MOST && !self.heard.contains_key(&from) {
            return;
        }
        let lifetime = match lifetime {
            0 => NO_LIFETIME,
            seconds => Duration::from_secs(seconds.into()),
        };
        let until = now + lifetime;
        self.heard.insert(from, Heard { at: now, until });
        let current = self.current.and_then(|current| self.heard.get(&current));
        if current.is_none_or(|heard| now.saturating_duration_since(heard.at) > SILENT) {
            self.current = Some(from);
        }
    }

    /// Forgets those whose lifetime is over.
    pub(super) fn expire(&mut self, now: Instant) {
        self.heard.retain(|_, heard| heard.until > now);
        if self
            .current
            .is_some_and(|current| self.heard.contains_key(&current))
        {
            return;
        }
        let newest = self.heard.iter().max_by_key(|(_, heard)| heard.at);
        self.current = newest.map(|(address, _)| *address);
    }

    /// The one that is the peer: it stays so while it is heard.
    pub(super) fn current(&self) -> Option<Ipv6Addr> {
        self.current
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.heard.values().map(|heard| heard.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(n: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n)
    }

    #[test]
    fn a_router_is_known_until_its_lifetime_is_over() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut routers = Routers::default();
        assert_eq!(routers.current(), None);
        routers.hear(start, router(1), 30);
        routers.hear(after(10), router(1), 30);
        assert_eq!(routers.next_timeout(), Some(after(40)));
        routers.expire(after(39));
        assert_eq!(routers.current(), Some(router(1)));
        routers.expire(after(40));
        assert_eq!((routers.current(), routers.next_timeout()), (None, None));
        // One that is no default router is a peer all the same.
        routers.hear(start, router(1), 0);
        routers.expire(after(1799));
        assert_eq!(routers.current(), Some(router(1)));
        routers.expire(after(1800));
        assert_eq!(routers.current(), None);
    }

    #[test]
    fn the_first_of_two_stays_while_it_is_heard() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut routers = Routers::default();
        for tens in 0..4 {
            routers.hear(after(10 * tens), router(1), 1800);
            routers.hear(after(10 * tens + 1), router(2), 1800);
            assert_eq!(routers.current(), Some(router(1)));
        }
        // It has been replaced.
        routers.hear(after(51), router(2), 1800);
        assert_eq!(routers.current(), Some(router(1)));
        routers.hear(after(61), router(2), 1800);
        assert_eq!(routers.current(), Some(router(2)));
        // And its place is taken at once when its lifetime ends.
        routers.hear(after(62), router(3), 10);
        routers.hear(after(62), router(2), 5);
        routers.expire(after(67));
        assert_eq!(
            routers.current(),
            Some(router(3)),
            "the last that was heard"
        );
    }

    #[test]
    fn a_flood_of_routers_is_not_remembered() {
        let now = Instant::now();
        let mut routers = Routers::default();
        for n in 0..1000 {
            routers.hear(now, router(n), 1800);
        }
        assert_eq!(routers.heard.len(), MOST);
        assert_eq!(routers.current(), Some(router(0)));
    }
}
