//! The Secret against an API server of a few lines.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

const SECRETS: &str = "/api/v1/namespaces/ns/secrets";
const SECRET: &str = "/api/v1/namespaces/ns/secrets/memberlist";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/ns/deployments/controller";

/// The API server.
#[derive(Default)]
struct Api {
    secret: Option<Value>,
    deployment: Option<Value>,
    /// Requests that it refuses before it works.
    refuses: usize,
    /// A Secret that somebody else makes just before ours arrives.
    rival: Option<Value>,
    /// Method and path of each request.
    asked: Vec<String>,
}

impl Api {
    fn answer(&mut self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Value) {
        self.asked.push(format!("{method} {path}"));
        if self.refuses > 0 {
            self.refuses -= 1;
            return refusal(StatusCode::INTERNAL_SERVER_ERROR);
        }
        let missing = || refusal(StatusCode::NOT_FOUND);
        match (method, path) {
            (&Method::GET, SECRET) => self.secret.clone().map_or_else(missing, good),
            (&Method::GET, DEPLOYMENT) => self.deployment.clone().map_or_else(missing, good),
            (&Method::POST, SECRETS) => {
                if let Some(rival) = self.rival.take() {
                    self.secret = Some(rival);
                    return refusal(StatusCode::CONFLICT);
                }
                let secret: Value = serde_json::from_slice(body).expect("JSON");
                self.secret = Some(secret.clone());
                (StatusCode::CREATED, secret)
            }
            _ => refusal(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    fn count(&self, request: &str) -> usize {
        self.asked.iter().filter(|asked| *asked == request).count()
    }
}

fn good(object: Value) -> (StatusCode, Value) {
    (StatusCode::OK, object)
}

fn refusal(status: StatusCode) -> (StatusCode, Value) {
    let reason = status.canonical_reason().unwrap_or_default();
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": status.as_u16(), "message": reason, "reason": reason.replace(' ', ""),
    });
    (status, body)
}

/// Runs a leader's task for an hour of virtual time, and tells what the API server has then.
async fn an_hour(api: Api, deployment: Option<&str>) -> Api {
    an_hour_of(api, deployment, Leadership::always()).await
}

async fn an_hour_of(api: Api, deployment: Option<&str>, leadership: Leadership) -> Api {
    let api = Arc::new(Mutex::new(api));
    let server = Arc::clone(&api);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.expect("a whole body");
            let mut api = server.lock().unwrap_or_else(PoisonError::into_inner);
            let (status, body) = api.answer(&parts.method, parts.uri.path(), &body);
            let body = Body::from(body.to_string().into_bytes());
            Response::builder().status(status).body(body)
        }
    });
    let client = Client::new(service, "ns");
    let secret = MembershipSecret {
        deployment: Deployment::named(&client, "ns", deployment),
        client,
        namespace: "ns".to_owned(),
        name: "memberlist".to_owned(),
    };
    let run = secret.run(leadership, CancellationToken::new());
    let ended = tokio::time::timeout(Duration::from_hours(1), run).await;
    assert!(ended.is_err(), "it goes on for ever");
    let mut api = api.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut api)
}

/// The key in a Secret, as its readers see it.
fn key(secret: &Value) -> String {
    let secret: Secret = serde_json::from_value(secret.clone()).expect("a Secret");
    let key = secret.data.expect("data")[KEY].0.clone();
    String::from_utf8(key).expect("text")
}

fn secret_with(key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "memberlist", "namespace": "ns"},
        "data": {"secretkey": key},
    })
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_missing_is_made_once_with_a_key_of_sixteen_random_bytes() {
    let first = an_hour(Api::default(), None).await;
    let second = an_hour(Api::default(), None).await;
    let keys = [&first, &second].map(|api| key(api.secret.as_ref().expect("made")));
    for key in &keys {
        assert_eq!(STANDARD_NO_PAD.decode(key).expect("base64").len(), BYTES);
    }
    assert_ne!(keys[0], keys[1]);
    assert_eq!(first.asked.len(), 2, "{:?}", first.asked);
    let made = first.secret.expect("made");
    assert_eq!(made["metadata"]["name"], "memberlist");
    assert_eq!(made["metadata"]["ownerReferences"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn the_deployment_owns_it_if_there_is_one_of_that_name() {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "controller", "uid": "7"},
    });
    let there = Api {
        deployment: Some(deployment),
        ..Api::default()
    };
    let api = an_hour(there, Some("controller")).await;
    let owners = &api.secret.expect("made")["metadata"]["ownerReferences"];
    let expected = json!([
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "controller", "uid": "7"}
    ]);
    assert_eq!(*owners, expected);

    let api = an_hour(Api::default(), Some("controller")).await;
    let made = api.secret.expect("made all the same");
    assert_eq!(made["metadata"]["ownerReferences"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_there_is_left_as_it_is() {
    for key in ["b3Vycw==", ""] {
        let api = Api {
            secret: Some(secret_with(key)),
            ..Api::default()
        };
        let api = an_hour(api, Some("controller")).await;
        assert_eq!(api.secret, Some(secret_with(key)));
        assert_eq!(api.asked, [format!("GET {SECRET}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_another_makes_at_the_same_time_is_left_as_it_is() {
    let api = Api {
        rival: Some(secret_with("b3Vycw==")),
        ..Api::default()
    };
    let api = an_hour(api, None).await;
    assert_eq!(api.secret, Some(secret_with("b3Vycw==")));
    assert_eq!(api.count(&format!("POST {SECRETS}")), 1);
    assert_eq!(api.count(&format!("GET {SECRET}")), 2);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_refuses_is_asked_again_ever_more_rarely() {
    let api = Api {
        refuses: 5,
        ..Api::default()
    };
    let api = an_hour(api, None).await;
    assert!(api.secret.is_some());
    let api = Api {
        refuses: usize::MAX,
        ..Api::default()
    };
    let asked = an_hour(api, None).await.asked.len();
    // Once a minute at most, shortened by up to a half.
    assert!((60..=130).contains(&asked), "{asked} times in an hour");
}
