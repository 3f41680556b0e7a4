//! An API server that misbehaves as a test says: a proxy before the real one.
//!
//! It speaks plain HTTP inside the namespace `cp` and passes requests on with the rights of the
//! controller. For every request the test's rule says what becomes of it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use herald_lab::{Herald, HeraldBuilder, Lab, User};
use http::{Method, StatusCode, header};
use kube::Client;

/// Larger than any object or list of these tests.
const LARGEST: usize = 64 << 20;

/// A request as a rule sees it.
#[derive(Debug, Clone)]
pub struct Call {
    /// `GET`, `PATCH`, …
    pub method: Method,
    /// The path without the query.
    pub path: String,
    /// Whether it asks for a watch.
    pub is_watch: bool,
}

impl Call {
    /// Whether it writes the status of a Service; the Service's name.
    pub fn service_status(&self) -> Option<&str> {
        let mut parts = self.path.rsplit('/');
        let status = self.method == Method::PATCH && parts.next() == Some("status");
        let name = parts.next()?;
        (status && parts.next() == Some("services")).then_some(name)
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is passed on, and its answer comes back.
    Pass,
    /// It is answered with this status code and never arrives.
    Refuse(u16),
    /// It arrives and takes effect, and is answered with this status code all the same.
    Betray(u16),
    /// It arrives and takes effect, and its answer never comes.
    Swallow,
    /// The answer ends after this time, as watches do.
    Cut(Duration),
}

type Ruling = Pin<Box<dyn Future<Output = Fate> + Send>>;
type Rule = Arc<dyn Fn(Call) -> Ruling + Send + Sync>;

/// The proxy; it ends with the test's executor.
#[derive(Debug)]
pub struct FaultyApi {
    kubeconfig: PathBuf,
}

#[derive(Clone)]
struct Proxy {
    client: Client,
    rule: Rule,
}

impl FaultyApi {
    /// Starts the proxy on the executor it is called on. The rule may do things itself before it decides, e.g. change the object.
    pub fn start<F>(lab: &Lab, rule: impl Fn(Call) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = Fate> + Send + 'static,
    {
        let listener = lab.in_namespace("cp", || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))??;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let proxy = Proxy {
            client: lab.client_of(User::Controller)?,
            rule: Arc::new(move |call| Box::pin(rule(call))),
        };
        let router = Router::new().fallback(handle).with_state(proxy);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let kubeconfig = lab.dir().join(format!("faulty-{port}.kubeconfig"));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
             clusters: [{{name: lab, cluster: {{server: \"http://127.0.0.1:{port}\"}}}}]\n\
             contexts: [{{name: lab, context: {{cluster: lab, user: lab}}}}]\n\
             users: [{{name: lab, user: {{}}}}]\n"
        );
        fs::write(&kubeconfig, text)?;
        Ok(Self { kubeconfig })
    }

    /// A controller that knows no other API server than this one.
    pub fn controller<'a>(&self, lab: &'a Lab, name: &str) -> Result<HeraldBuilder<'a>> {
        Ok(lab.controller(name)?.kubeconfig(&self.kubeconfig))
    }

    /// Starts such a controller and waits until it is ready.
    pub async fn start_controller(&self, lab: &Lab, name: &str) -> Result<Herald> {
        self.controller(lab, name)?.start_ready().await
    }
}

async fn handle(State(proxy): State<Proxy>, request: Request) -> Response {
    let call = Call {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        is_watch: request
            .uri()
            .query()
            .is_some_and(|query| query.contains("watch=")),
    };
    let fate = (proxy.rule)(call).await;
    if let Fate::Refuse(code) = fate {
        return refuse(code);
    }
    let answer = match pass(&proxy.client, request).await {
        Ok(answer) => answer,
        Err(error) => return (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    };
    match fate {
        Fate::Pass | Fate::Refuse(_) => answer,
        Fate::Betray(code) => refuse(code),
        Fate::Swallow => std::future::pending().await,
        Fate::Cut(after) => answer.map(|body| {
            let stream = body.into_data_stream();
            Body::from_stream(stream.take_until(Box::pin(tokio::time::sleep(after))))
        }),
    }
}

/// What an API server in trouble says.
fn refuse(code: u16) -> Response {
    let reason = match code {
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the test wants it so", "reason": reason, "code": code,
    });
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = [(header::CONTENT_TYPE, "application/json")];
    (code, json, status.to_string()).into_response()
}

async fn pass(client: &Client, request: Request) -> Result<Response> {
    let (head, body) = request.into_parts();
    let mut onward = http::Request::builder().method(head.method);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    onward = onward.uri(path);
    for name in [header::ACCEPT, header::CONTENT_TYPE, header::USER_AGENT] {
        if let Some(value) = head.headers.get(&name) {
            onward = onward.header(name, value);
        }
    }
    let body = to_bytes(body, LARGEST).await?;
    let answer = client
        .send(onward.body(kube::client::Body::from(body.to_vec()))?)
        .await?;
    let (mut head, body) = answer.into_parts();
    // The server that this proxy is frames the answer in its own way.
    for name in [
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::CONNECTION,
    ] {
        head.headers.remove(name);
    }
    Ok(Response::from_parts(head, Body::new(body)))
}
