//! Twenty Services, one of each way in which people ask for an address.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_e2e::objects::{addresses_of, allocated_from};
use herald_lab::{Lab, ServiceBuilder, eventually};
use k8s_openapi::api::core::v1::Service as ServiceObject;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

/// The addresses that clients on the LAN ask.
pub(crate) const WEB: [&str; 2] = ["192.168.10.7", "fd10::a:7"];
/// The one that is asked from behind the router.
pub(crate) const BGP: &str = "10.50.0.7";

const PATIENCE: Duration = Duration::from_mins(1);

const WANTED: &str = "metallb.io/loadBalancerIPs";
const POOL: &str = "metallb.io/address-pool";
const SHARED: &str = "metallb.io/allow-shared-ip";

fn all(lab: &Lab) -> Vec<ServiceBuilder<'_>> {
    let web = |name: &str| lab.service(name).selector("app", "web");
    let mut all = vec![
        web("requested")
            .dual_stack()
            .annotation(WANTED, &WEB.join(",")),
        web("local").local().annotation(WANTED, "192.168.10.20"),
        web("local-dual").local().dual_stack(),
        web("ipv6").ipv6(),
        web("ipv6-requested")
            .ipv6()
            .annotation(WANTED, "fd10::a:20"),
        web("dual").dual_stack(),
        web("preferred").field("ipFamilyPolicy", "PreferDualStack"),
        web("field").field("loadBalancerIP", "192.168.10.21"),
        web("old-annotation").annotation("metallb.universe.tf/loadBalancerIPs", "192.168.10.22"),
        web("from-pool").annotation(POOL, "reserved"),
        web("pinned").label("team", "net"),
        web("routed")
            .annotation(POOL, "bgp")
            .annotation(WANTED, BGP),
        web("routed-local").local().annotation(POOL, "bgp"),
        web("avoiding-0-and-255"),
    ];
    for (name, port) in [
        ("shared-http", 80),
        ("shared-https", 443),
        ("shared-dns", 53),
    ] {
        let shared = web(name)
            .annotation(SHARED, "one")
            .annotation(WANTED, "192.168.10.30");
        all.push(if port == 53 {
            shared.udp_port(port)
        } else {
            shared.port(port)
        });
    }
    for (name, port) in [
        ("local-shared-a", 80),
        ("local-shared-b", 81),
        ("local-shared-c", 82),
    ] {
        let shared = web(name).local().annotation(SHARED, "two");
        all.push(shared.annotation(WANTED, "192.168.10.31").port(port));
    }
    all
}

/// Creates them with their backends and waits until MetalLB has given each an address; what they are then.
pub(crate) async fn create(lab: &Lab) -> Result<Vec<ServiceObject>> {
    lab.backends("web", &["n1", "n3"]).await?;
    let all = all(lab);
    ensure!(all.len() == 20, "{} Services", all.len());
    for service in all {
        service.create().await?;
    }
    eventually(PATIENCE, "an address for each Service", async || {
        let services = list(lab).await?;
        let waiting = services.iter().filter(|service| {
            let policy = service
                .spec
                .as_ref()
                .and_then(|spec| spec.ip_family_policy.as_deref());
            let count = if policy == Some("SingleStack") { 1 } else { 2 };
            addresses_of(service).len() != count || allocated_from(service).is_none()
        });
        let waiting: Vec<_> = waiting.map(|service| &service.metadata.name).collect();
        ensure!(waiting.is_empty(), "{waiting:?} have none");
        Ok(Some(services))
    })
    .await
}

/// Makes sure that they have the same addresses as before.
pub(crate) async fn are(lab: &Lab, before: &[ServiceObject]) -> Result<()> {
    let now = list(lab).await?;
    for service in before {
        let name = &service.metadata.name;
        let mut same = now.iter().filter(|other| other.metadata.name == *name);
        let same = same.next().with_context(|| format!("no {name:?}"))?;
        ensure!(
            addresses_of(same) == addresses_of(service),
            "{name:?} has changed"
        );
    }
    Ok(())
}

async fn list(lab: &Lab) -> Result<Vec<ServiceObject>> {
    let api: Api<ServiceObject> = Api::namespaced(lab.client(), "default");
    let all = api.list(&ListParams::default()).await?.items;
    Ok(all
        .into_iter()
        .filter(|service| {
            service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
        })
        .collect())
}

/// Pools and advertisements that MetalLB's own BGP takes.
pub(crate) fn configuration() -> Vec<serde_json::Value> {
    use herald_e2e::bgp::{FRR, FRR_AS, OWN_AS, advertisement, object, peer};
    let pool = |name, spec| object("v1beta1", "IPAddressPool", name, spec);
    vec![
        pool(
            "lan",
            json!({
                "addresses": ["192.168.10.1-192.168.10.99", "fd10::a:1-fd10::a:99"],
                "avoidBuggyIPs": true,
            }),
        ),
        pool(
            "reserved",
            json!({"addresses": ["192.168.11.0/28"], "autoAssign": false}),
        ),
        pool(
            "net",
            json!({
                "addresses": ["192.168.12.0/28"],
                "serviceAllocation": {
                    "priority": 10, "namespaces": ["default"],
                    "serviceSelectors": [{"matchLabels": {"team": "net"}}],
                },
            }),
        ),
        pool(
            "bgp",
            json!({"addresses": ["10.50.0.1-10.50.0.254"], "autoAssign": false}),
        ),
        object(
            "v1beta1",
            "L2Advertisement",
            "lan",
            json!({
                "ipAddressPools": ["lan", "reserved", "net"], "interfaces": ["lan0"],
            }),
        ),
        advertisement(
            "bgp",
            json!({"ipAddressPools": ["bgp"], "communities": ["65001:100"]}),
        ),
        peer(
            "tor",
            json!({"myASN": OWN_AS, "peerASN": FRR_AS, "peerAddress": FRR}),
        ),
    ]
}
