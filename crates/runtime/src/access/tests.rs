//! With an API server that counts what it is asked.

use std::sync::atomic::AtomicUsize;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use kube::client::Body as KubeBody;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

/// Knows the tokens `reader` and `other`, and allows the first.
fn api_server(asked: &Arc<AtomicUsize>, away: &Arc<AtomicBool>) -> Client {
    let (asked, away) = (Arc::clone(asked), Arc::clone(away));
    let service = tower::service_fn(move |request: http::Request<KubeBody>| {
        asked.fetch_add(1, Ordering::Relaxed);
        let away = away.load(Ordering::Relaxed);
        async move {
            if away {
                return Err("away".into());
            }
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect_bytes().await?;
            let mut review: Value = serde_json::from_slice(&body)?;
            review["status"] = if path.ends_with("/tokenreviews") {
                let token = review["spec"]["token"].as_str().unwrap_or_default();
                let known = ["reader", "other"].contains(&token);
                json!({
                    "authenticated": known,
                    "user": { "username": token, "groups": ["scrapers"] },
                })
            } else {
                let spec = &review["spec"];
                assert_eq!(
                    spec["nonResourceAttributes"],
                    json!({ "path": "/metrics", "verb": "get" })
                );
                assert_eq!(spec["groups"], json!(["scrapers"]));
                json!({ "allowed": spec["user"] == "reader" })
            };
            let response = http::Response::builder().status(201);
            Ok::<_, tower::BoxError>(response.body(KubeBody::from(serde_json::to_vec(&review)?))?)
        }
    });
    Client::new(service, "default")
}

struct Page {
    router: Router,
    asked: Arc<AtomicUsize>,
    away: Arc<AtomicBool>,
}

impl Page {
    fn new() -> Self {
        let asked = Arc::default();
        let away = Arc::default();
        let access = Arc::new(Access::new(api_server(&asked, &away), "/metrics"));
        let router = Router::new()
            .route("/metrics", get(|| async { "numbers" }))
            .layer(from_fn_with_state(access, check));
        Self {
            router,
            asked,
            away,
        }
    }

    /// The status for a request with this header, and how often the API server was asked for it.
    async fn get(&self, authorization: Option<&str>) -> (u16, usize) {
        let before = self.asked.load(Ordering::Relaxed);
        let mut request = http::Request::get("/metrics");
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = self.router.clone().oneshot(request).await;
        let response = response.expect("infallible");
        let challenged = response.headers().contains_key(header::WWW_AUTHENTICATE);
        assert_eq!(challenged, response.status() == StatusCode::UNAUTHORIZED);
        let asked = self.asked.load(Ordering::Relaxed) - before;
        (response.status().as_u16(), asked)
    }
}

#[tokio::test]
async fn who_has_the_right_reads_and_the_api_server_is_asked_once() {
    let page = Page::new();
    assert_eq!(page.get(Some("Bearer reader")).await, (200, 2));
    assert_eq!(page.get(Some("bearer  reader")).await, (200, 0));
    assert_eq!(page.get(Some("Bearer other")).await, (403, 2));
    assert_eq!(page.get(Some("Bearer other")).await, (403, 0));
    assert_eq!(page.get(Some("Bearer stranger")).await, (401, 1));
    assert_eq!(page.get(Some("Bearer stranger")).await, (401, 0));
}

#[tokio::test]
async fn nobody_is_asked_for_a_request_without_a_token() {
    let page = Page::new();
    for value in [
        None,
        Some("Bearer"),
        Some("Bearer "),
        Some("Basic cmVhZGVy"),
        Some("\u{e9} x"),
    ] {
        assert_eq!(page.get(value).await, (401, 0), "{value:?}");
    }
}

#[tokio::test]
async fn without_the_api_server_strangers_wait() {
    let page = Page::new();
    page.away.store(true, Ordering::Relaxed);
    assert_eq!(page.get(Some("Bearer reader")).await, (503, 1));
    page.away.store(false, Ordering::Relaxed);
    assert_eq!(page.get(Some("Bearer reader")).await, (200, 2));
    page.away.store(true, Ordering::Relaxed);
    assert_eq!(page.get(Some("Bearer reader")).await, (200, 0));
}
