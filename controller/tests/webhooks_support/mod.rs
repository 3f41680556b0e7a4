//! A controller with webhooks, an API server that calls them, and cases from a table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::client::Body;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{ControlPlane, NAMESPACE, Process, eventually, free_port};

/// The configuration that the controller looks after.
pub(crate) const CONFIGURATION: &str = "metallb-webhook-configuration";

/// Kind, plural and version of what is judged.
const KINDS: [(&str, &str, &str); 6] = [
    ("IPAddressPool", "ipaddresspools", "v1beta1"),
    ("L2Advertisement", "l2advertisements", "v1beta1"),
    ("BGPAdvertisement", "bgpadvertisements", "v1beta1"),
    ("BGPPeer", "bgppeers", "v1beta2"),
    ("BFDProfile", "bfdprofiles", "v1beta1"),
    ("Community", "communities", "v1beta1"),
];

/// A case of the table of rules.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(default)]
    stored: Vec<Object>,
    #[serde(default)]
    nodes: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    secrets: BTreeMap<String, Value>,
    create: Option<Object>,
    update: Option<Object>,
    delete: Option<Object>,
    #[serde(default)]
    pub(crate) errors: Vec<Vec<String>>,
    #[serde(default)]
    pub(crate) warnings: Vec<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Object {
    kind: String,
    name: String,
    namespace: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    deleting: bool,
    spec: Option<Value>,
}

impl Object {
    fn raw(&self) -> Value {
        let version = KINDS.iter().find(|(kind, ..)| *kind == self.kind);
        let (kind, _, version) = version.expect("a known kind");
        let mut raw = json!({
            "apiVersion": format!("metallb.io/{version}"), "kind": kind,
            "metadata": { "name": self.name }, "spec": self.spec.clone().unwrap_or_else(|| json!({})),
        });
        if let Some(annotations) = &self.annotations {
            raw["metadata"]["annotations"] = json!(annotations);
        }
        raw
    }

    fn path(&self) -> String {
        let known = KINDS.iter().find(|(kind, ..)| *kind == self.kind);
        let (_, plural, version) = known.expect("a known kind");
        let namespace = self.namespace.as_deref().unwrap_or(NAMESPACE);
        objects_path(version, namespace, plural)
    }
}

impl Case {
    /// True for what the API server itself does not let happen.
    pub(crate) fn needs_more_than_the_api(&self) -> bool {
        let elsewhere = self
            .update
            .as_ref()
            .is_some_and(|new| new.namespace.is_some());
        let changes = [&self.create, &self.update, &self.delete];
        let odd = changes
            .into_iter()
            .flatten()
            .any(|object| object.deleting || object.name.is_empty());
        elsewhere || odd
    }
}

/// The path of the objects of a kind.
pub(crate) fn objects_path(version: &str, namespace: &str, plural: &str) -> String {
    format!("/apis/metallb.io/{version}/namespaces/{namespace}/{plural}")
}

fn secrets_path() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets")
}

/// What the API server answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of an error.
    pub(crate) message: String,
    pub(crate) warnings: Vec<String>,
    body: Value,
}

impl Answer {
    pub(crate) fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The object; panics on an error.
    pub(crate) fn object(self) -> Value {
        assert!(self.succeeded(), "{self:?}");
        self.body
    }
}

/// The cluster.
pub(crate) struct Hooks {
    pub(crate) plane: ControlPlane,
    seeder: Client,
    port: u16,
    pub(crate) controller: Process,
}

async fn request(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
    kind: &str,
) -> Answer {
    let bytes = body
        .map(|body| body.to_string().into_bytes())
        .unwrap_or_default();
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .body(Body::from(bytes))
        .expect("a request");
    let response = client.send(request).await.expect("an answer");
    let status = response.status().as_u16();
    // 299 - "text", with quotes and backslashes escaped.
    let warnings = response.headers().get_all("warning").iter().map(|value| {
        let text = value.to_str().expect("text");
        let text = text.trim_start_matches("299 - \"").trim_end_matches('"');
        text.replace("\\\"", "\"").replace("\\\\", "\\")
    });
    let warnings = warnings
        .filter(|text| !text.contains("is deprecated"))
        .collect();
    let body = response.into_body().collect_bytes().await.expect("a body");
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = body["message"].as_str().unwrap_or_default().to_owned();
    Answer {
        status,
        message: if status < 300 { String::new() } else { message },
        warnings,
        body,
    }
}

impl Hooks {
    /// An API server that asks the webhooks of a controller about what `admin` does; nobody is asked
    /// about what `seeder` does.
    pub(crate) async fn start() -> Self {
        let plane = ControlPlane::start().await;
        let port = free_port();
        let text = port.to_string();
        let flags = [
            ("HERALD_WEBHOOK_MODE", "enabled"),
            ("HERALD_WEBHOOK_PORT", text.as_str()),
            // No Service can be reached here: the URL of the conversion is set below.
            ("HERALD_WEBHOOK_CONVERSION", "false"),
        ];
        let controller = plane.controller_with("one", &flags);
        let seeder = plane.client_of("seeder").await;
        let hooks = Self {
            plane,
            seeder,
            port,
            controller,
        };
        hooks.point_at(port).await;
        hooks.wait_asked().await;
        hooks
    }

    /// Another controller, and its port.
    pub(crate) fn second(&self, flags: &[(&str, &str)]) -> (Process, u16) {
        let port = free_port();
        let text = port.to_string();
        let mut flags = flags.to_vec();
        flags.push(("HERALD_WEBHOOK_PORT", text.as_str()));
        flags.push(("HERALD_WEBHOOK_CONVERSION", "false"));
        (self.plane.controller_with("two", &flags), port)
    }

    /// Sends a request to the controller itself, and gives its answer as it comes.
    pub(crate) async fn send(&self, path: &str, body: &[u8]) -> String {
        let secrets = Api::<Secret>::namespaced(self.plane.client.clone(), NAMESPACE);
        let secret = secrets.get("metallb-webhook-cert").await.expect("there");
        let root = &secret.data.expect("data")["ca.crt"].0;
        let root = CertificateDer::from_pem_slice(root).expect("PEM");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root).expect("an authority");
        let roots = rustls::ClientConfig::builder().with_root_certificates(roots);
        let connector = TlsConnector::from(Arc::new(roots.with_no_client_auth()));
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = connector.connect(name, stream.expect("connects")).await;
        let mut stream = stream.expect("trusted");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // It may answer, and close, before it has read all.
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The configuration as somebody applies it who does not know of certificates.
    pub(crate) fn configuration(&self) -> Value {
        Self::configuration_at(self.port)
    }

    fn configuration_at(port: u16) -> Value {
        let webhooks = KINDS.map(|(_, plural, version)| {
            let lower = plural.trim_end_matches('s').replace("communitie", "community");
            json!({
                "name": format!("{lower}validationwebhook.metallb.io"),
                "clientConfig": {
                    "url": format!("https://localhost:{port}/validate-metallb-io-{version}-{lower}"),
                },
                "rules": [{ "apiGroups": ["metallb.io"], "apiVersions": [version],
                            "operations": ["CREATE", "UPDATE", "DELETE"], "resources": [plural] }],
                "matchConditions": [{
                    "name": "not-the-seeder",
                    "expression": "request.userInfo.username != 'seeder'",
                }],
                "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            })
        });
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": CONFIGURATION }, "webhooks": webhooks,
        })
    }

    /// Has the API server ask the webhooks at this port.
    pub(crate) async fn point_at(&self, port: u16) {
        let configurations = Api::<ValidatingWebhookConfiguration>::all(self.plane.client.clone());
        let params = PatchParams::apply("gitops");
        let patch = Patch::Apply(Self::configuration_at(port));
        let applied = configurations.patch(CONFIGURATION, &params, &patch).await;
        applied.expect("valid");
        let crds = Api::<CustomResourceDefinition>::all(self.plane.client.clone());
        let conversion = json!({ "spec": { "conversion": {
            "strategy": "Webhook",
            "webhook": {
                "conversionReviewVersions": ["v1"],
                "clientConfig": { "url": format!("https://localhost:{port}/convert") },
            },
        }}});
        let patch = Patch::Merge(conversion);
        let params = PatchParams::default();
        let patched = crds.patch("bgppeers.metallb.io", &params, &patch).await;
        patched.expect("valid");
    }

    /// Waits until every webhook and the conversion are asked, and answer.
    async fn wait_asked(&self) {
        let limit = Duration::from_mins(1);
        eventually("the webhooks are asked", limit, async || {
            for (kind, plural, version) in KINDS {
                let bad = json!({
                    "apiVersion": format!("metallb.io/{version}"), "kind": kind,
                    "metadata": { "name": "probe" },
                    "spec": { "addresses": ["192.0.2.0/24"], "myASN": 1 },
                });
                // In another namespace all are refused.
                let path = objects_path(version, "default", plural);
                let path = format!("{path}?dryRun=All&fieldValidation=Ignore");
                let answer = self.request(Method::POST, &path, Some(&bad)).await;
                if !answer.message.contains("resource must be created in") {
                    return false;
                }
            }
            let peer = json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer",
                "metadata": { "name": "probe" },
                "spec": { "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1" },
            });
            let path = objects_path("v1beta1", NAMESPACE, "bgppeers");
            let path = format!("{path}?dryRun=All");
            self.request(Method::POST, &path, Some(&peer))
                .await
                .succeeded()
        })
        .await;
    }

    /// As somebody about whom the webhooks are asked.
    pub(crate) async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        request(&self.plane.client, method, path, body, "application/json").await
    }

    /// A merge patch.
    pub(crate) async fn patch(&self, path: &str, changes: &Value) -> Answer {
        let kind = "application/merge-patch+json";
        request(&self.plane.client, Method::PATCH, path, Some(changes), kind).await
    }

    /// Makes an object, which is not refused and not warned of; its path.
    pub(crate) async fn make(&self, kind: &str, name: &str, spec: &Value) -> String {
        let known = KINDS.iter().find(|(known, ..)| *known == kind);
        let (_, plural, version) = known.expect("a known kind");
        let object = json!({
            "apiVersion": format!("metallb.io/{version}"), "kind": kind,
            "metadata": { "name": name }, "spec": spec,
        });
        let path = objects_path(version, NAMESPACE, plural);
        let made = self.request(Method::POST, &path, Some(&object)).await;
        assert!(made.succeeded() && made.warnings.is_empty(), "{made:?}");
        format!("{path}/{name}")
    }

    async fn seed(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        request(&self.seeder, method, path, body, "application/json").await
    }

    /// Stores what a case has stored, unasked; false if the schema does not allow it.
    pub(crate) async fn store(&self, case: &Case) -> bool {
        for (name, labels) in &case.nodes {
            let node = json!({ "apiVersion": "v1", "kind": "Node",
                               "metadata": { "name": name, "labels": labels } });
            let made = self.seed(Method::POST, "/api/v1/nodes", Some(&node)).await;
            assert!(made.succeeded(), "{made:?}");
        }
        for (name, secret) in &case.secrets {
            // The API server wants one of the two.
            let mut data = json!({ "username": "somebody" });
            if let Some(password) = secret.get("password") {
                data["password"] = password.clone();
            }
            let made = json!({ "apiVersion": "v1", "kind": "Secret", "type": secret["type"],
                               "metadata": { "name": name, "labels": { "of": "a-case" } },
                               "stringData": data });
            let made = self.seed(Method::POST, &secrets_path(), Some(&made)).await;
            assert!(made.succeeded(), "{}: {made:?}", case.name);
        }
        for object in &case.stored {
            let made = self
                .seed(Method::POST, &object.path(), Some(&object.raw()))
                .await;
            if made.status == 422 {
                return false;
            }
            assert!(made.succeeded(), "{}: {made:?}", case.name);
        }
        true
    }

    /// Makes the change of a case.
    pub(crate) async fn change(&self, case: &Case) -> Answer {
        if let Some(new) = &case.create {
            return self
                .request(Method::POST, &new.path(), Some(&new.raw()))
                .await;
        }
        if let Some(new) = &case.update {
            let path = format!("{}/{}", new.path(), new.name);
            loop {
                let mut object = self.seed(Method::GET, &path, None).await.object();
                object["spec"] = new.raw()["spec"].clone();
                let answer = self.request(Method::PUT, &path, Some(&object)).await;
                // The controller writes the status of pools.
                if answer.status != 409 {
                    return answer;
                }
            }
        }
        let old = case.delete.as_ref().expect("one of the three");
        let path = format!("{}/{}", old.path(), old.name);
        self.request(Method::DELETE, &path, None).await
    }

    /// Deletes all objects, unasked.
    pub(crate) async fn clear(&self) {
        for (_, plural, version) in KINDS {
            let path = objects_path(version, NAMESPACE, plural);
            self.seed(Method::DELETE, &path, None).await;
        }
        self.seed(Method::DELETE, "/api/v1/nodes", None).await;
        let secrets = format!("{}?labelSelector=of%3Da-case", secrets_path());
        self.seed(Method::DELETE, &secrets, None).await;
    }
}
