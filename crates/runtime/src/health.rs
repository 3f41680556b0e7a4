//! `/healthz` and `/readyz` (compat.md 6.4); ready means that everything that must be known is known.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::https::serve_plain;
use crate::supervise::TaskResult;

/// Where a daemon listens that is not on the host's network: all addresses of both families.
pub const ALL_ADDRESSES: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Whether the process is ready: it is once every [`Block`] taken from it is dropped.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    pending: Arc<Mutex<Vec<&'static str>>>,
}

/// Keeps the process from being ready until it is dropped.
#[derive(Debug)]
#[must_use = "readiness is blocked only while this is held"]
pub struct Block {
    readiness: Readiness,
    what: &'static str,
}

impl Readiness {
    /// Ready as long as nothing blocks it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Not ready until the returned guard is dropped; `what` says what is waited for.
    pub fn block(&self, what: &'static str) -> Block {
        self.with(|pending| pending.push(what));
        Block {
            readiness: self.clone(),
            what,
        }
    }

    /// What is still waited for; empty means ready.
    pub fn pending(&self) -> Vec<&'static str> {
        self.with(|pending| pending.clone())
    }

    fn with<R>(&self, f: impl FnOnce(&mut Vec<&'static str>) -> R) -> R {
        f(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.readiness.with(|pending| {
            if let Some(at) = pending.iter().position(|what| *what == self.what) {
                pending.swap_remove(at);
            }
        });
    }
}

/// Serves `/healthz` (the process runs) and `/readyz` (200 when ready, else 503 and what is missing)
/// on `address:port` until `token` is cancelled. Port 0 serves nothing.
pub async fn serve(
    address: IpAddr,
    port: u16,
    readiness: Readiness,
    token: CancellationToken,
) -> TaskResult {
    let address = (address, port).into();
    serve_plain("--health-probe-port", address, router(readiness), token).await
}

fn router(readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(readiness)
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let pending = readiness.pending();
    if pending.is_empty() {
        (StatusCode::OK, "ok".to_owned())
    } else {
        let body = format!("waiting for {}", pending.join(", "));
        (StatusCode::SERVICE_UNAVAILABLE, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_the_last_guard_is_gone() {
        let readiness = Readiness::new();
        let first = readiness.block("services");
        let second = readiness.block("pools");
        assert_eq!(readiness.pending(), ["services", "pools"]);
        drop(first);
        assert_eq!(readiness.pending(), ["pools"]);
        drop(second);
        assert!(readiness.pending().is_empty());
    }

    #[tokio::test]
    async fn readyz_names_what_is_missing() {
        let readiness = Readiness::new();
        let guard = readiness.block("services");
        let (status, body) = ready(State(readiness.clone())).await;
        assert_eq!(
            (status, body.as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for services")
        );
        drop(guard);
        assert_eq!(ready(State(readiness)).await.0, StatusCode::OK);
    }
}
