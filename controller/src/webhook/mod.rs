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
use std::time::Duration;

use herald_runtime::certificate::{Directory, Presented};
use herald_runtime::health::Readiness;
use herald_runtime::lease::Leadership;
use herald_runtime::supervise::{Supervisor, TaskResult};
use herald_runtime::{https, tls};
use kube::Client;

use crate::args::ControllerArgs;
use certificates::{Certificates, Keeper, Mounted, Source, Targets};
pub(crate) use metrics::WebhookMetrics;
use server::Endpoints;

/// How long to answer on once the process is to end: until every node and API server has seen that
/// the Service leads to others. Well within the grace period of a Pod.
const LINGER: Duration = Duration::from_secs(5);

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
    let service = format!("{}.{namespace}.svc", args.cert_service_name);
    let by_us = (namespace.to_owned(), args.cert_service_name.clone());
    let mut targets = Targets {
        client: client.clone(),
        configuration: Some(args.webhook_configuration.clone()),
        names: vec![
            service.clone(),
            format!("{service}.cluster.local"),
            "localhost".to_owned(),
        ],
        converter: args.webhook_conversion.then_some(by_us),
    };
    let source = if args.disable_cert_rotation {
        targets.configuration = None;
        Source::Directory(Box::new(Mounted {
            directory: Directory {
                path: args.cert_dir.clone(),
                flag: "--cert-dir",
            },
            targets,
            leadership: leadership.clone(),
        }))
    } else {
        Source::Secret(Box::new(Keeper {
            client: client.clone(),
            namespace: namespace.to_owned(),
            name: args.webhook_secret.clone(),
            targets,
            leadership: leadership.clone(),
        }))
    };
    let block = readiness.block("webhook certificate");
    let certificates = Certificates::new(source, presented, block);
    let token = supervisor.token();
    supervisor.spawn("webhook certificate", certificates.run(token.clone()));
    let router = Endpoints::new(client.clone(), namespace, &args.common.lb_class, metrics).router();
    let router = server::closing(router, supervisor.draining());
    let port = args.webhook_port;
    linger(supervisor);
    supervisor.spawn("webhooks", async move {
        https::serve(("--webhook-port", port), config, router, token).await
    });
    Ok(())
}

/// Has the process end only once nobody should come any more.
fn linger(supervisor: &mut Supervisor) {
    // What it waits for is a time and no work: it is never late.
    let drain = supervisor.drain(LINGER + Duration::from_secs(1));
    let end = supervisor.token();
    supervisor.spawn("webhooks' end", async move {
        let wait = async {
            drain.begun().await;
            tokio::time::sleep(LINGER).await;
        };
        end.run_until_cancelled(wait).await;
        drop(drain);
        end.cancelled().await;
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_webhooks_are_served_for_a_while_after_the_end_begins() {
        let mut supervisor = Supervisor::new();
        linger(&mut supervisor);
        let (ending, end) = (supervisor.draining(), supervisor.token());
        let running = tokio::spawn(supervisor.run());
        ending.cancel();
        let begun = Instant::now();
        end.cancelled().await;
        assert_eq!(begun.elapsed(), LINGER);
        running.await.expect("no panic").expect("an orderly end");

        // What ends without warning does not wait.
        let mut supervisor = Supervisor::new();
        linger(&mut supervisor);
        let begun = Instant::now();
        supervisor.token().cancel();
        supervisor.run().await.expect("an orderly end");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
