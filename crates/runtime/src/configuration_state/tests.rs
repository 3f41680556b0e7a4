//! A `Publication` against an API server that only knows this one object.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt as _;
use herald_api::report::Findings;
use kube::client::Body;
use tokio::task::JoinHandle;
use tower::service_fn;

use super::*;

/// The object as it is stored, and how often it was written.
#[derive(Debug, Default)]
struct Server {
    object: Option<Value>,
    version: u64,
    descriptions: usize,
    statuses: usize,
    /// So many writes fail.
    failures: usize,
}

impl Server {
    fn patch(&mut self, uri: &http::Uri, patch: &Value) -> (u16, Value) {
        if self.failures > 0 {
            self.failures -= 1;
            return (
                500,
                json!({"kind": "Status", "status": "Failure", "code": 500}),
            );
        }
        let query = uri.query().unwrap_or_default();
        assert!(query.contains("force=true"), "{query}");
        if uri.path().ends_with("/status") {
            assert!(query.contains("fieldManager=poolReconciler"), "{query}");
            let Some(object) = &mut self.object else {
                return (
                    404,
                    json!({"kind": "Status", "status": "Failure", "code": 404}),
                );
            };
            object["status"] = patch["status"].clone();
            self.statuses += 1;
        } else {
            assert!(query.contains("fieldManager=herald-controller"), "{query}");
            let mut object = patch.clone();
            if let Some(before) = &self.object {
                object["status"] = before["status"].clone();
            }
            self.object = Some(object);
            self.descriptions += 1;
        }
        self.version += 1;
        let object = self.object.as_mut().expect("stored now");
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        (200, object.clone())
    }
}

struct Running {
    server: Arc<Mutex<Server>>,
    said: watch::Sender<Option<Said>>,
    shown: watch::Sender<Shown>,
    token: CancellationToken,
    task: JoinHandle<TaskResult>,
}

fn start(object: Option<Value>) -> Running {
    let server = Server {
        object,
        version: 1,
        ..Server::default()
    };
    let server = Arc::new(Mutex::new(server));
    let behind = Arc::clone(&server);
    let service = service_fn(move |request: http::Request<Body>| {
        let server = Arc::clone(&behind);
        async move {
            let uri = request.uri().clone();
            let body = request.into_body().collect_bytes().await.expect("a body");
            let patch = serde_json::from_slice(&body).expect("JSON");
            let (code, answer) = lock(&server).patch(&uri, &patch);
            let answer = http::Response::builder()
                .status(code)
                .body(Body::from(answer.to_string().into_bytes()));
            Ok::<_, Infallible>(answer.expect("valid"))
        }
    });
    let (said, said_here) = watch::channel(None);
    let (shown, shown_here) = watch::channel(None);
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: "me".to_owned(),
        uid: "7".to_owned(),
        ..OwnerReference::default()
    };
    let publication = Publication {
        client: Client::new(service, "ns"),
        namespace: "ns".to_owned(),
        identity: Identity {
            name: "controller".to_owned(),
            labels: [("kind".to_owned(), "controller".to_owned())].into(),
            manager: "herald-controller",
            status_manager: "poolReconciler",
            owner: async { Some(owner) }.boxed().shared(),
        },
        said: said_here,
        shown: shown_here,
        leadership: Leadership::always(),
        patience: Duration::from_secs(4),
    };
    let token = CancellationToken::new();
    let task = tokio::spawn(publication.run(token.clone()));
    Running {
        server,
        said,
        shown,
        token,
        task,
    }
}

fn lock(server: &Mutex<Server>) -> std::sync::MutexGuard<'_, Server> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    fn say(&self, problems: &[&str]) {
        let problems = problems.iter().map(|text| (*text).to_owned()).collect();
        let findings = Findings {
            problems,
            unknown: Vec::new(),
        };
        let report = Some(Report::new("poolReconcilerValid", &findings));
        let annotations = BTreeMap::new();
        let said = Said {
            annotations,
            report,
        };
        self.said.send_replace(Some(said));
    }

    /// Lets an hour pass, and with it all that is going to happen.
    async fn idle(&self) {
        tokio::time::sleep(Duration::from_hours(1)).await;
    }

    /// The watch shows what is stored.
    fn show(&self) {
        let object = lock(&self.server).object.clone();
        let object = object.map(|object| serde_json::from_value(object).expect("readable"));
        self.shown.send_replace(object.map(Arc::new));
    }

    /// How often the object was described, and its status written, until now.
    fn writes(&self) -> (usize, usize) {
        let server = lock(&self.server);
        (server.descriptions, server.statuses)
    }

    fn stored(&self) -> Value {
        lock(&self.server).object.clone().expect("stored")
    }

    async fn end(self) {
        self.token.cancel();
        self.task.await.expect("no panic").expect("asked to end");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_api_shows_is_not_written_again() {
    let running = start(None);
    running.idle().await;
    assert_eq!(running.writes(), (0, 0), "nothing is to be said");
    running.say(&["pool a"]);
    running.idle().await;
    assert_eq!(running.writes(), (1, 1));
    let stored = running.stored();
    assert_eq!(stored["metadata"]["labels"]["kind"], "controller");
    assert_eq!(stored["metadata"]["ownerReferences"][0]["uid"], "7");
    assert_eq!(stored["status"]["result"], "Invalid");

    // The echo of our writes, the same again, and an old state of the object.
    running.show();
    running.say(&["pool a"]);
    running.idle().await;
    let mut old = running.stored();
    old["metadata"]["resourceVersion"] = json!("1");
    old["status"] = json!({});
    let old = serde_json::from_value(old).expect("readable");
    running.shown.send_replace(Some(Arc::new(old)));
    running.idle().await;
    assert_eq!(running.writes(), (1, 1));

    running.say(&[]);
    running.idle().await;
    assert_eq!(running.writes(), (1, 2));
    assert_eq!(running.stored()["status"]["result"], "Valid");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_nothing_is_written_that_is_there() {
    let first = start(None);
    first.say(&["pool a"]);
    first.idle().await;
    let stored = first.stored();
    first.end().await;
    let second = start(Some(stored));
    second.show();
    second.idle().await;
    second.say(&["pool a"]);
    second.idle().await;
    assert_eq!(second.writes(), (0, 0));
    second.end().await;
}

#[tokio::test(start_paused = true)]
async fn many_changes_are_few_writes() {
    let running = start(None);
    for number in 0..1000 {
        running.say(&[&format!("pool {number}")]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.idle().await;
    let (descriptions, statuses) = running.writes();
    assert_eq!(descriptions, 1);
    // Ten seconds.
    assert!((2..=12).contains(&statuses), "{statuses}");
    assert_eq!(running.stored()["status"]["errorSummary"], "pool 999");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changes_or_deletes_is_mended_with_growing_pauses() {
    let running = start(None);
    running.say(&["pool a"]);
    running.idle().await;
    lock(&running.server).object = None;
    running.show();
    running.idle().await;
    assert_eq!(running.writes(), (2, 2), "it is made anew");

    for _ in 0..600 {
        {
            let mut server = lock(&running.server);
            server.version += 1;
            let version = server.version.to_string();
            let object = server.object.as_mut().expect("stored");
            object["metadata"]["resourceVersion"] = json!(version);
            object["status"] = json!({});
        }
        running.show();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (_, fought) = running.writes();
    assert!((3..30).contains(&fought), "{fought} in a minute");
    running.idle().await;
    assert_eq!(running.stored()["status"]["result"], "Invalid");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_tried_again() {
    let running = start(None);
    lock(&running.server).failures = 5;
    running.say(&["pool a"]);
    running.idle().await;
    assert_eq!(running.writes(), (1, 1));
    // It goes between the two writes of its beginning, before the watch shows it.
    lock(&running.server).object = None;
    running.say(&[]);
    running.idle().await;
    assert_eq!(running.stored()["status"]["result"], "Valid");
    running.end().await;
}
