//! The Pod of this process, as the owner of what it writes.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::client::REQUEST_TIMEOUT;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
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

#[cfg(test)]
mod tests {
    use kube::Config;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// An API server that gives these answers, each to one connection, and then no more.
    async fn server(answers: &'static [(&str, &str)]) -> Client {
        crate::install_crypto_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.expect("accepts");
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.expect("asks");
                assert!(request[..read].starts_with(b"GET /api/v1/namespaces/ns/pods/me"));
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
        let missing = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",
            "message":"no me","reason":"NotFound","code":404}"#;
        let client = server(Box::leak(Box::new([("404 Not Found", missing)]))).await;
        let owner = of_pod(&client, "ns", "me".to_owned());
        // A second request would find nobody, and wait.
        let both = async { (owner.clone().await, owner.clone().await) };
        let both = tokio::time::timeout(Duration::from_secs(5), both).await;
        assert_eq!(both.expect("no second request"), (None, None));
    }

    #[tokio::test]
    async fn the_pod_owns_by_its_uid() {
        let pod = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"me","uid":"7"}}"#;
        let client = server(Box::leak(Box::new([("200 OK", pod)]))).await;
        let owner = of_pod(&client, "ns", "me".to_owned()).await.expect("found");
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("Pod", "7"));
    }
}
