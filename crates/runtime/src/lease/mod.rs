//! Leader election by a Lease of `coordination.k8s.io/v1`.
//!
//! [`machine`] decides, this module reads and writes the Lease. What holds:
//! - A leader stops leading [`Timing::renew_deadline`] after it *sent* its last successful renewal;
//!   others take over no sooner than [`Timing::duration`] after they *saw* that renewal. Both are
//!   measured with the local monotonic clock, so wall clocks do not matter. [`Leadership`] looks at
//!   the clock itself, so a process that was stopped meanwhile knows it the moment it goes on.
//! - A leader that ends in order gives the Lease back, and a waiting candidate, which watches the
//!   Lease, takes it at once.
//! - The Lease belongs to the Deployment, if one is named, from when it is first taken on.

mod leadership;
mod machine;
#[cfg(test)]
mod owner_tests;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{Api, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watch_object};
use kube::{Client, ResourceExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use leadership::Leadership;
pub use machine::{Claim, Command, Elector, Input, Record, Timing};

use crate::backoff::{Backoff, QuietReset};
use crate::owner::Deployment;
use crate::supervise::TaskResult;

/// How long a request for the Lease may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// Pause between attempts to give the Lease back while it changes.
const CONFLICT_PAUSE: Duration = Duration::from_millis(50);

/// Takes part in the election for the Lease `name` in `namespace`.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    namespace: String,
    name: String,
    elector: Elector,
    leading: leadership::Publisher,
    deployment: Option<Deployment>,
}

impl Candidate {
    /// A candidate, and the view of whether it leads. It does nothing until [`run`](Self::run).
    ///
    /// It holds the Lease as `replica_suffix`, the suffix being random: two processes of one name
    /// (replicas on the network of one host) must not take each other's Lease for theirs.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        replica: &str,
        timing: Timing,
    ) -> (Self, Leadership) {
        let (leading, view) = leadership::channel();
        let candidate = Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            elector: Elector::new(holder(replica), timing),
            leading,
            deployment: None,
        };
        (candidate, view)
    }

    /// The Lease goes with this Deployment.
    pub fn owned_by(mut self, deployment: Option<Deployment>) -> Self {
        self.deployment = deployment;
        self
    }

    /// Runs for the Lease until `token` is cancelled, then gives it back if it holds it.
    pub async fn run(mut self, token: CancellationToken) -> TaskResult {
        let pauses = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let changes = watch_object(self.api.clone(), &self.name)
            .backoff(QuietReset::new(pauses, Duration::from_secs(10)));
        let mut changes = std::pin::pin!(changes);
        // Also by one that takes the Lease only when the Deployment is gone.
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            _ = self.owner() => {}
        }
        loop {
            let command = self.elector.next(Instant::now().into_std());
            self.publish();
            let input = match command {
                Command::Wait(until) => tokio::select! {
                    () = token.cancelled() => break,
                    () = tokio::time::sleep_until(until.into()) => continue,
                    Some(change) = changes.next() => match self.observe(change) {
                        Some(input) => input,
                        None => continue,
                    },
                },
                Command::Read => tokio::select! {
                    () = token.cancelled() => break,
                    input = self.read() => input,
                },
                Command::Write(claim) => tokio::select! {
                    () = token.cancelled() => break,
                    input = self.write(claim) => input,
                },
            };
            self.elector.handle(Instant::now().into_std(), input);
            self.publish();
        }
        self.release().await;
        Ok(())
    }

    fn publish(&self) {
        let until = self.elector.leads_until();
        if !self.leading.publish(until) {
            return;
        }
        let leads = until.is_some();
        tracing::info!(
            event = if leads { "leaderElected" } else { "leaderLost" },
            lease = self.name,
            identity = self.elector.identity(),
            "{}",
            if leads {
                "leading"
            } else {
                "not leading any more"
            }
        );
    }

    fn observe(&self, change: watcher::Result<Option<Lease>>) -> Option<Input> {
        match change {
            Ok(lease) => Some(Input::Watched(lease.as_ref().map(record))),
            Err(error) => {
                tracing::debug!(%error, lease = self.name, "watch of the lease failed");
                None
            }
        }
    }

    /// A request ends before the leadership does that it is to prolong.
    fn request_deadline(&self) -> Instant {
        let latest = Instant::now() + REQUEST_TIMEOUT;
        self.elector
            .leads_until()
            .map_or(latest, |until| latest.min(until.into()))
    }

    async fn read(&self) -> Input {
        let request = self.api.get_opt(&self.name);
        match tokio::time::timeout_at(self.request_deadline(), request).await {
            Ok(Ok(lease)) => Input::Observed(lease.as_ref().map(record)),
            Ok(Err(error)) => self.failed("read", &error.to_string()),
            Err(_) => self.failed("read", "timed out"),
        }
    }

    /// Who is to own the Lease, which is taken all the same if that cannot be found out.
    async fn owner(&self) -> Option<OwnerReference> {
        let deployment = self.deployment.as_ref()?;
        match tokio::time::timeout_at(self.request_deadline(), deployment.look_up()).await {
            Ok(Ok(owner)) => return owner,
            Ok(Err(error)) => tracing::debug!(%error, "cannot read our Deployment"),
            Err(_) => tracing::debug!("cannot read our Deployment in time"),
        }
        deployment.last_seen()
    }

    async fn write(&self, claim: Claim) -> Input {
        let mut owned = claim.clone();
        if claim.acquires
            && let Some(owner) = self.owner().await
        {
            own(&mut owned.owners, owner);
        }
        let mut answer = self.send(&owned).await;
        if owned != claim && matches!(&answer, Some(Err(kube::Error::Api(why))) if why.code == 403)
        {
            // Some API servers let only those change owners who may delete the object
            // (OwnerReferencesPermissionEnforcement).
            answer = self.send(&claim).await;
        }
        match answer {
            Some(Ok(lease)) => Input::Written(record(&lease)),
            Some(Err(kube::Error::Api(status))) if status.code == 409 => Input::Conflict,
            Some(Err(error)) => self.failed("write", &error.to_string()),
            None => self.failed("write", "timed out"),
        }
    }

    /// The answer to a write; `None` if there is none in time.
    async fn send(&self, claim: &Claim) -> Option<kube::Result<Lease>> {
        let lease = self.lease(claim, self.elector.timing().duration);
        let params = PostParams::default();
        let request = async {
            if claim.resource_version.is_some() {
                self.api.replace(&self.name, &params, &lease).await
            } else {
                self.api.create(&params, &lease).await
            }
        };
        let answer = tokio::time::timeout_at(self.request_deadline(), request).await;
        answer.ok()
    }

    fn failed(&self, what: &str, error: &str) -> Input {
        tracing::warn!(
            event = "leaseFailed",
            lease = %format_args!("{}/{}", self.namespace, self.name),
            error,
            "cannot {what} the lease, retrying; check the API server and the RBAC of leases"
        );
        Input::Failed
    }

    async fn release(&mut self) {
        let claim = self.elector.release();
        self.publish();
        let Some(claim) = claim else {
            return;
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, self.give_back(claim)).await {
            Ok(Ok(true)) => {
                tracing::info!(event = "leaseReleased", lease = self.name, "lease released");
            }
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::warn!(event = "leaseFailed", %error, "cannot release the lease; others wait for its end");
            }
            Err(_) => {
                tracing::warn!(
                    event = "leaseFailed",
                    "releasing the lease timed out; others wait for its end"
                );
            }
        }
    }

    /// False if it is another's already.
    async fn give_back(&self, mut claim: Claim) -> kube::Result<bool> {
        let params = PostParams::default();
        loop {
            let lease = self.lease(&claim, Duration::from_secs(1));
            match self.api.replace(&self.name, &params, &lease).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
                written => return written.map(|_| true),
            }
            // Most likely by our own last renewal, the answer to which we did not wait for.
            let lease = self.api.get_opt(&self.name).await?;
            let Some(next) = lease.and_then(|lease| self.elector.release_of(&record(&lease)))
            else {
                return Ok(false);
            };
            claim = next;
            tokio::time::sleep(CONFLICT_PAUSE).await;
        }
    }

    fn lease(&self, claim: &Claim, duration: Duration) -> Lease {
        let now = Timestamp::now();
        let acquired = if claim.acquires {
            Some(MicroTime(now))
        } else {
            claim.acquired.map(MicroTime)
        };
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                resource_version: claim.resource_version.clone(),
                owner_references: Some(claim.owners.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                acquire_time: acquired,
                holder_identity: Some(claim.holder.clone()),
                lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
                lease_transitions: Some(claim.transitions),
                renew_time: Some(MicroTime(now)),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn holder(replica: &str) -> String {
    // The standard library seeds it from the system's randomness.
    let suffix = RandomState::new().hash_one(std::process::id());
    format!("{replica}_{suffix:016x}")
}

/// Adds an owner, in the place of an earlier one of its name.
fn own(owners: &mut Vec<OwnerReference>, owner: OwnerReference) {
    owners.retain(|known| (&known.kind, &known.name) != (&owner.kind, &owner.name));
    owners.push(owner);
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        transitions: spec.lease_transitions.unwrap_or_default(),
        acquired: spec.acquire_time.map(|time| time.0),
        renewed: spec.renew_time.map(|time| time.0),
        owners: lease.owner_references().to_vec(),
        resource_version: lease.resource_version().unwrap_or_default(),
    }
}
