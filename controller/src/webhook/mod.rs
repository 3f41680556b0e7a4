//! The webhooks: objects of `metallb.io` are judged before they are stored, and `BGPPeer`s converted
//! from one version to the other (compat.md 1.8).
//!
//! ```text
//!  API server ─▶ server ─▶ review (JSON) ─▶ config::admission, with what snapshot reads
//!      │            ▲
//!      │            └── certificates: Secret ─▶ presented; the leader makes and changes it
//!      └◀─ caBundle ─────────┘
//! ```
//! Every replica answers; none of them needs to know more than the API server itself tells it.

mod certificates;
mod effects;
mod metrics;
mod review;
mod server;
mod snapshot;

use std::sync::Arc;

use herald_runtime::certificate::{Directory, Presented};
use herald_runtime::health::Readiness;
use herald_runtime::lease::Leadership;
use herald_runtime::supervise::{Supervisor, TaskResult};
use herald_runtime::{https, tls};
use kube::Client;

use crate::args::ControllerArgs;
use certificates::{Certificates, Keeper, Source, Targets};
pub(crate) use metrics::WebhookMetrics;
use server::Endpoints;

/// Starts the server and what looks after its certificate.
pub(crate) fn start(
    args: &ControllerArgs,
    (client, namespace): (&Client, &str),
    leadership: &Leadership,
    readiness: &Readiness,
    metrics: WebhookMetrics,
    supervisor: &mut Supervisor,
) -> TaskResult {
    let presented = Presented::default();
    let config = tls::resolving(&args.common, Arc::new(presented.clone()))?;
    let source = if args.disable_cert_rotation {
        Source::Directory(Directory {
            path: args.cert_dir.clone(),
            flag: "--cert-dir",
        })
    } else {
        let service = format!("{}.{namespace}.svc", args.cert_service_name);
        let names = vec![
            service.clone(),
            format!("{service}.cluster.local"),
            "localhost".to_owned(),
        ];
        Source::Secret(Box::new(Keeper {
            client: client.clone(),
            namespace: namespace.to_owned(),
            name: args.webhook_secret.clone(),
            targets: Targets {
                client: client.clone(),
                configuration: args.webhook_configuration.clone(),
                names,
            },
            leadership: leadership.clone(),
        }))
    };
    let block = readiness.block("webhook certificate");
    let certificates = Certificates::new(source, presented, block);
    let token = supervisor.token();
    supervisor.spawn("webhook certificate", certificates.run(token.clone()));
    let router = Endpoints::new(client.clone(), namespace, &args.common.lb_class, metrics).router();
    let port = args.webhook_port;
    supervisor.spawn("webhooks", async move {
        https::serve(("--webhook-port", port), config, router, token).await
    });
    Ok(())
}
