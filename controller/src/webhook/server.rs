//! The endpoints that the API server calls (compat.md 1.8).
//!
//! Whatever comes, an answer goes out and the next request finds the server as it was: bodies have a
//! limit and all that are read at one time have one together, requests have a time limit, and what
//! cannot be read is an error of its sender.

mod answer;
mod body;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use herald_api::config::admission::{self, Change, Verdict};
use kube::Client;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::effects::Effects;
use super::metrics::{Outcome, WebhookMetrics};
use super::review::{self, Converted, Question};
use super::snapshot::{self, Snapshot};
use body::{Bodies, Received, UNCOUNTED};

/// An object and what it was before; etcd takes 1.5 MiB of each.
const LARGEST_ADMISSION: usize = 4 << 20;
/// A page of objects.
const LARGEST_CONVERSION: usize = 16 << 20;
/// Questions that are judged at one time, each with all that is stored. A large one is judged alone.
const JUDGED_AT_ONCE: u32 = 4;
/// Below the 10 s that the API server waits: for the turn of a question and for what is stored.
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
    bodies: Bodies,
    judged: Arc<Semaphore>,
    /// Of large conversions there is one at a time, until its answer is sent.
    converted: Arc<Semaphore>,
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
            bodies: Bodies::new(body::BUDGET),
            judged: Arc::new(Semaphore::new(JUDGED_AT_ONCE as usize)),
            converted: Arc::new(Semaphore::new(1)),
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

    /// Waits for the turn of a question: what is read of it into memory is many times its text.
    async fn turn(&self, body: &Received, by: Instant) -> Result<OwnedSemaphorePermit, Refusal> {
        let share = if body.bytes.len() > UNCOUNTED {
            JUDGED_AT_ONCE
        } else {
            1
        };
        in_turn(&self.judged, share, by).await
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
    async fn judge(&self, question: Question, by: Instant) -> Result<Verdict, Refusal> {
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
        let error = match timeout_at(by, read).await {
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

/// Has clients connect anew for each request, and so to another replica, once `ending` is cancelled.
pub(super) fn closing(router: Router, ending: CancellationToken) -> Router {
    router.layer(middleware::map_response(move |mut response: Response| {
        if ending.is_cancelled() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        std::future::ready(response)
    }))
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
            json(review::answer(&uid, &verdict).to_string().into())
        }
        Err(refusal) => failed(&endpoints, "admission", refusal),
    }
}

async fn admitted(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    body: Body,
) -> Result<(String, String, Verdict), Refusal> {
    let body = endpoints.bodies.read(headers, body, LARGEST_ADMISSION);
    let body = body.await?;
    let by = Instant::now() + LOOK_TIMEOUT;
    let _turn = endpoints.turn(&body, by).await?;
    let bad = |error: review::ReviewError| (StatusCode::BAD_REQUEST, error.to_string());
    let admission = review::admission(&body.bytes).map_err(bad)?;
    let (kind, uid) = (admission.kind().to_owned(), admission.uid.clone());
    let question = admission.question().map_err(bad)?;
    let verdict = endpoints.judge(question, by).await?;
    Ok((kind, uid, verdict))
}

async fn convert(State(endpoints): State<Endpoints>, headers: HeaderMap, body: Body) -> Response {
    match converted(&endpoints, &headers, body).await {
        Ok((response, outcome)) => {
            let outcome = match outcome {
                Ok(()) => Outcome::Allowed,
                Err(error) => {
                    tracing::warn!(
                        event = "conversionFailed",
                        error,
                        "cannot convert an object"
                    );
                    Outcome::Refused
                }
            };
            endpoints.metrics.count("conversion", outcome);
            response
        }
        Err(refusal) => failed(&endpoints, "conversion", refusal),
    }
}

async fn converted(
    endpoints: &Endpoints,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Response, Result<(), String>), Refusal> {
    let body = endpoints.bodies.read(headers, body, LARGEST_CONVERSION);
    let body = body.await?;
    let turn = if body.bytes.len() > UNCOUNTED {
        let by = Instant::now() + LOOK_TIMEOUT;
        Some(in_turn(&endpoints.converted, 1, by).await?)
    } else {
        None
    };
    let bad = |error: review::ReviewError| (StatusCode::BAD_REQUEST, error.to_string());
    let Converted { text, outcome } = review::convert(&body.bytes).map_err(bad)?;
    let answer = match turn {
        Some(turn) => answer::held(text, turn),
        None => text.into(),
    };
    Ok((json(answer), outcome))
}

/// Waits for a share of what is done at one time.
async fn in_turn(
    of: &Arc<Semaphore>,
    share: u32,
    by: Instant,
) -> Result<OwnedSemaphorePermit, Refusal> {
    let turn = timeout_at(by, Arc::clone(of).acquire_many_owned(share)).await;
    turn.ok().and_then(Result::ok).ok_or_else(|| {
        let error = "too many requests at once: try again".to_owned();
        (StatusCode::SERVICE_UNAVAILABLE, error)
    })
}

fn failed(endpoints: &Endpoints, what: &str, (status, error): Refusal) -> Response {
    endpoints.metrics.count(what, Outcome::Failed);
    tracing::debug!(event = "webhookRequest", what, %status, error, "a request without an answer");
    (status, error).into_response()
}

fn json(answer: Body) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, answer).into_response()
}

#[cfg(test)]
mod tests;
