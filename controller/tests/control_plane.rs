//! The controller against a real API server on loopback.

#![allow(
    clippy::tests_outside_test_module,
    reason = "an integration test is a test module"
)]
#![allow(clippy::print_stdout, reason = "the time taken is worth reading")]

mod support;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use herald_api::annotations::{CONDITION_ADDRESS_ASSIGNED, IP_ALLOCATED_FROM_POOL};
use herald_api::kinds::IPAddressPool;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Service};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use support::{ControlPlane, NAMESPACE, eventually};

const SOON: Duration = Duration::from_secs(10);

/// Not a test of its own: the other tests run this program again as a controller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the other tests as a process of its own"]
async fn controller_process() {
    support::be_controller().await;
}

struct Cluster {
    plane: ControlPlane,
    services: Api<Service>,
    pools: Api<IPAddressPool>,
}

impl Cluster {
    async fn start() -> Self {
        let plane = ControlPlane::start().await;
        let client = plane.client.clone();
        Self {
            services: Api::namespaced(client.clone(), "default"),
            pools: Api::namespaced(client, NAMESPACE),
            plane,
        }
    }

    async fn pool(&self, name: &str, addresses: &[&str]) {
        let pool = serde_json::from_value(json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"addresses": addresses},
        }))
        .expect("a pool");
        self.pools
            .create(&PostParams::default(), &pool)
            .await
            .expect("created");
    }

    async fn service(&self, name: &str, spec: &Value) {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}],
                     "allocateLoadBalancerNodePorts": false},
        });
        for (field, value) in spec.as_object().expect("an object") {
            object["spec"][field] = value.clone();
        }
        let service = serde_json::from_value(object).expect("a Service");
        self.services
            .create(&PostParams::default(), &service)
            .await
            .expect("created");
    }

    async fn many(&self, count: usize) {
        let names = (0..count).map(|n| format!("s{n:05}"));
        stream::iter(names)
            .for_each_concurrent(
                32,
                |name| async move { self.service(&name, &json!({})).await },
            )
            .await;
    }

    async fn get(&self, name: &str) -> Service {
        self.services.get(name).await.expect("a Service")
    }

    /// The address and the resource version of every Service that has one.
    async fn addresses(&self) -> BTreeMap<String, (String, String)> {
        let all = self
            .services
            .list(&ListParams::default())
            .await
            .expect("a list");
        let assigned = all.items.iter().filter_map(|service| {
            let version = service.resource_version().unwrap_or_default();
            Some((service.name_any(), (ip(service)?, version)))
        });
        assigned.collect()
    }

    async fn all_assigned(&self, count: usize, limit: Duration) -> Duration {
        eventually("every Service has an address", limit, async || {
            self.addresses().await.len() == count
        })
        .await
    }

    async fn has(&self, name: &str, address: Option<&str>) -> Duration {
        eventually(&format!("{name} has {address:?}"), SOON, async || {
            ip(&self.get(name).await).as_deref() == address
        })
        .await
    }

    /// The name of the replica that leads, without its suffix.
    async fn holder(&self) -> Option<String> {
        let leases = Api::<Lease>::namespaced(self.plane.client.clone(), NAMESPACE);
        let lease = leases
            .get_opt("herald-controller")
            .await
            .expect("readable")?;
        let holder = lease.spec?.holder_identity?;
        let (replica, _) = holder.rsplit_once('_')?;
        Some(replica.to_owned())
    }

    async fn events(&self, name: &str) -> Vec<(String, String)> {
        self.events_in("default", name).await
    }

    async fn events_in(&self, namespace: &str, name: &str) -> Vec<(String, String)> {
        let events = Api::<Event>::namespaced(self.plane.client.clone(), namespace);
        let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let found = events.list(&about).await.expect("a list").items.into_iter();
        found
            .map(|e| (e.reason.unwrap_or_default(), e.message.unwrap_or_default()))
            .collect()
    }

    async fn merge(&self, name: &str, patch: Value) {
        let params = PatchParams::default();
        self.services
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .expect("patched");
    }
}

fn ip(service: &Service) -> Option<String> {
    let ingress = service
        .status
        .as_ref()?
        .load_balancer
        .as_ref()?
        .ingress
        .as_ref()?;
    ingress.first()?.ip.clone()
}

fn condition(service: &Service) -> Option<(String, String)> {
    let conditions = service.status.as_ref()?.conditions.as_ref()?;
    let ours = conditions
        .iter()
        .find(|c| c.type_ == CONDITION_ADDRESS_ASSIGNED)?;
    Some((ours.status.clone(), ours.reason.clone()))
}

fn condition_is(service: &Service, status: &str, reason: &str) -> bool {
    condition(service) == Some((status.to_owned(), reason.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test control plane: run by make test"]
async fn a_service_gets_keeps_and_gives_back_its_address() {
    let cluster = Cluster::start().await;
    cluster.pool("bad", &["192.0.2.9-192.0.2.1"]).await;
    cluster
        .pool("good", &["198.51.100.7/32", "fd00:1::/120"])
        .await;
    cluster.service("a", &json!({})).await;
    cluster
        .service(
            "elsewhere",
            &json!({"loadBalancerClass": "example.com/other"}),
        )
        .await;
    let controller = cluster.plane.controller("one");
    cluster.has("a", Some("198.51.100.7")).await;

    let a = cluster.get("a").await;
    assert_eq!(
        a.annotations()
            .get(IP_ALLOCATED_FROM_POOL.key)
            .map(String::as_str),
        Some("good")
    );
    assert!(condition_is(&a, "True", "Assigned"), "{:?}", condition(&a));
    eventually("an event tells of it", SOON, async || {
        let told = (
            "IPAllocated".to_owned(),
            "Assigned IP [\"198.51.100.7\"]".to_owned(),
        );
        cluster.events("a").await == [told]
    })
    .await;
    eventually("the pool counts it", SOON, async || {
        let status = cluster.pools.get("good").await.expect("a pool").status;
        status.is_some_and(|s| (s.assigned_ipv4, s.available_ipv4) == (1, 0))
    })
    .await;
    eventually("an event tells of the bad pool", SOON, async || {
        let events = cluster.events_in(NAMESPACE, "bad").await;
        events
            .iter()
            .any(|(reason, _)| reason == "InvalidConfiguration")
    })
    .await;

    // The next one waits, says so, and gets the address the moment it is free.
    cluster.service("b", &json!({})).await;
    eventually("b is told to wait", SOON, async || {
        condition_is(&cluster.get("b").await, "False", "NoAvailableAddresses")
            && cluster
                .events("b")
                .await
                .iter()
                .any(|(reason, _)| reason == "AllocationFailed")
    })
    .await;
    cluster
        .service("six", &json!({"ipFamilies": ["IPv6"]}))
        .await;
    cluster.has("six", Some("fd00:1::")).await;

    let type_change = json!({"spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": null}});
    cluster.merge("a", type_change).await;
    cluster.has("b", Some("198.51.100.7")).await;
    eventually("a is cleared", SOON, async || {
        let a = cluster.get("a").await;
        ip(&a).is_none()
            && condition(&a).is_none()
            && !a.annotations().contains_key(IP_ALLOCATED_FROM_POOL.key)
    })
    .await;
    assert_eq!(condition(&cluster.get("elsewhere").await), None);

    // A restart changes nothing and writes nothing.
    let before = cluster.addresses().await;
    controller.terminate();
    // Meanwhile one stops being a load balancer: nobody watches.
    cluster
        .merge(
            "six",
            json!({"spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": null}}),
        )
        .await;
    let _controller = cluster.plane.controller("two");
    eventually("six is cleared", SOON, async || {
        condition(&cluster.get("six").await).is_none()
    })
    .await;
    assert_eq!(cluster.addresses().await.get("b"), before.get("b"));
    cluster
        .services
        .delete("b", &DeleteParams::default())
        .await
        .expect("deleted");
    cluster.service("c", &json!({})).await;
    cluster.has("c", Some("198.51.100.7")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test control plane: run by make test"]
async fn of_two_replicas_one_acts_and_the_other_follows_without_changing_anything() {
    let cluster = Cluster::start().await;
    cluster.pool("pool", &["10.0.0.0/8"]).await;
    let one = cluster.plane.controller("one");
    eventually("one leads", SOON, async || {
        cluster.holder().await.as_deref() == Some("one")
    })
    .await;
    let two = cluster.plane.controller("two");
    cluster.many(100).await;
    cluster.all_assigned(100, SOON).await;
    let before = cluster.addresses().await;
    let distinct: HashSet<_> = before.values().map(|(ip, _)| ip).collect();
    assert_eq!(distinct.len(), 100);
    assert!(
        !cluster.plane.log("two").contains("IPAllocated"),
        "two only follows"
    );

    // An orderly end hands over at once.
    one.terminate();
    let handover = Instant::now();
    eventually("two leads", SOON, async || {
        cluster.holder().await.as_deref() == Some("two")
    })
    .await;
    assert!(
        handover.elapsed() < Duration::from_secs(2),
        "took {:?}",
        handover.elapsed()
    );
    cluster.service("late", &json!({})).await;
    eventually("two acts", SOON, async || {
        ip(&cluster.get("late").await).is_some()
    })
    .await;

    // A killed leader is followed when its Lease has run out.
    let one = cluster.plane.controller("one");
    drop(two);
    let limit = Duration::from_secs(30);
    eventually("one leads again", limit, async || {
        cluster.holder().await.as_deref() == Some("one")
    })
    .await;
    cluster.service("later", &json!({})).await;
    eventually("one acts", SOON, async || {
        ip(&cluster.get("later").await).is_some()
    })
    .await;
    let mut after = cluster.addresses().await;
    after.remove("late");
    after.remove("later");
    assert_eq!(
        before, after,
        "no address changed, nothing was written again"
    );
    one.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test control plane: run by make test"]
async fn pending_services_are_served_fast_and_a_restart_writes_nothing() {
    let count = std::env::var("HERALD_TEST_SERVICES")
        .ok()
        .and_then(|n| n.parse().ok());
    let count = count.unwrap_or(500);
    let cluster = Cluster::start().await;
    cluster.pool("pool", &["10.0.0.0/8"]).await;
    cluster.many(count).await;
    let controller = cluster.plane.controller("one");
    let took = cluster.all_assigned(count, Duration::from_mins(1)).await;
    let resident = controller.resident();
    println!(
        "{count} services: {took:?} from the start of the controller, {resident} KiB resident"
    );
    let before = cluster.addresses().await;
    let distinct: HashSet<_> = before.values().map(|(ip, _)| ip).collect();
    assert_eq!(distinct.len(), count);

    controller.terminate();
    let controller = cluster.plane.controller("two");
    cluster.service("new", &json!({})).await;
    eventually("the new one acts", SOON, async || {
        ip(&cluster.get("new").await).is_some()
    })
    .await;
    let mut after = cluster.addresses().await;
    after.remove("new");
    assert_eq!(before, after);

    controller.terminate();

    // What the API server gives to a plain writer, to compare with.
    let start = Instant::now();
    stream::iter(before.keys())
        .for_each_concurrent(64, |name| async {
            let ingress = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
            let (params, patch) = (PatchParams::default(), Patch::Merge(ingress));
            cluster
                .services
                .patch_status(name, &params, &patch)
                .await
                .expect("written");
        })
        .await;
    println!(
        "{count} services: {:?} with a plain concurrent writer",
        start.elapsed()
    );
}
