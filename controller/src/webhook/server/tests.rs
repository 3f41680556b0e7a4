//! The server over real sockets and TLS, with an API server that is a function.

use std::net::SocketAddr;
use std::sync::Arc;

use herald_runtime::{https, tls};
use http::Response as HttpResponse;
use jiff::Timestamp;
use kube::client::Body as KubeBody;
use prometheus_client::registry::Registry;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::webhook::certificates::issue_for_tests;

const NAMESPACE: &str = "herald-system";
const POOLS: &str = "/validate-metallb-io-v1beta1-ipaddresspool";
const SOON: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    common: herald_runtime::args::CommonArgs,
}

struct Server {
    address: SocketAddr,
    roots: Arc<rustls::ClientConfig>,
    registry: Registry,
    _end: tokio_util::sync::DropGuard,
}

/// An API server that has one pool, and says first that it is busy; or none that answers.
fn client(answers: bool) -> Client {
    let busy = Arc::new(std::sync::atomic::AtomicBool::new(answers));
    let service = tower::service_fn(move |request: http::Request<KubeBody>| {
        let busy = busy.swap(false, std::sync::atomic::Ordering::Relaxed);
        async move {
            let path = request.uri().path().to_owned();
            let items = if path.ends_with("/ipaddresspools") {
                json!([{ "metadata": { "name": "stored", "namespace": NAMESPACE },
                     "spec": { "addresses": ["192.0.2.0/24"] } }])
            } else {
                json!([])
            };
            let (status, body) = if busy {
                (
                    429,
                    json!({ "kind": "Status", "code": 429, "message": "storage is initializing" }),
                )
            } else if answers {
                (
                    200,
                    json!({ "metadata": { "resourceVersion": "1" }, "items": items }),
                )
            } else {
                (
                    500,
                    json!({ "kind": "Status", "code": 500, "message": "etcd is away" }),
                )
            };
            let response = HttpResponse::builder()
                .status(status)
                .header("content-type", "application/json");
            response.body(KubeBody::from(body.to_string().into_bytes()))
        }
    });
    Client::new(service, NAMESPACE)
}

impl Server {
    async fn start(answers: bool) -> Self {
        herald_runtime::install_crypto_provider();
        let names = ["localhost".to_owned()];
        let issued = issue_for_tests(&names, Timestamp::now());
        let key = tls::certified_key(issued.1.as_bytes(), issued.2.as_bytes()).expect("a pair");
        let args = <Cli as clap::Parser>::parse_from(["herald"]).common;
        let config = tls::resolving(&args, Arc::new(Fixed(Arc::new(key)))).expect("usable");
        let mut registry = Registry::default();
        let metrics = WebhookMetrics::register(&mut registry);
        let router = Endpoints::new(client(answers), NAMESPACE, "", metrics).router();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("bound");
        let end = CancellationToken::new();
        tokio::spawn(https::serve_on(listener, config, router, end.clone()));

        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(issued.0.as_bytes()).expect("PEM");
        roots.add(root).expect("an authority");
        let roots = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            address,
            roots: Arc::new(roots),
            registry,
            _end: end.drop_guard(),
        }
    }

    /// Sends a request as it is and gives status and body of the answer.
    async fn send(&self, raw: &[u8]) -> (u16, String) {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.roots));
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = connector.connect(name, stream).await.expect("trusted");
        // The server may answer before it has read all, and close.
        let _ = stream.write_all(raw).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer));
        let _ = read.await.expect("in time");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.unwrap_or_default(), body.to_owned())
    }

    async fn post(&self, path: &str, kind: &str, body: &[u8]) -> (u16, String) {
        let mut raw = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        raw.extend(body);
        self.send(&raw).await
    }

    /// The answer about a new pool.
    async fn ask(&self, address: &str) -> (u16, String) {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "u1", "operation": "CREATE",
                "kind": { "group": "metallb.io", "version": "v1beta1", "kind": "IPAddressPool" },
                "object": { "metadata": { "name": "p", "namespace": NAMESPACE },
                            "spec": { "addresses": [address] } },
            },
        });
        let body = review.to_string().into_bytes();
        self.post(POOLS, "application/json", &body).await
    }

    async fn serves(&self) {
        let (status, body) = self.ask("198.51.100.0/24").await;
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            (status, &answer["response"]["allowed"]),
            (200, &json!(true)),
            "{body}"
        );
    }

    fn count(&self, line: &str) -> bool {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("encodes");
        text.lines().any(|found| found == line)
    }
}

#[tokio::test]
async fn a_change_is_judged_by_what_is_stored() {
    let server = Server::start(true).await;
    server.serves().await;
    let (status, body) = server.ask("192.0.2.128/25").await;
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 200);
    assert_eq!(answer["response"]["uid"], "u1");
    assert_eq!(answer["response"]["allowed"], false);
    let message = answer["response"]["status"]["message"]
        .as_str()
        .expect("a text");
    assert!(
        message.contains("overlaps with already defined CIDR \"192.0.2.0/24\""),
        "{message}"
    );
    for (outcome, count) in [("allowed", 1), ("refused", 1)] {
        let labels = format!("kind=\"IPAddressPool\",outcome=\"{outcome}\"");
        let line = format!("herald_webhook_requests_total{{{labels}}} {count}");
        assert!(server.count(&line), "{line}");
    }
}

#[tokio::test]
async fn while_what_is_stored_cannot_be_read_there_is_no_verdict() {
    let server = Server::start(false).await;
    let (status, body) = server.ask("192.0.2.128/25").await;
    assert_eq!(status, 500, "{body}");
    assert!(body.contains("cannot read what is stored"), "{body}");
    assert!(server.count("herald_webhook_requests_total{kind=\"admission\",outcome=\"failed\"} 1"));
}

#[tokio::test]
async fn rubbish_gets_an_error_and_the_service_stays_up() {
    const JSON: &str = "application/json";
    let server = Server::start(true).await;
    let large = vec![b' '; LARGEST_ADMISSION + 1];
    for (path, kind, body, expected) in [
        (POOLS, JSON, &b"{"[..], 400),
        (POOLS, JSON, b"\xff\xfe", 400),
        (
            POOLS,
            JSON,
            b"{\"kind\": \"Pod\", \"apiVersion\": \"v1\"}",
            400,
        ),
        (POOLS, "text/plain", b"{}", 415),
        (POOLS, "", b"{}", 415),
        (POOLS, JSON, &large, 413),
        (CONVERT, JSON, b"[[[[[[[[", 400),
        (CONVERT, "application/xml", b"<a/>", 415),
        ("/validate-something-else", JSON, b"{}", 404),
    ] {
        let (status, text) = server.post(path, kind, body).await;
        assert_eq!(status, expected, "{path} {kind}: {text}");
        assert!(text.len() < 1000, "{}", text.len());
    }
    // JSON that is deep enough to end a stack.
    let deep = vec![b'['; 1 << 20];
    assert_eq!(server.post(POOLS, JSON, &deep).await.0, 400);
    let raw = |rest: &str| format!("{rest}\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let get = server
        .send(raw(&format!("GET {POOLS} HTTP/1.1")).as_bytes())
        .await;
    assert_eq!(get.0, 405);
    let json = format!("POST {POOLS} HTTP/1.1\r\nContent-Type: {JSON}");
    assert_eq!(server.send(raw(&json).as_bytes()).await.0, 411);
    let endless = format!("{json}\r\nTransfer-Encoding: chunked");
    assert_eq!(server.send(raw(&endless).as_bytes()).await.0, 411);
    let huge = format!("{json}\r\nContent-Length: 99999999999999");
    assert_eq!(server.send(raw(&huge).as_bytes()).await.0, 413);
    let many = format!("{json}{}", "\r\nX: y".repeat(1000));
    assert_eq!(server.send(raw(&many).as_bytes()).await.0, 431);
    // The answer may be lost where the rest is not read.
    let long = format!("{json}\r\nX: {}", "y".repeat(4 << 20));
    assert!([431, 0].contains(&server.send(raw(&long).as_bytes()).await.0));
    server.serves().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_and_holds_nobody_up() {
    let server = Server::start(true).await;
    let head = format!(
        "POST {POOLS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    );
    let (slow, ()) = tokio::join!(server.send(head.as_bytes()), server.serves());
    assert_eq!(slow.0, 408, "{}", slow.1);
}

#[tokio::test]
async fn clients_that_say_little_are_given_up_and_make_room_for_others() {
    // As many as are served at one time.
    const CONNECTIONS: usize = 64;
    let server = Server::start(true).await;
    let mut silent = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(server.address).await.expect("connects");
        if number % 2 == 0 {
            // A ClientHello begins.
            let begun = stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await;
            begun.expect("sent");
        }
        silent.push(stream);
    }
    let head = b"POST /convert HTTP/1.1\r\nHost: loc";
    let (slow, ()) = tokio::join!(server.send(head), server.serves());
    assert_eq!(slow.0, 0, "closed without an answer: {}", slow.1);
    for mut stream in silent {
        let mut answer = Vec::new();
        let end = tokio::time::timeout(SOON, stream.read_to_end(&mut answer));
        // A reset is an end too.
        let _ = end.await.expect("closed");
    }
    server.serves().await;
}

#[tokio::test]
async fn bodies_that_are_announced_and_do_not_come_take_nothing_from_others() {
    let server = Server::start(true).await;
    let head = format!(
        "POST {CONVERT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {LARGEST_CONVERSION}\r\n\r\n"
    );
    let (begun, mut first) = (tokio::sync::Barrier::new(5), Vec::new());
    for _ in 0..4 {
        first.push(async {
            begun.wait().await;
            server.send(head.as_bytes()).await
        });
    }
    let others = async {
        begun.wait().await;
        server.serves().await;
        // As large as a question may be.
        let padding = vec![b' '; LARGEST_ADMISSION];
        server.post(POOLS, "application/json", &padding).await
    };
    let (first, others) = tokio::join!(futures::future::join_all(first), others);
    assert_eq!(others.0, 400, "read, and no question: {}", others.1);
    for (status, text) in first {
        assert_eq!(status, 408, "{text}");
    }
    server.serves().await;
}

#[tokio::test]
async fn what_is_no_tls_is_closed() {
    let server = Server::start(true).await;
    for rubbish in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x16, 3, 1, 0xff, 0xff, 0, 0],
        &[0; 4096],
    ] {
        let mut stream = TcpStream::connect(server.address).await.expect("connects");
        let _ = stream.write_all(rubbish).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let end = tokio::time::timeout(SOON, stream.read_to_end(&mut answer));
        // A reset is an end too.
        let _ = end.await.expect("closed");
        assert!(
            !String::from_utf8_lossy(&answer).contains("HTTP"),
            "{answer:?}"
        );
    }
    server.serves().await;
}

#[tokio::test]
async fn many_objects_are_converted_and_their_number_is_not_what_takes_memory() {
    let server = Server::start(true).await;
    let review = |objects: &[Value]| {
        let review = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "request": { "uid": "u1", "desiredAPIVersion": "metallb.io/v1beta2", "objects": objects },
        });
        review.to_string().into_bytes()
    };
    let peer = json!({ "apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer",
        "metadata": { "name": "r" }, "spec": { "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1" } });
    // Several that are large at one time, too: each has its turn.
    let many = review(&vec![peer; 3000]);
    assert!(many.len() > 2 * UNCOUNTED, "{}", many.len());
    let post = || server.post(CONVERT, "application/json", &many);
    let (a, b, c) = tokio::join!(post(), post(), post());
    for (status, text) in [a, b, c] {
        assert_eq!(status, 200, "{text}");
        assert!(text.contains("\"Success\""), "{text}");
        // One may be cut in two where a piece ends.
        let converted = text.matches("metallb.io/v1beta2").count();
        assert!(converted > 2900, "{converted}");
    }
    let small = vec![json!({}); 60_000];
    let (status, text) = server
        .post(CONVERT, "application/json", &review(&[json!(small)]))
        .await;
    assert_eq!(status, 400, "{text}");
    assert!(
        text.contains("an object has more than 50000 values"),
        "{text}"
    );
    server.serves().await;
}

#[tokio::test]
async fn at_the_end_connections_are_given_up_after_each_answer() {
    use tower::ServiceExt as _;

    let ending = CancellationToken::new();
    let router = Router::new().route("/", axum::routing::get(|| async { "ok" }));
    let router = closing(router, ending.clone());
    let ask = async || {
        let request = http::Request::get("/").body(Body::empty());
        let response = router.clone().oneshot(request.expect("a request")).await;
        response
            .expect("an answer")
            .headers()
            .get(header::CONNECTION)
            .cloned()
    };
    assert_eq!(ask().await, None);
    ending.cancel();
    assert_eq!(ask().await, Some(HeaderValue::from_static("close")));
}
