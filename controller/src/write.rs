//! Writes to the API, each with a time limit.

use std::time::Duration;

use herald_api::kinds::{IPAddressPool, IPAddressPoolStatus};
use herald_api::slim::{self, Service};
use herald_model::ServiceKey;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Error};
use serde_json::json;

use crate::core::{Write, Written};

/// Shorter than the time between a leader's end and the start of the next (5 s): no write outlives
/// its leader.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(4);

/// How a write ended, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is written.
    Done,
    /// The Service had changed.
    Conflict,
    /// It is to be tried again.
    Failed,
}

/// Sends one status write. A refusal because the Service changed (409) is answered with the
/// Service as it is now.
pub(crate) async fn service_status(client: &Client, write: &Write) -> (Written, Verdict) {
    let api = Api::<Service>::namespaced(client.clone(), write.service.namespace());
    let name = write.service.name();
    let params = PatchParams::default();
    let patch = Patch::Merge(&write.patch);
    let request = api.patch_status(name, &params, &patch);
    match tokio::time::timeout(WRITE_TIMEOUT, request).await {
        Ok(Ok(service)) => (now(service), Verdict::Done),
        Ok(Err(Error::Api(status))) if status.code == 409 => {
            let found = read(client, &write.service).await;
            let found = found.unwrap_or_else(|error| failed(&write.service, &error));
            (found, Verdict::Conflict)
        }
        Ok(Err(Error::Api(status))) if status.code == 404 => (Written::Gone, Verdict::Done),
        Ok(Err(error)) => (failed(&write.service, &error.to_string()), Verdict::Failed),
        Err(_) => (failed(&write.service, "timed out"), Verdict::Failed),
    }
}

/// Reads one Service, or says why it cannot.
pub(crate) async fn read(client: &Client, key: &ServiceKey) -> Result<Written, String> {
    let api = Api::<Service>::namespaced(client.clone(), key.namespace());
    match tokio::time::timeout(WRITE_TIMEOUT, api.get_opt(key.name())).await {
        Ok(Ok(Some(service))) => Ok(now(service)),
        Ok(Ok(None)) => Ok(Written::Gone),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("timed out".to_owned()),
    }
}

fn now(mut service: Service) -> Written {
    slim::trim(&mut service);
    Written::Now(Box::new(service))
}

fn failed(key: &ServiceKey, error: &str) -> Written {
    tracing::warn!(
        event = "updateFailed",
        service = %key,
        error,
        "cannot write or read the service, retrying; check the API server and the RBAC of \
         services and services/status (get, patch)"
    );
    Written::Failed
}

/// Writes the counters of a pool; false if it has to be tried again.
pub(crate) async fn pool_status(
    client: &Client,
    namespace: &str,
    pool: &str,
    status: &IPAddressPoolStatus,
) -> bool {
    let api = Api::<IPAddressPool>::namespaced(client.clone(), namespace);
    let patch = Patch::Merge(json!({"status": status}));
    let params = PatchParams::default();
    let request = api.patch_status(pool, &params, &patch);
    let error = match tokio::time::timeout(WRITE_TIMEOUT, request).await {
        Ok(Ok(_)) => return true,
        Ok(Err(Error::Api(status))) if status.code == 404 => return true,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "timed out".to_owned(),
    };
    tracing::warn!(
        event = "updateFailed",
        pool,
        error,
        "cannot write the status of the pool; check the RBAC of ipaddresspools/status (patch)"
    );
    false
}
