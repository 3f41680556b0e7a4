//! Candidates against an API server that knows one Lease and one Deployment.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/leader";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/ns/deployments/controller";

/// The API server. It has no watches: candidates poll.
#[derive(Default)]
struct Server {
    lease: Option<Value>,
    version: u64,
    /// The Deployment's uid; `None` if there is none.
    deployment: Option<&'static str>,
    /// Whether it fails where it is asked for the Deployment.
    fails: bool,
    /// Whether it lets nobody change owners.
    protects_owners: bool,
}

impl Server {
    fn answer(&mut self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        match (method, path) {
            (&Method::GET, DEPLOYMENT) if self.fails => refusal(500),
            (&Method::GET, DEPLOYMENT) => self.deployment.map_or_else(
                || refusal(404),
                |uid| (200, json!({"metadata": {"name": "controller", "uid": uid}})),
            ),
            (&Method::GET, LEASE) => match &self.lease {
                Some(lease) => (200, lease.clone()),
                None => refusal(404),
            },
            (&Method::POST, LEASES) if self.lease.is_none() => self.store(body),
            (&Method::PUT, LEASE) if self.lease.is_some() => self.store(body),
            (&Method::POST | &Method::PUT, _) => refusal(409),
            _ => refusal(500),
        }
    }

    fn store(&mut self, body: &[u8]) -> (u16, Value) {
        let mut lease: Value = serde_json::from_slice(body).expect("JSON");
        if let Some(stored) = &self.lease {
            let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
            if version(stored) != version(&lease) {
                return refusal(409);
            }
            let owners = |lease: &Value| lease["metadata"]["ownerReferences"].clone();
            if self.protects_owners && owners(stored) != owners(&lease) {
                return refusal(403);
            }
        }
        self.version += 1;
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.lease = Some(lease.clone());
        (200, lease)
    }

    /// The uids of the Lease's owners.
    fn owners(&self) -> Vec<&str> {
        let lease = self.lease.as_ref().expect("a Lease");
        let owners = lease["metadata"]["ownerReferences"].as_array();
        let owners = owners.into_iter().flatten();
        owners.filter_map(|owner| owner["uid"].as_str()).collect()
    }
}

fn refusal(code: u16) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "" };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason,
    });
    (code, body)
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid})
}

/// A Lease that nobody holds.
fn free_lease(owners: &[Value]) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": "leader", "namespace": "ns", "resourceVersion": "1", "ownerReferences": owners,
        },
        "spec": {"holderIdentity": "", "leaseTransitions": 3},
    })
}

/// A candidate, and the API server that it talks to.
struct Running {
    server: Arc<Mutex<Server>>,
    leadership: Leadership,
    token: CancellationToken,
    task: JoinHandle<TaskResult>,
}

impl Running {
    /// Starts it, and waits until it leads.
    async fn leads(mut server: Server) -> Self {
        server.version = 1;
        let server = Arc::new(Mutex::new(server));
        let behind = Arc::clone(&server);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&behind);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.expect("a whole body");
                let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
                let (code, body) = server.answer(&parts.method, parts.uri.path(), &body);
                let body = Body::from(body.to_string().into_bytes());
                let answer = Response::builder().status(code).body(body);
                Ok::<_, Infallible>(answer.expect("valid"))
            }
        });
        let client = Client::new(service, "ns");
        let deployment = Deployment::named(&client, "ns", Some("controller"));
        let (candidate, leadership) =
            Candidate::new(client, "ns", "leader", "me", Timing::default());
        let token = CancellationToken::new();
        let task = tokio::spawn(candidate.owned_by(deployment).run(token.clone()));
        let mut running = Self {
            server,
            leadership,
            token,
            task,
        };
        assert!(running.leadership.changed().await);
        running
    }

    fn with<T>(&self, what: impl FnOnce(&mut Server) -> T) -> T {
        what(&mut self.server.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn owners(&self) -> Vec<String> {
        self.with(|server| server.owners().into_iter().map(str::to_owned).collect())
    }

    /// Leads on for a minute.
    async fn renews(&self) {
        let version = self.with(|server| server.version);
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(self.leadership.is_leader());
        assert!(self.with(|server| server.version) > version + 20);
    }
}

#[tokio::test(start_paused = true)]
async fn the_deployment_owns_a_lease_that_is_made() {
    let running = Running::leads(Server {
        deployment: Some("7"),
        ..Server::default()
    })
    .await;
    assert_eq!(running.owners(), ["7"]);
    running.renews().await;
    running.token.cancel();
    running.task.await.expect("ends").expect("ends well");
    let server = running
        .server
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    assert_eq!(server.owners(), ["7"], "given back");
    let lease = server.lease.as_ref().expect("a Lease");
    assert_eq!(lease["spec"]["holderIdentity"], "");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_there_gets_the_owner_beside_those_of_others() {
    let owners = [
        owner("Deployment", "controller", "of an earlier installation"),
        owner("Application", "controller", "another's"),
    ];
    for (before, after) in [(&owners[..], &["another's", "7"][..]), (&[], &["7"])] {
        let running = Running::leads(Server {
            lease: Some(free_lease(before)),
            deployment: Some("7"),
            ..Server::default()
        })
        .await;
        assert_eq!(running.owners(), after);
        running.renews().await;
        assert_eq!(running.owners(), after);
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_deployment_the_lease_is_held_all_the_same() {
    for fails in [false, true] {
        let running = Running::leads(Server {
            fails,
            ..Server::default()
        })
        .await;
        assert_eq!(running.owners(), [""; 0]);
        running.renews().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_made_after_the_deployment_is_gone_is_still_its() {
    let mut running = Running::leads(Server {
        deployment: Some("7"),
        ..Server::default()
    })
    .await;
    running.with(|server| {
        server.deployment = None;
        server.lease = None;
    });
    assert!(!running.leadership.changed().await);
    assert!(running.leadership.changed().await);
    assert_eq!(running.owners(), ["7"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_somebody_takes_away_is_not_given_back_while_it_leads() {
    let running = Running::leads(Server {
        deployment: Some("7"),
        ..Server::default()
    })
    .await;
    // The Deployment is deleted with its dependents orphaned: as its dependent the Lease would go.
    running.with(|server| {
        let mut lease = server.lease.clone().expect("a Lease");
        lease["metadata"]["ownerReferences"] = Value::Null;
        server.store(lease.to_string().as_bytes());
        server.deployment = None;
    });
    running.renews().await;
    assert_eq!(running.owners(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn where_owners_may_not_be_changed_the_lease_is_taken_as_it_is() {
    let other = owner("Application", "controller", "another's");
    let running = Running::leads(Server {
        lease: Some(free_lease(&[other])),
        deployment: Some("7"),
        protects_owners: true,
        ..Server::default()
    })
    .await;
    assert_eq!(running.owners(), ["another's"]);
    running.renews().await;
}
