//! The Secret that the certificates are kept in.

use std::collections::BTreeMap;

use herald_runtime::lease::Leadership;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use kube::{Client, Error};

use super::inject::Targets;
use super::issue::issue;
use super::state::{self, State, Trust};
use super::{CERTIFICATE, Found, KEY, Pair, Unsettled};
use crate::write::WRITE_TIMEOUT;

/// The key of the Secret that has the [`State`].
const STATE: &str = "state.json";
/// The key with all authorities, for people and tools.
const AUTHORITIES: &str = "ca.crt";

/// Looks after the Secret, and reads it where another replica leads.
pub(in crate::webhook) struct Keeper {
    pub(in crate::webhook) client: Client,
    pub(in crate::webhook) namespace: String,
    /// `--webhook-secret`.
    pub(in crate::webhook) name: String,
    /// The objects that are to trust what is in it.
    pub(in crate::webhook) targets: Targets,
    pub(in crate::webhook) leadership: Leadership,
}

impl Keeper {
    /// The certificate to present. The leader makes one step if one is due.
    pub(super) async fn look(&self) -> Result<Found, String> {
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let stored = in_time(secrets.get_opt(&self.name), "secrets (get)").await?;
        let state = stored.as_ref().and_then(state_of);
        let unsettled = if self.leadership.is_leader() {
            self.step(&secrets, stored.as_ref(), state.as_ref()).await
        } else {
            // Without one the leader is about to make it.
            state.is_none().then_some(Unsettled::Changing)
        };
        Ok(Found {
            pair: state.map(|state| Pair {
                chain: state.serving.certificate.into(),
                key: state.serving.key.into(),
            }),
            unsettled,
        })
    }

    async fn step(
        &self,
        secrets: &Api<Secret>,
        stored: Option<&Secret>,
        state: Option<&State>,
    ) -> Option<Unsettled> {
        let trusted = match state {
            Some(state) => self.targets.trust(&state.bundle(), &self.leadership).await,
            None => Ok(false),
        };
        let trust = match trusted {
            Ok(false) => Trust::Held,
            Ok(true) => Trust::Told,
            Err(_) => Trust::Unknown,
        };
        let now = Timestamp::now();
        let names = &self.targets.names;
        let next = state::next(state, names, now, trust, || issue(names, now));
        match next {
            Ok(Some(next)) => match self.write(secrets, stored, &next).await {
                Ok(()) => Some(Unsettled::Changing),
                Err(error) => Some(Unsettled::Failed(error)),
            },
            Ok(None) => match trusted {
                // Found so the next time, it counts as trusted.
                Ok(told) => told.then_some(Unsettled::Changing),
                Err(error) => Some(Unsettled::Failed(error)),
            },
            Err(error) => Some(Unsettled::Failed(error.to_string())),
        }
    }

    /// Stores the state, unless somebody else changed the Secret meanwhile.
    async fn write(
        &self,
        secrets: &Api<Secret>,
        stored: Option<&Secret>,
        state: &State,
    ) -> Result<(), String> {
        let text = serde_json::to_string(state).map_err(|error| error.to_string())?;
        let ours = [
            (STATE, text),
            (AUTHORITIES, state.bundle()),
            (CERTIFICATE, state.serving.certificate.clone()),
            (KEY, state.serving.key.clone()),
        ];
        let ours = ours.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())));
        if !self.leadership.is_leader() {
            return Ok(());
        }
        let params = PostParams::default();
        let request = async {
            if let Some(stored) = stored {
                // With the version that was read: of two writers one fails.
                let mut secret = stored.clone();
                secret.data.get_or_insert_default().extend(ours);
                return secrets.replace(&self.name, &params, &secret).await;
            }
            let secret = Secret {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                data: Some(BTreeMap::from(ours)),
                ..Secret::default()
            };
            secrets.create(&params, &secret).await
        };
        match tokio::time::timeout(WRITE_TIMEOUT, request).await {
            Ok(Ok(_)) => {
                tracing::info!(
                    event = "certificateStored",
                    namespace = self.namespace,
                    secret = self.name,
                    coming = state.coming.is_some(),
                    expires = %state.serving.expires,
                    "stored the certificates of the webhooks"
                );
                Ok(())
            }
            Ok(Err(Error::Api(status))) if status.code == 409 => Ok(()),
            Ok(Err(error)) => Err(format!(
                "{error}; check the RBAC of secrets (create, update)"
            )),
            Err(_) => Err("the write of the Secret timed out".to_owned()),
        }
    }
}

fn state_of(secret: &Secret) -> Option<State> {
    let data = secret.data.as_ref()?;
    serde_json::from_slice(&data.get(STATE)?.0).ok()
}

/// The outcome of a request, within a time; an error names the rights that it needs.
pub(super) async fn in_time<T>(
    request: impl Future<Output = kube::Result<T>>,
    rights: &str,
) -> Result<T, String> {
    match tokio::time::timeout(WRITE_TIMEOUT, request).await {
        Ok(result) => result.map_err(|error| format!("{error}; check the RBAC of {rights}")),
        Err(_) => Err(format!("a request to the API timed out ({rights})")),
    }
}
