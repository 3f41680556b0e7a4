//! What is measured on: pool, advertisement, Services and their endpoints.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use herald_e2e::metallb;
use herald_lab::{Lab, NAMESPACE};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

/// Requests under way at the same time, here and in the plain writer.
pub(crate) const AT_ONCE: usize = 64;

/// A part of the LAN that is neither in the pool nor used by the lab.
pub(crate) const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 168, 192, 0);
/// The first of the addresses that requests are sent from, a different one each.
pub(crate) const SENDERS: Ipv4Addr = Ipv4Addr::new(192, 168, 128, 0);
/// How many addresses either of them has.
pub(crate) const SPAN: u32 = 1 << 14;

/// Reads every program once, so that no contestant pays for the disk.
pub(crate) fn warm_page_cache() -> Result<()> {
    let peer = metallb::dir()?;
    for program in [
        herald_lab::herald_bin()?,
        peer.join("controller"),
        peer.join("speaker"),
    ] {
        std::fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    }
    Ok(())
}

/// The pool, 16,384 addresses, and its announcement on layer 2.
pub(crate) async fn pool(lab: &Lab) -> Result<()> {
    let pool = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": "bench", "namespace": NAMESPACE},
        "spec": {"addresses": ["192.168.64.0/18"]},
    });
    let advertisement = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": {"name": "bench", "namespace": NAMESPACE},
        "spec": {"ipAddressPools": ["bench"]},
    });
    for object in [pool, advertisement] {
        lab.apply_yaml(&object.to_string()).await?;
    }
    Ok(())
}

/// The name of the Service of this number.
pub(crate) fn name(number: usize) -> String {
    format!("web-{number:05}")
}

/// Creates one Service. Without a selector nobody else writes to it or for it, and without node
/// ports there may be more than the 2,768 of those.
pub(crate) async fn service(lab: &Lab, name: &str) -> Result<()> {
    lab.service(name)
        .without_selector()
        .field("allocateLoadBalancerNodePorts", false)
        .create()
        .await?;
    Ok(())
}

/// Creates the Services of these numbers.
pub(crate) async fn services(lab: &Lab, numbers: std::ops::Range<usize>) -> Result<()> {
    stream::iter(numbers)
        .map(|number| async move { service(lab, &name(number)).await })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Gives the Services of these numbers a ready endpoint on the node.
pub(crate) async fn endpoints(lab: &Lab, numbers: std::ops::Range<usize>) -> Result<()> {
    let api: Api<EndpointSlice> = Api::namespaced(lab.client(), "default");
    stream::iter(numbers)
        .map(|number| {
            let (name, api) = (name(number), api.clone());
            async move {
                let slice = serde_json::from_value(json!({
                    "metadata": {
                        "name": name,
                        "labels": {
                            "kubernetes.io/service-name": name,
                            "endpointslice.kubernetes.io/managed-by": "herald-bench",
                        },
                    },
                    "addressType": "IPv4",
                    "ports": [{"name": "tcp-80", "port": 8080, "protocol": "TCP"}],
                    "endpoints": [{
                        "addresses": ["10.244.1.10"],
                        "conditions": {"ready": true, "serving": true, "terminating": false},
                        "nodeName": "n1",
                    }],
                }))?;
                api.create(&PostParams::default(), &slice).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The addresses that the Services have now.
pub(crate) async fn addresses(lab: &Lab) -> Result<Vec<Ipv4Addr>> {
    let api: Api<Service> = Api::namespaced(lab.client(), "default");
    let services = api.list(&kube::api::ListParams::default()).await?;
    let ingress = services.items.into_iter().filter_map(|service| {
        let ingress = service.status?.load_balancer?.ingress?;
        ingress.into_iter().next()?.ip?.parse().ok()
    });
    Ok(ingress.collect())
}
