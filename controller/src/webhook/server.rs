//! The endpoints that the API server calls (compat.md 1.8).
//!
//! Whatever comes, an answer goes out and the next request finds the server as it was: bodies have a
//! limit and all that are read at one time have one together, requests have a time limit, and what
//! cannot be read is an error of its sender.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use herald_api::config::admission::{self, Change, Verdict};
use kube::Client;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::effects::Effects;
use super::metrics::{Outcome, WebhookMetrics};
use super::review::{self, Question};
use super::snapshot::{self, Snapshot};

/// An object and what it was before; etcd takes 1.5 MiB of each.
const LARGEST_ADMISSION: u32 = 4 << 20;
/// A page of objects.
const LARGEST_CONVERSION: u32 = 16 << 20;
/// All bodies that are read at one time.
const BUDGET: u32 = 16 << 20;
/// From the header to the end of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Below the 10 s that the API server waits.
const LOOK_TIMEOUT: Duration = Duration::from_secs(8);

/// Between two attempts within it.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// The paths of the validating webhooks.
pub(super) const VALIDATE: [&str; 6] = [
    "/validate-metallb-io-v1beta1-ipaddresspool",
    "/validate-metallb-io-v1beta1-l2advertisement",
    "/validate-metallb-io-v1beta1-bgpadvertisement",
    "/validate-metallb-io-v1beta2-bgppeer",
    "/validate-metallb-io-v1beta1-community",
    "/validate-metallb-io-v1beta1-bfdprofile",
];
/// The path of the conversion of `BGPPeer`.
pub(super) const CONVERT: &str = "/convert";

/// What the endpoints need.
#[derive(Clone)]
pub(super) struct Endpoints {
    client: Client,
    namespace: Arc<str>,
    class: Arc<str>,
    metrics: WebhookMetrics,
    budget: Arc<Semaphore>,
}

/// A request that gets no answer of its kind.
type Refusal = (StatusCode, String);

impl Endpoints {
    /// Endpoints for the objects of `namespace` and the Services of `class` (empty: those without
    /// one).
    pub(super) fn new(
        client: Client,
        namespace: &str,
        class: &str,
        metrics: WebhookMetrics,
    ) -> Self {
        Self {
            client,
            namespace: namespace.into(),
            class: class.into(),
            metrics,
            budget: Arc::new(Semaphore::new(BUDGET as usize)),
        }
    }

    /// The routes.
    pub(super) fn router(self) -> Router {
        let mut router = Router::new().route(CONVERT, post(convert));
        for path in VALIDATE {
            router = router.route(path, post(validate));
        }
        // The limits are our own: they differ from path to path, and all bodies share one.
        router.layer(DefaultBodyLimit::disable()).with_state(self)
    }

    /// The body of a request, and its part of what all may have.
    async fn body(
        &self,
        headers: &HeaderMap,
        body: Body,
        largest: u32,
    ) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let kind = text(header::CONTENT_TYPE).unwrap_or_default();
        let media = kind.split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case("application/json") {
            let error = format!("content type {kind:?}: send application/json");
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
        }
        let length = text(header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
        let Some(length) = length else {
            let error = "no Content-Length: say how long the body is".to_owned();
            return Err((StatusCode::LENGTH_REQUIRED, error));
        };
        let Some(length) = u32::try_from(length).ok().filter(|it| *it <= largest) else {
            let error = format!("the body has {length} bytes: at most {largest} are read");
            return Err((StatusCode::PAYLOAD_TOO_LARGE, error));
        };
        let Ok(part) = Arc::clone(&self.budget).try_acquire_many_owned(length) else {
            let error = "too many requests at once: try again".to_owned();
            return Err((StatusCode::SERVICE_UNAVAILABLE, error));
        };
        let bytes = axum::body::to_bytes(body, length as usize);
        match tokio::time::timeout(BODY_TIMEOUT, bytes).await {
            Ok(Ok(bytes)) => Ok((bytes, part)),
            Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, error.to_string())),
            Err(_) => {
                let error = format!("the body did not come within {BODY_TIMEOUT:?}");
                Err((StatusCode::REQUEST_TIMEOUT, error))
            }
        }
    }

    fn verdict(&self, change: &Change, snapshot: &Snapshot) -> Verdict {
        let stored = &snapshot.resources;
        let mut verdict = admission::review(stored, &self.namespace, change);
        let here = change.object().meta().namespace.as_deref() == Some(&*self.namespace);
        if verdict.errors.is_empty() && here && !snapshot.ending {
            let effects = Effects::of(change, stored, &snapshot.services, &self.class);
            effects.add_to(&mut verdict, change.object());
        }
        verdict
    }

    /// What is stored. The API server has no answer for a moment whenever the definition of a kind
    /// changes, as it does with a new certificate.
    async fn look(&self, change: &Change) -> kube::Result<Snapshot> {
        loop {
            // Nine lists at a time.
            match Box::pin(snapshot::read(&self.client, &self.namespace, change)).await {
                Err(kube::Error::Api(status)) if status.code == 429 => {
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
                read => return read,
            }
        }
    }

    /// The verdict on what is asked.
    async fn judge(&self, question: Question) -> Result<Verdict, Refusal> {
        let change = match question {
            Question::Nothing => return Ok(Verdict::default()),
            Question::Unreadable(error) => {
                return Ok(Verdict {
                    errors: vec![error],
                    warnings: Vec::new(),
                });
            }
            Question::Change(change) => change,
        };
        let read = Box::pin(self.look(&change));
        let error = match tokio::time::timeout(LOOK_TIMEOUT, read).await {
            Ok(Ok(snapshot)) => return Ok(self.verdict(&change, &snapshot)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "timed out".to_owned(),
        };
        tracing::warn!(
            event = "webhookFailed",
            error,
            "cannot read what is stored to judge a change; check the API server and the RBAC of the \
             kinds of metallb.io, nodes, namespaces and services (list)"
        );
        let error = format!("cannot read what is stored: {error}");
        Err((StatusCode::INTERNAL_SERVER_ERROR, error))
    }
}

async fn validate(State(endpoints): State<Endpoints>, headers: HeaderMap, body: Body) -> Response {
    match admitted(&endpoints, &headers, body).await {
        Ok((kind, uid, verdict)) => {
            let outcome = if verdict.errors.is_empty() {
                Outcome::Allowed
            } else {
                Outcome::Refused
            };
            endpoints.metrics.count(&kind, outcome);
            tracing::debug!(
                event = "admission",
                kind,
                errors = ?verdict.errors,
                warnings = ?verdict.warnings,
                "judged a change"
            );
            json(&review::answer(&uid, &verdict))
        }
        Err(refusal) => failed(&endpoints, "admission", refusal),
    }
}

async fn admitted(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    body: Body,
) -> Result<(String, String, Verdict), Refusal> {
    let (bytes, _part) = endpoints.body(headers, body, LARGEST_ADMISSION).await?;
    let bad = |error: review::ReviewError| (StatusCode::BAD_REQUEST, error.to_string());
    let admission = review::admission(&bytes).map_err(bad)?;
    let (kind, uid) = (admission.kind().to_owned(), admission.uid.clone());
    let question = admission.question().map_err(bad)?;
    let verdict = endpoints.judge(question).await?;
    Ok((kind, uid, verdict))
}

async fn convert(State(endpoints): State<Endpoints>, headers: HeaderMap, body: Body) -> Response {
    let read = endpoints.body(&headers, body, LARGEST_CONVERSION).await;
    let converted = read.and_then(|(bytes, _part)| {
        let bad = |error: review::ReviewError| (StatusCode::BAD_REQUEST, error.to_string());
        review::convert(&bytes).map_err(bad)
    });
    match converted {
        Ok((answer, outcome)) => {
            let outcome = match outcome {
                Ok(()) => Outcome::Allowed,
                Err(error) => {
                    tracing::warn!(event = "conversionFailed", %error, "cannot convert an object");
                    Outcome::Refused
                }
            };
            endpoints.metrics.count("conversion", outcome);
            json(&answer)
        }
        Err(refusal) => failed(&endpoints, "conversion", refusal),
    }
}

fn failed(endpoints: &Endpoints, what: &str, (status, error): Refusal) -> Response {
    endpoints.metrics.count(what, Outcome::Failed);
    tracing::debug!(event = "webhookRequest", what, %status, error, "a request without an answer");
    (status, error).into_response()
}

fn json(answer: &serde_json::Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, answer.to_string()).into_response()
}

#[cfg(test)]
mod tests;
