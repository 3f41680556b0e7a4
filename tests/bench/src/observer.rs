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

/// When each Service was first seen with an address.
#[derive(Debug)]
pub(crate) struct Observer {
    seen: Arc<Mutex<HashMap<String, Instant>>>,
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
        let seen = Arc::new(Mutex::new(HashMap::new()));
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
                if !has_address(&service) {
                    continue;
                }
                let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let name = service.metadata.name.unwrap_or_default();
                seen.entry(name).or_insert(now);
                let have = seen.len();
                // A waiter looks into the map while it holds the channel.
                drop(seen);
                sender.send_replace(have);
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
        Ok(seen.values().max().copied().unwrap_or_else(Instant::now))
    }

    /// Waits until this Service has an address; when it was seen.
    pub(crate) async fn one(&mut self, name: &str, timeout: Duration) -> Result<Instant> {
        self.until(timeout, |_, seen| seen.contains_key(name))
            .await
            .with_context(|| format!("Service {name} was to have an address"))?;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(name).copied().context("seen, then forgotten")
    }

    async fn until(
        &mut self,
        timeout: Duration,
        reached: impl Fn(usize, &HashMap<String, Instant>) -> bool,
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
