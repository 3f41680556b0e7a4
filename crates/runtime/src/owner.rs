//! The Pod and the Deployment of this process, as owners of what it writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::backoff::Backoff;
use crate::client::REQUEST_TIMEOUT;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use k8s_openapi::api::apps::v1;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client, ResourceExt as _};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The owner, looked up once by the first that awaits it; `None` if there is no such Pod.
pub type Owner = Shared<BoxFuture<'static, Option<OwnerReference>>>;

/// The Pod `name` as an owner, so that what this process wrote goes when its Pod goes. Waits while
/// the API does not answer.
pub fn of_pod(client: &Client, namespace: &str, name: String) -> Owner {
    let api = Api::namespaced(client.clone(), namespace);
    look_up(api, name).boxed().shared()
}

async fn look_up(api: Api<Pod>, name: String) -> Option<OwnerReference> {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        match tokio::time::timeout(REQUEST_TIMEOUT, api.get(&name)).await {
            Ok(Ok(pod)) => {
                return Some(OwnerReference {
                    api_version: "v1".to_owned(),
                    kind: "Pod".to_owned(),
                    uid: pod.uid()?,
                    name,
                    ..OwnerReference::default()
                });
            }
            Ok(Err(kube::Error::Api(status))) if [403, 404].contains(&status.code) => {
                tracing::info!(
                    pod = name,
                    error = status.message,
                    "no such Pod, or no right to read it: status objects get no owner and stay \
                     when Herald is removed; name the Pod with --pod-name"
                );
                return None;
            }
            Ok(Err(error)) => tracing::debug!(%error, "cannot read our Pod, trying again"),
            Err(_) => tracing::debug!("cannot read our Pod in time, trying again"),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// The Deployment that this process is of, by name. What it owns outlives each of its Pods.
///
/// Clones share what was seen of it.
#[derive(Debug, Clone)]
pub struct Deployment {
    api: Api<v1::Deployment>,
    name: String,
    seen: Arc<Mutex<Option<OwnerReference>>>,
}

impl Deployment {
    /// The one of this name; `None` without a name.
    pub fn named(client: &Client, namespace: &str, name: Option<&str>) -> Option<Self> {
        Some(Self {
            api: Api::namespaced(client.clone(), namespace),
            name: name.filter(|name| !name.is_empty())?.to_owned(),
            seen: Arc::default(),
        })
    }

    /// The Deployment as an owner, as it is now; `None` if there is none of this name, or no right to
    /// read it.
    ///
    /// One that was there before is still told: what is made in its name while Herald is being removed
    /// goes at once then, and does not stay.
    pub async fn look_up(&self) -> kube::Result<Option<OwnerReference>> {
        match self.api.get(&self.name).await {
            Ok(deployment) => {
                let owner = deployment.uid().map(|uid| OwnerReference {
                    api_version: "apps/v1".to_owned(),
                    kind: "Deployment".to_owned(),
                    name: self.name.clone(),
                    uid,
                    ..OwnerReference::default()
                });
                self.seen().clone_from(&owner);
                Ok(owner)
            }
            Err(kube::Error::Api(status)) if [403, 404].contains(&status.code) => {
                let seen = self.last_seen();
                if seen.is_none() {
                    tracing::warn!(
                        event = "ownerMissing",
                        deployment = self.name,
                        error = status.message,
                        "no such Deployment, or no right to read it: what it is to own may stay \
                         when Herald is removed; check --deployment"
                    );
                }
                Ok(seen)
            }
            Err(error) => Err(error),
        }
    }

    /// The Deployment as an owner, as it was when it was last looked up with success.
    pub fn last_seen(&self) -> Option<OwnerReference> {
        self.seen().clone()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Option<OwnerReference>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kube::Config;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const POD: &str = "/api/v1/namespaces/ns/pods/me";
    const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/ns/deployments/mine";
    const MISSING: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",
        "message":"none","reason":"NotFound","code":404}"#;

    /// An API server that gives these answers, each to one connection, and then no more.
    async fn server(path: &'static str, answers: &'static [(&str, &str)]) -> Client {
        crate::install_crypto_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.expect("accepts");
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.expect("asks");
                let request = String::from_utf8_lossy(&request[..read]);
                assert!(request.starts_with(&format!("GET {path}")), "{request}");
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\
                     Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.expect("hears");
            }
        });
        let config = Config::new(format!("http://{address}").parse().expect("valid"));
        Client::try_from(config).expect("a client")
    }

    #[tokio::test]
    async fn a_pod_that_does_not_exist_is_looked_for_once() {
        let client = server(POD, &[("404 Not Found", MISSING)]).await;
        let owner = of_pod(&client, "ns", "me".to_owned());
        // A second request would find nobody, and wait.
        let both = async { (owner.clone().await, owner.clone().await) };
        let both = tokio::time::timeout(Duration::from_secs(5), both).await;
        assert_eq!(both.expect("no second request"), (None, None));
    }

    #[tokio::test]
    async fn the_pod_owns_by_its_uid() {
        let pod = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"me","uid":"7"}}"#;
        let client = server(POD, Box::leak(Box::new([("200 OK", pod)]))).await;
        let owner = of_pod(&client, "ns", "me".to_owned()).await.expect("found");
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("Pod", "7"));
    }

    #[tokio::test]
    async fn a_deployment_that_is_gone_still_owns() {
        const THERE: &str =
            r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"mine","uid":"7"}}"#;
        const ANSWERS: [(&str, &str); 3] = [
            ("404 Not Found", MISSING),
            ("200 OK", THERE),
            ("404 Not Found", MISSING),
        ];
        let client = server(DEPLOYMENT, &ANSWERS).await;
        let deployment = Deployment::named(&client, "ns", Some("mine")).expect("a name");
        let other = deployment.clone();
        assert_eq!(other.look_up().await.expect("an answer"), None);
        let there = deployment.look_up().await.expect("an answer");
        assert_eq!(there.as_ref().map(|owner| owner.uid.as_str()), Some("7"));
        assert_eq!(other.look_up().await.expect("an answer"), there);
    }
}
