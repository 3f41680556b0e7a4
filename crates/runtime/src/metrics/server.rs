//! The server of `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;
use kube::Client;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::access::{self, Access};
use crate::args::{CommonArgs, MetricsSecurity};
use crate::certificate::{self, Directory, Presented};
use crate::health::ALL_ADDRESSES;
use crate::https;
use crate::metrics::process;
use crate::supervise::TaskResult;
use crate::tls::{self, TlsError};

const PATH: &str = "/metrics";

/// Serves `registry`, and what every process says of itself, on all addresses at `--port`, to whom and
/// how `--metrics-security` says, until `token` is cancelled. Port 0 serves nothing. `client` asks who
/// may read.
pub async fn serve(
    args: CommonArgs,
    client: Client,
    mut registry: Registry,
    token: CancellationToken,
) -> TaskResult {
    process::register(&mut registry);
    let mut router = router(Arc::new(registry));
    if args.port == 0 {
        token.cancelled().await;
        return Ok(());
    }
    match args.metrics_security {
        MetricsSecurity::None => {
            let address = (ALL_ADDRESSES, args.port).into();
            return https::serve_plain("--port", address, router, token).await;
        }
        MetricsSecurity::Tls => {}
        MetricsSecurity::Authorized => {
            let access = Arc::new(Access::new(client, PATH));
            router = router.layer(from_fn_with_state(access, access::check));
        }
    }
    let presented = Presented::default();
    let config = tls::resolving(&args, Arc::new(presented.clone()))?;
    let served = https::serve(("--port", args.port), config, router, token);
    let Some(path) = args.metrics_cert_dir.clone() else {
        presented
            .present(tls::self_signed()?)
            .map_err(TlsError::Certificate)?;
        return served.await;
    };
    let directory = Directory {
        path,
        flag: "--metrics-cert-dir",
    };
    let first = directory.read().await.map_err(TlsError::Certificate)?;
    presented.present(first).map_err(TlsError::Certificate)?;
    tokio::select! {
        served = served => served,
        never = follow(&directory, &presented) => match never {},
    }
}

/// Presents what is in the directory. What cannot be used changes nothing.
async fn follow(directory: &Directory, presented: &Presented) -> std::convert::Infallible {
    let mut failing = false;
    loop {
        tokio::time::sleep(certificate::PERIOD).await;
        let read = directory.read().await;
        match read.and_then(|pair| presented.present(pair)) {
            Ok(new) => {
                failing = false;
                if new {
                    tracing::info!(
                        event = "certificateLoaded",
                        "the metrics server has a new certificate"
                    );
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        event = "certificateFailed",
                        error,
                        "the metrics server keeps the certificate that it has"
                    );
                }
            }
        }
    }
}

fn router(registry: Arc<Registry>) -> Router {
    Router::new().route(PATH, get(page)).with_state(registry)
}

async fn page(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    let mut body = String::new();
    match prometheus_client::encoding::text::encode(&mut body, &registry) {
        Ok(()) => (
            StatusCode::OK,
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            body,
        ),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            error.to_string(),
        ),
    }
}
