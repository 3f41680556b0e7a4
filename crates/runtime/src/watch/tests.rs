//! Watches against an API server of a few lines.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use serde_json::json;

use super::*;

#[test]
fn the_start_of_a_list_ends_no_row_of_failures() {
    let mut row = Row::default();
    assert!(row.begins());
    assert!(!row.ends_with(&watcher::Event::<()>::Init));
    assert!(!row.begins());
    assert!(row.ends_with(&watcher::Event::<()>::InitDone));
    assert!(!row.ends_with(&watcher::Event::<()>::InitDone));
    assert!(row.begins());
}

#[tokio::test]
async fn lists_that_are_refused_become_rarer() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let server = tower::service_fn(move |_: http::Request<Body>| {
        counter.fetch_add(1, Ordering::Relaxed);
        let body = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":403}"#;
        let answer = http::Response::builder()
            .status(403)
            .body(Body::from(body.as_bytes().to_vec()));
        std::future::ready(answer)
    });
    let api: Api<DeserializeGuard<ConfigMap>> = Api::all(Client::new(server, "default"));
    let (events, _receiver) = mpsc::channel(1);
    let mut pauses = QuietReset::new(
        Backoff::seeded(Duration::from_millis(10), Duration::from_secs(10), 7),
        QUIET,
    );
    let mut map = |event| event;
    let following = follow(
        "configmaps",
        api,
        watcher::Config::default(),
        &mut pauses,
        &events,
        &mut map,
    );
    let ended = tokio::time::timeout(Duration::from_secs(1), following).await;
    assert!(ended.is_err(), "it goes on for ever");
    // 10, 20, … 640 ms, each at least half; pauses that start over would make it a hundred.
    let asked = asked.load(Ordering::Relaxed);
    assert!((3..=9).contains(&asked), "{asked} lists in a second");
}

/// An API server whose watches end as `watch` says, and when it was asked for lists.
#[derive(Clone)]
struct Server {
    start: Instant,
    /// Until then it refuses everything.
    away_until: Duration,
    /// How many watches are told that they are too old: in the watch, or instead of it.
    gone: Arc<Mutex<(usize, usize)>>,
    lists: Arc<Mutex<Vec<Duration>>>,
}

impl Server {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            away_until: Duration::ZERO,
            gone: Arc::default(),
            lists: Arc::default(),
        }
    }

    async fn answer(self, request: http::Request<Body>) -> http::Result<http::Response<Body>> {
        let refusal = |status: u16| {
            let body = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status,
                "message": "not now", "reason": "Expired",
            });
            let body = Body::from(body.to_string().into_bytes());
            http::Response::builder().status(status).body(body)
        };
        if self.start.elapsed() < self.away_until {
            return refusal(503);
        }
        if !request
            .uri()
            .query()
            .unwrap_or_default()
            .contains("watch=true")
        {
            self.lists.lock().expect("whole").push(self.start.elapsed());
            let list = json!({
                "kind": "ConfigMapList", "apiVersion": "v1",
                "metadata": {"resourceVersion": "7"}, "items": [],
            });
            return http::Response::builder().body(Body::from(list.to_string().into_bytes()));
        }
        let (inside, instead) = {
            let mut gone = self.gone.lock().expect("whole");
            let now = *gone;
            *gone = (
                now.0.saturating_sub(1),
                now.1.saturating_sub(usize::from(now.0 == 0)),
            );
            now
        };
        if inside > 0 {
            let event = json!({"type": "ERROR", "object": {
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
                "message": "too old resource version", "reason": "Expired",
            }});
            let line = format!("{event}\n").into_bytes();
            return http::Response::builder().body(Body::from(line));
        }
        if instead > 0 {
            return refusal(410);
        }
        std::future::pending().await
    }

    /// When `count` watches, one a client, asked for lists in the first two minutes.
    async fn lists_of(self, count: usize) -> Vec<Duration> {
        let token = CancellationToken::new();
        let (events, mut receiver) = mpsc::channel(1);
        for _ in 0..count {
            let server = self.clone();
            let service = tower::service_fn(move |request| server.clone().answer(request));
            let client = Client::new(service, "default");
            let watch = Watch::<ConfigMap>::cluster(&client, "configmaps");
            let map = |event| matches!(event, Event::Restarted { .. });
            tokio::spawn(watch.forward(events.clone(), map, token.clone()));
        }
        let _ = tokio::time::timeout(Duration::from_mins(2), async {
            while receiver.recv().await.is_some() {}
        })
        .await;
        token.cancel();
        let mut lists = self.lists.lock().expect("whole").clone();
        lists.sort_unstable();
        lists
    }
}

/// The largest part of `times` that falls within `window`.
fn densest(times: &[Duration], window: Duration) -> usize {
    let until = |begin: Duration| times.partition_point(|time| *time < begin + window);
    let begins = times.iter().enumerate();
    begins
        .map(|(index, begin)| until(*begin) - index)
        .max()
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn watches_that_are_all_too_old_list_again_over_five_seconds() {
    const WATCHES: usize = 300;
    for gone in [(WATCHES, 0), (0, WATCHES)] {
        let server = Server::new();
        *server.gone.lock().expect("whole") = gone;
        let lists = server.lists_of(WATCHES).await;
        assert_eq!(lists.len(), 2 * WATCHES, "{gone:?}");
        let again = &lists[WATCHES..];
        let last = again[WATCHES - 1];
        assert!(last <= FIRST_BACKOFF + RELIST_SPREAD, "{last:?}");
        assert!(last >= RELIST_SPREAD * 9 / 10, "{last:?}");
        // Thirty of them are to be expected.
        let densest = densest(again, RELIST_SPREAD / 10);
        assert!(densest <= 75, "{densest} at the same time");
    }
}

#[tokio::test(start_paused = true)]
async fn watches_come_back_one_after_the_other_when_the_server_does() {
    const WATCHES: usize = 300;
    let away = Duration::from_mins(1);
    let mut server = Server::new();
    server.away_until = away;
    let lists = server.lists_of(WATCHES).await;
    assert_eq!(lists.len(), WATCHES);
    assert!(lists[WATCHES - 1] <= away + MAX_BACKOFF);
    let densest = densest(&lists, MAX_BACKOFF / 10);
    assert!(densest <= WATCHES / 3, "{densest} within a second");
}
