//! `/debug/state`: all that decisions are made from, and what they came to, as JSON; only where a flag
//! asks for it, and only on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::https::serve_plain;
use crate::supervise::TaskResult;

const PATH: &str = "/debug/state";
/// How long the task that owns the state may take to answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// Who asks for the state.
#[derive(Debug, Clone)]
pub struct Asker {
    questions: mpsc::Sender<oneshot::Sender<Value>>,
    /// One at a time: whoever decides has more to do.
    turn: Arc<Semaphore>,
}

/// What is asked of the task that owns the state.
#[derive(Debug)]
pub struct Questions {
    questions: mpsc::Receiver<oneshot::Sender<Value>>,
}

impl Asker {
    /// The state; `None` if nobody answers in time.
    pub async fn ask(&self) -> Option<Value> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.questions.send(answer).await.ok()?;
            answered.await.ok()
        };
        tokio::time::timeout(PATIENCE, asked).await.ok()?
    }
}

impl Questions {
    /// The next question; `None` once nobody can ask any more. What is sent is the answer.
    pub async fn next(&mut self) -> Option<oneshot::Sender<Value>> {
        self.questions.recv().await
    }
}

/// Connects who asks with who answers.
pub fn channel() -> (Asker, Questions) {
    let (sender, questions) = mpsc::channel(1);
    let asker = Asker {
        questions: sender,
        turn: Arc::new(Semaphore::new(1)),
    };
    (asker, Questions { questions })
}

/// The value of `--debug-bind-address`. What is served needs no right, so only the node's own
/// processes may reach it.
pub(crate) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "write an address and a port, as 127.0.0.1:6060".to_owned())?;
    if !address.ip().is_loopback() {
        let ip = address.ip();
        return Err(format!("{ip} is not on loopback: write 127.0.0.1 or [::1]"));
    }
    Ok(address)
}

/// Serves the state at `address` until `token` is cancelled; nothing without one.
pub async fn serve(
    address: Option<SocketAddr>,
    asker: Asker,
    token: CancellationToken,
) -> TaskResult {
    let Some(address) = address else {
        token.cancelled().await;
        return Ok(());
    };
    serve_plain("--debug-bind-address", address, router(asker), token).await
}

fn router(asker: Asker) -> Router {
    Router::new().route(PATH, get(page)).with_state(asker)
}

async fn page(State(asker): State<Asker>) -> Response {
    let Ok(_turn) = asker.turn.try_acquire() else {
        let why = "somebody else is asking: try again\n";
        return (StatusCode::TOO_MANY_REQUESTS, why).into_response();
    };
    let Some(state) = asker.ask().await else {
        let why = "nobody decides here, or whoever does is busy\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, format!("{state:#}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use serde_json::json;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(asker: &Asker) -> (StatusCode, String) {
        let request = Request::get(PATH).body(Body::empty()).expect("a request");
        let response = router(asker.clone()).oneshot(request).await;
        let response = response.expect("infallible");
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        (
            status,
            String::from_utf8_lossy(&body.expect("a body")).into_owned(),
        )
    }

    #[tokio::test]
    async fn the_state_is_what_its_owner_answers() {
        let (asker, mut questions) = channel();
        let owner = tokio::spawn(async move {
            while let Some(answer) = questions.next().await {
                answer
                    .send(json!({ "leader": true }))
                    .expect("is waited for");
            }
        });
        let (status, body) = get(&asker).await;
        assert_eq!(status, StatusCode::OK);
        let state: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(state, json!({ "leader": true }));
        drop(asker);
        owner.await.expect("it ends with the last who asks");
    }

    #[tokio::test(start_paused = true)]
    async fn one_asks_at_a_time_and_waits_no_longer_than_it_must() {
        let (asker, mut questions) = channel();
        let first = tokio::spawn({
            let asker = asker.clone();
            async move { get(&asker).await.0 }
        });
        let held = questions.next().await.expect("a question");
        assert_eq!(get(&asker).await.0, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(first.await.expect("ends"), StatusCode::SERVICE_UNAVAILABLE);
        drop((held, questions));
        assert_eq!(get(&asker).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn only_loopback_will_do() {
        for good in ["127.0.0.1:6060", "127.1.2.3:1", "[::1]:6060"] {
            loopback(good).expect(good);
        }
        for bad in [
            "0.0.0.0:6060",
            "192.0.2.1:6060",
            "[::]:6060",
            ":6060",
            "127.0.0.1",
            "",
        ] {
            loopback(bad).expect_err(bad);
        }
    }
}
