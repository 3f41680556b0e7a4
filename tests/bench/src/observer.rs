//! Sees the Services as any client does: by a watch.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use herald_lab::Lab;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// When the watch showed a Service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// For the first time.
    pub(crate) created: Instant,
    /// For the first time with an address.
    pub(crate) address: Option<Instant>,
}

type Services = HashMap<String, Seen>;

/// When each Service was first seen, and when with an address.
#[derive(Debug)]
pub(crate) struct Observer {
    seen: Arc<Mutex<Services>>,
    /// How many have an address.
    count: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Observer {
    /// Starts to watch.
    pub(crate) fn start(lab: &Lab) -> Self {
        let api: Api<Service> = Api::namespaced(lab.client(), "default");
        let seen = Arc::new(Mutex::new(Services::new()));
        let (sender, count) = watch::channel(0);
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let events = watcher(api, watcher::Config::default())
                .default_backoff()
                .applied_objects();
            let mut events = pin!(events);
            loop {
                // The watcher starts again by itself after an error.
                let Ok(next) = events.try_next().await else {
                    continue;
                };
                let Some(service) = next else { return };
                let now = Instant::now();
                let address = has_address(&service).then_some(now);
                let name = service.metadata.name.unwrap_or_default();
                let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let entry = seen.entry(name).or_insert(Seen {
                    created: now,
                    address: None,
                });
                if entry.address.is_none() && address.is_some() {
                    entry.address = address;
                    // A waiter looks into the map while it holds the channel.
                    drop(seen);
                    sender.send_modify(|count| *count += 1);
                }
            }
        });
        Self { seen, count, task }
    }

    /// Waits until so many Services have an address; when the last of them was seen.
    pub(crate) async fn all(&mut self, count: usize, timeout: Duration) -> Result<Instant> {
        self.until(timeout, |have, _| have >= count)
            .await
            .with_context(|| format!("{count} Services were to have addresses"))?;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(seen
            .values()
            .filter_map(|seen| seen.address)
            .max()
            .unwrap_or_else(Instant::now))
    }

    /// Waits until this Service has an address; when it was seen, and when with its address.
    pub(crate) async fn one(
        &mut self,
        name: &str,
        timeout: Duration,
    ) -> Result<(Instant, Instant)> {
        let times = |seen: &Services| {
            seen.get(name)
                .and_then(|at| Some((at.created, at.address?)))
        };
        self.until(timeout, |_, seen| times(seen).is_some())
            .await
            .with_context(|| format!("Service {name} was to have an address"))?;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        times(&seen).context("seen, then forgotten")
    }

    async fn until(
        &mut self,
        timeout: Duration,
        reached: impl Fn(usize, &Services) -> bool,
    ) -> Result<()> {
        let seen = Arc::clone(&self.seen);
        let waiting = self.count.wait_for(|have| {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            reached(*have, &seen)
        });
        let waited = tokio::time::timeout(timeout, waiting).await;
        match waited.map(|reached| reached.map(drop)) {
            Ok(reached) => reached.context("the watch has ended"),
            Err(_) => bail!("not within {timeout:?}; {} have", *self.count.borrow()),
        }
    }
}

fn has_address(service: &Service) -> bool {
    let status = service.status.as_ref();
    let load_balancer = status.and_then(|status| status.load_balancer.as_ref());
    load_balancer
        .and_then(|status| status.ingress.as_ref())
        .is_some_and(|ingress| ingress.iter().any(|ingress| ingress.ip.is_some()))
}
