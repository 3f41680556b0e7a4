//! The cluster's objects as tests make them and look at them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::TryStreamExt as _;
use herald_api::annotations::{CONDITION_ADDRESS_ASSIGNED, IP_ALLOCATED_FROM_POOL};
use herald_api::kinds::{IPAddressPool, IPAddressPoolStatus};
use herald_lab::{Herald, Lab, NAMESPACE, Service, eventually};
use k8s_openapi::api::core::v1::{Event, Service as ServiceObject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{DeleteParams, ListParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

/// How long a test waits for what Herald and routers do at once, or within a few seconds, on a machine
/// that may be very busy. How long they may take is for each test to say.
pub const SOON: Duration = Duration::from_secs(30);

/// Applies an `IPAddressPool` with these addresses and nothing else.
pub async fn pool(lab: &Lab, name: &str, addresses: &[&str]) -> Result<()> {
    pool_with(lab, name, json!({"addresses": addresses})).await
}

/// Applies an `IPAddressPool` with this spec.
pub async fn pool_with(lab: &Lab, name: &str, spec: Value) -> Result<()> {
    let object = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    });
    lab.apply_yaml(&object.to_string()).await?;
    Ok(())
}

/// The `IPAddressPool`s.
pub fn pools(lab: &Lab) -> Api<IPAddressPool> {
    Api::namespaced(lab.client(), NAMESPACE)
}

/// Deletes an `IPAddressPool`.
pub async fn delete_pool(lab: &Lab, name: &str) -> Result<()> {
    pools(lab).delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// Waits until the counters of a pool are these: IPv4 assigned and available, IPv6 the same.
pub async fn wait_counters(lab: &Lab, pool: &str, v4: (i64, i64), v6: (i64, i64)) -> Result<()> {
    let wanted = IPAddressPoolStatus {
        assigned_ipv4: v4.0,
        available_ipv4: v4.1,
        assigned_ipv6: v6.0,
        available_ipv6: v6.1,
    };
    eventually(
        SOON,
        &format!("pool {pool} to show {wanted:?}"),
        async || {
            let status = pools(lab).get(pool).await?.status;
            ensure!(status.as_ref() == Some(&wanted), "it shows {status:?}");
            Ok(Some(()))
        },
    )
    .await
}

/// Applies an `L2Advertisement` of all pools on all nodes.
pub async fn advertise(lab: &Lab) -> Result<()> {
    let object = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": {"name": "all", "namespace": NAMESPACE}, "spec": {},
    });
    lab.apply_yaml(&object.to_string()).await?;
    Ok(())
}

/// Makes a namespace with labels.
pub async fn namespace(lab: &Lab, name: &str, labels: Value) -> Result<()> {
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
    });
    lab.apply_yaml(&object.to_string()).await?;
    Ok(())
}

/// An address literal.
///
/// # Panics
/// If the text is no address.
pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("a test writes addresses")
}

/// The addresses that a Service's status shows.
pub fn addresses_of(service: &ServiceObject) -> Vec<IpAddr> {
    let balancer = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer
        .and_then(|balancer| balancer.ingress.as_deref())
        .unwrap_or_default();
    ingress
        .iter()
        .filter_map(|entry| entry.ip.as_deref()?.parse().ok())
        .collect()
}

/// The addresses of all Services that have some, by `namespace/name`.
pub async fn all_addresses(lab: &Lab) -> Result<BTreeMap<String, Vec<IpAddr>>> {
    let all = Api::<ServiceObject>::all(lab.client())
        .list(&ListParams::default())
        .await?;
    let all = all
        .items
        .iter()
        .map(|service| (full_name(service), addresses_of(service)));
    Ok(all.filter(|(_, addresses)| !addresses.is_empty()).collect())
}

/// The resource versions of all Services, by `namespace/name`: what stays equal was not written.
pub async fn versions(lab: &Lab) -> Result<BTreeMap<String, String>> {
    let all = Api::<ServiceObject>::all(lab.client())
        .list(&ListParams::default())
        .await?;
    let version = |service: &ServiceObject| service.metadata.resource_version.clone();
    Ok(all
        .items
        .iter()
        .filter_map(|s| Some((full_name(s), version(s)?)))
        .collect())
}

fn full_name(service: &ServiceObject) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!(
        "{}/{}",
        part(&service.metadata.namespace),
        part(&service.metadata.name)
    )
}

/// What `metallb.io/ip-allocated-from-pool` says.
pub fn allocated_from(service: &ServiceObject) -> Option<String> {
    service
        .metadata
        .annotations
        .as_ref()?
        .get(IP_ALLOCATED_FROM_POOL.key)
        .cloned()
}

/// The condition `herald.io/AddressAssigned`.
pub fn condition(service: &ServiceObject) -> Option<Condition> {
    let conditions = service.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == CONDITION_ADDRESS_ASSIGNED)
        .cloned()
}

/// Waits until a Service's addresses are exactly these, in this order.
pub async fn wait_for(service: &Service, addresses: &[&str]) -> Result<()> {
    let wanted: Vec<IpAddr> = addresses.iter().copied().map(ip).collect();
    eventually(
        SOON,
        &format!("{} to have {wanted:?}", service.name),
        async || {
            let object = service.get().await?;
            let has = addresses_of(&object);
            let why = condition(&object).map(|condition| condition.message);
            ensure!(has == wanted, "it has {has:?}: {}", why.unwrap_or_default());
            Ok(Some(()))
        },
    )
    .await
}

/// Waits until a Service has no address and its condition gives this reason; the message.
pub async fn wait_pending(service: &Service, reason: &str) -> Result<String> {
    eventually(
        SOON,
        &format!("{} to wait for {reason}", service.name),
        async || {
            let object = service.get().await?;
            let (has, condition) = (addresses_of(&object), condition(&object));
            let condition = condition.context("it has no condition yet")?;
            ensure!(
                has.is_empty() && condition.status == "False" && condition.reason == reason,
                "it has {has:?}, {}: {}",
                condition.reason,
                condition.message
            );
            Ok(Some(condition.message))
        },
    )
    .await
}

/// The events about an object of `default` (or of Herald's own namespace), oldest first.
pub async fn events_of(lab: &Lab, name: &str) -> Result<Vec<Event>> {
    let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
    let mut events = Api::<Event>::all(lab.client()).list(&about).await?.items;
    events.sort_by_key(|event| event.first_timestamp.clone());
    Ok(events)
}

/// Waits for an event about an object whose message contains a text; the message.
pub async fn wait_event(lab: &Lab, name: &str, reason: &str, text: &str) -> Result<String> {
    eventually(
        SOON,
        &format!("event {reason} of {name} with {text:?}"),
        async || {
            let events = events_of(lab, name).await?;
            let mut told = Vec::new();
            for event in events {
                let (of, message) = (
                    event.reason.unwrap_or_default(),
                    event.message.unwrap_or_default(),
                );
                if of == reason && message.contains(text) {
                    return Ok(Some(message));
                }
                told.push(format!("{of}: {message}"));
            }
            anyhow::bail!("its events are {told:?}")
        },
    )
    .await
}

/// The metrics of a process of Herald's, one sample a line.
pub async fn metrics(lab: &Lab, part: &str, herald: &Herald) -> Result<String> {
    let url = format!("https://127.0.0.1:{}/metrics", herald.metrics_port);
    lab.exec(
        part,
        &[
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--insecure",
            &url,
        ],
    )
    .await
}

/// Every change of a Service that the API shows, from now on.
#[derive(Debug)]
pub struct Changes {
    seen: Arc<Mutex<Vec<ServiceObject>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Changes {
    /// Starts to watch the Services of all namespaces.
    pub async fn watch(lab: &Lab) -> Result<Self> {
        let api: Api<ServiceObject> = Api::all(lab.client());
        let list = api.list(&ListParams::default().limit(1)).await?;
        let version = list
            .metadata
            .resource_version
            .context("a list has a version")?;
        let stream = api
            .watch(&WatchParams::default().timeout(290), &version)
            .await?;
        let seen = Arc::<Mutex<Vec<ServiceObject>>>::default();
        let kept = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            futures::pin_mut!(stream);
            // The watch ends with the API server; what was seen until then counts.
            while let Ok(Some(event)) = stream.try_next().await {
                if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
                    kept.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(object);
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// The states that a Service of `default` went through, oldest first.
    pub fn of(&self, name: &str) -> Vec<ServiceObject> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .filter(|object| object.metadata.name.as_deref() == Some(name))
            .cloned()
            .collect()
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.task.abort();
    }
}
