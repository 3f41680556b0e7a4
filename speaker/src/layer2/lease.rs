//! The permission to answer, which runs out by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use herald_runtime::supervise::TaskResult;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a lease is valid after it was renewed, unless made with another length.
const LENGTH: Duration = Duration::from_millis(300);

/// How often [`Lease::keep`] renews.
const PERIOD: Duration = Duration::from_millis(100);

/// Nothing is answered and nothing announced unless the lease is valid.
///
/// Whoever knows that this node is in the group renews it every time it runs. A process that was
/// stopped for a while finds the lease expired when it goes on, so that it answers none of the
/// questions that waited meanwhile: another node may have the addresses by now. Clones are the same
/// lease.
#[derive(Debug, Clone)]
pub struct Lease(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Times are counted from here.
    epoch: Instant,
    length: Duration,
    /// Milliseconds since `epoch` until which it is valid.
    until: AtomicU64,
    /// It was renewed after it had expired.
    revived: Notify,
}

impl Lease {
    /// A lease that is not valid until it is renewed, and for `length` then.
    pub fn new(length: Duration) -> Self {
        Self(Arc::new(Inner {
            epoch: Instant::now(),
            length,
            until: AtomicU64::new(0),
            revived: Notify::new(),
        }))
    }

    /// Makes it valid from `now` on for its length.
    pub fn renew(&self, now: Instant) {
        let until = self.millis(now + self.0.length);
        let before = self.0.until.swap(until, Ordering::AcqRel);
        if before <= self.millis(now) {
            self.0.revived.notify_one();
        }
    }

    /// Makes it invalid at once, until it is renewed.
    pub fn revoke(&self) {
        self.0.until.store(0, Ordering::Release);
    }

    /// True if answers may be given `now`.
    pub fn is_valid(&self, now: Instant) -> bool {
        self.millis(now) < self.0.until.load(Ordering::Acquire)
    }

    /// Renews it every 100 ms until `token` is cancelled: for a node that belongs to no group.
    pub async fn keep(self, token: CancellationToken) -> TaskResult {
        loop {
            self.renew(Instant::now());
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    /// Returns when it was renewed after it had expired, also if that was before the call. For one
    /// waiter; it may wake once in vain.
    pub(crate) async fn revived(&self) {
        self.0.revived.notified().await;
    }

    fn millis(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.0.epoch);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new(LENGTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_millis(300);

    #[test]
    fn it_is_valid_from_a_renewal_on_until_its_length_is_over() {
        let lease = Lease::new(LONG);
        let now = Instant::now();
        assert!(!lease.is_valid(now), "nobody renewed it");
        lease.renew(now);
        assert!(lease.is_valid(now));
        assert!(lease.is_valid(now + LONG * 9 / 10));
        assert!(!lease.is_valid(now + LONG));
        lease.renew(now + LONG);
        assert!(lease.is_valid(now + LONG));
    }

    #[test]
    fn it_ends_at_once_when_it_is_revoked() {
        let lease = Lease::default();
        let other = lease.clone();
        let now = Instant::now();
        lease.renew(now);
        other.revoke();
        assert!(!lease.is_valid(now));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_renewal_after_its_end_wakes_who_waits() {
        let woken = async |lease: &Lease| {
            tokio::time::timeout(Duration::from_millis(1), lease.revived())
                .await
                .is_ok()
        };
        let lease = Lease::new(LONG);
        let now = Instant::now();
        assert!(!woken(&lease).await);
        lease.renew(now);
        assert!(woken(&lease).await);
        lease.renew(now + LONG / 2);
        assert!(!woken(&lease).await, "it was valid all the time");
        lease.renew(now + LONG * 2);
        assert!(woken(&lease).await);
        lease.revoke();
        lease.renew(now + LONG * 2);
        assert!(woken(&lease).await);
    }

    #[tokio::test]
    async fn it_is_kept_until_the_token_is_cancelled() {
        let (lease, token) = (Lease::default(), CancellationToken::new());
        let kept = tokio::spawn(lease.clone().keep(token.clone()));
        tokio::time::timeout(Duration::from_secs(5), lease.revived())
            .await
            .expect("renewed");
        assert!(lease.is_valid(Instant::now()));
        token.cancel();
        kept.await.expect("no panic").expect("asked to end");
    }
}
