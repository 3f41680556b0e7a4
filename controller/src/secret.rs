//! The Secret with the key that the speakers seal with what they tell each other (compat.md 4.2).

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use herald_runtime::backoff::Backoff;
use herald_runtime::lease::Leadership;
use herald_runtime::owner::Deployment;
use herald_runtime::supervise::TaskResult;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio_util::sync::CancellationToken;

use crate::write::WRITE_TIMEOUT;

/// The key within the Secret, as in MetalLB.
const KEY: &str = "secretkey";
/// Random bytes in it.
const BYTES: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Makes the Secret if it is not there. One that is there is never changed: the speakers use it.
pub(crate) struct MembershipSecret {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// `--ml-secret-name`.
    pub(crate) name: String,
    /// `--deployment`: goes, and the Secret with it.
    pub(crate) deployment: Option<Deployment>,
}

/// What there is after a look at the Secret.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It was there before.
    Usable,
    /// It was there before, without a key in it.
    Keyless,
    /// It was made now.
    Made,
    /// Somebody else made it at the same time: look again.
    Raced,
}

impl MembershipSecret {
    /// Looks for the Secret each time that this process begins to lead, and until it is there.
    pub(crate) async fn run(
        self,
        mut leadership: Leadership,
        token: CancellationToken,
    ) -> TaskResult {
        let endless = async {
            loop {
                while !leadership.is_leader() {
                    leadership.changed().await;
                }
                self.provide(&leadership).await;
                // Until another leads, who looks after it then.
                while leadership.changed().await {}
            }
        };
        token.run_until_cancelled(endless).await.unwrap_or(Ok(()))
    }

    async fn provide(&self, leadership: &Leadership) {
        let mut pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut failing = false;
        while leadership.is_leader() {
            match self.look(leadership).await {
                Ok(None) => return,
                Ok(Some(Found::Raced)) => {}
                Ok(Some(found)) => return self.say(&found),
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(
                            event = "secretFailed",
                            namespace = self.namespace,
                            secret = self.name,
                            error,
                            "cannot make the Secret for the speakers, retrying; check the API \
                             server and the RBAC of secrets (get, create) and deployments (get)"
                        );
                    }
                }
            }
            tokio::time::sleep(pauses.pause()).await;
        }
    }

    fn say(&self, found: &Found) {
        let (namespace, secret) = (&self.namespace, &self.name);
        match found {
            Found::Usable => {
                tracing::debug!(namespace, secret, "the Secret for the speakers is there");
            }
            Found::Keyless => tracing::warn!(
                event = "secretUnusable",
                namespace,
                secret,
                "the Secret for the speakers has no {KEY:?} and is left as it is: speakers cannot \
                 form a group with it; delete it and restart the controller to have one made"
            ),
            Found::Made => tracing::info!(
                event = "secretMade",
                namespace,
                secret,
                "made the Secret with the key of the speakers"
            ),
            Found::Raced => {}
        }
    }

    /// One attempt; `None` if another leads meanwhile.
    async fn look(&self, leadership: &Leadership) -> Result<Option<Found>, String> {
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        if let Some(secret) = in_time(secrets.get_opt(&self.name)).await? {
            let data = secret.data.unwrap_or_default();
            let usable = data.get(KEY).is_some_and(|key| !key.0.is_empty());
            return Ok(Some(if usable {
                Found::Usable
            } else {
                Found::Keyless
            }));
        }
        let secret = self.secret(self.owner().await?)?;
        if !leadership.is_leader() {
            return Ok(None);
        }
        let params = PostParams::default();
        let made = secrets.create(&params, &secret);
        match tokio::time::timeout(WRITE_TIMEOUT, made).await {
            Ok(Ok(_)) => Ok(Some(Found::Made)),
            Ok(Err(Error::Api(status))) if status.code == 409 => Ok(Some(Found::Raced)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("timed out".to_owned()),
        }
    }

    async fn owner(&self) -> Result<Option<OwnerReference>, String> {
        match &self.deployment {
            Some(deployment) => in_time(deployment.look_up()).await,
            None => Ok(None),
        }
    }

    fn secret(&self, owner: Option<OwnerReference>) -> Result<Secret, String> {
        let mut bytes = [0; BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| "the system has no randomness to give".to_owned())?;
        // Text, as MetalLB's: its speakers, and ours, take the text itself as the key's origin.
        let key = STANDARD_NO_PAD.encode(bytes).into_bytes();
        Ok(Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(key))])),
            ..Secret::default()
        })
    }
}

async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(WRITE_TIMEOUT, request).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("timed out".to_owned()),
    }
}

#[cfg(test)]
mod tests;
