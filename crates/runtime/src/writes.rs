//! What the process writes to the API, counted where every request passes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Request, Response, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tower::{Layer, Service};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    resource: String,
    result: &'static str,
}

/// The counter `herald_api_writes_total`.
#[derive(Debug, Clone, Default)]
pub struct ApiWrites {
    counts: Family<Labels, Counter>,
}

impl ApiWrites {
    /// A new counter, registered under its name.
    pub fn register(registry: &mut Registry) -> Self {
        let writes = Self::default();
        registry.register(
            "herald_api_writes",
            "Writes to the API, of each resource with each result",
            writes.counts.clone(),
        );
        writes
    }

    fn count(&self, resource: String, result: &'static str) {
        self.counts
            .get_or_create(&Labels { resource, result })
            .inc();
    }
}

impl<S> Layer<S> for ApiWrites {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting {
            inner,
            writes: self.clone(),
        }
    }
}

/// Counts the writes among the requests that it hands on.
#[derive(Debug, Clone)]
pub struct Counting<S> {
    inner: S,
    writes: ApiWrites,
}

impl<S, In, Out> Service<Request<In>> for Counting<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let resource = written(request.method(), request.uri().path());
        let answer = self.inner.call(request);
        let writes = self.writes.clone();
        Box::pin(async move {
            let answer = answer.await;
            if let Some(resource) = resource {
                let status = answer.as_ref().ok().map(Response::status);
                writes.count(resource, result(status));
            }
            answer
        })
    }
}

/// How a write ended; without a status there was no answer.
fn result(status: Option<StatusCode>) -> &'static str {
    match status {
        Some(status) if status.is_success() => "ok",
        Some(StatusCode::CONFLICT) => "conflict",
        Some(StatusCode::NOT_FOUND) => "gone",
        Some(status) if status.is_client_error() => "refused",
        _ => "failed",
    }
}

/// The resource that a request writes, with its subresource; `None` if it writes nothing, as questions
/// that are sent with POST do not.
fn written(method: &Method, path: &str) -> Option<String> {
    if ![Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method) {
        return None;
    }
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match parts.next()? {
        "api" => {}
        "apis" => {
            let group = parts.next()?;
            if matches!(group, "authentication.k8s.io" | "authorization.k8s.io") {
                return None;
            }
        }
        _ => return None,
    }
    let _version = parts.next()?;
    let mut resource = parts.next()?;
    // A Namespace itself is never written.
    if resource == "namespaces" {
        let _namespace = parts.next()?;
        resource = parts.next()?;
    }
    let _name = parts.next();
    Some(match parts.next() {
        Some(subresource) => format!("{resource}/{subresource}"),
        None => resource.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn writes_are_told_from_questions_and_by_what_they_write() {
        for (method, path, expected) in [
            (
                Method::PATCH,
                "/api/v1/namespaces/shop/services/web/status",
                Some("services/status"),
            ),
            (
                Method::POST,
                "/api/v1/namespaces/shop/events",
                Some("events"),
            ),
            (
                Method::DELETE,
                "/apis/metallb.io/v1beta1/namespaces/n/servicel2statuses/l2-x",
                Some("servicel2statuses"),
            ),
            (
                Method::PATCH,
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io",
                Some("customresourcedefinitions"),
            ),
            (Method::GET, "/api/v1/services", None),
            (
                Method::POST,
                "/apis/authentication.k8s.io/v1/tokenreviews",
                None,
            ),
            (Method::POST, "/", None),
        ] {
            assert_eq!(written(&method, path).as_deref(), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn each_write_is_counted_with_its_result() {
        let mut registry = Registry::default();
        let writes = ApiWrites::register(&mut registry);
        let server = tower::service_fn(|request: Request<u16>| async move {
            let code = *request.body();
            if code == 0 {
                return Err("away");
            }
            let response = Response::builder().status(code).body(());
            response.map_err(|_| "no status")
        });
        let service = writes.layer(server);
        for code in [200, 201, 409, 404, 403, 500, 0] {
            let request = Request::patch("/api/v1/namespaces/shop/services/web/status").body(code);
            // What it gives is what the server gave; the counts are what matters here.
            let _ = service.clone().oneshot(request.expect("a request")).await;
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        for (result, count) in [
            ("ok", 2),
            ("conflict", 1),
            ("gone", 1),
            ("refused", 1),
            ("failed", 2),
        ] {
            let line = format!(
                "herald_api_writes_total{{resource=\"services/status\",result=\"{result}\"}} {count}"
            );
            assert!(text.contains(&line), "{line} is missing in {text}");
        }
    }
}
