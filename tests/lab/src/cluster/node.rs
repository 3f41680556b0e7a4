//! Node objects: where nobody runs a kubelet the lab writes their status.

use anyhow::Result;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::net::address::Node;

/// Creates the Node object with its `InternalIP`s, which kube-proxy waits for. It is Ready at once unless
/// a kubelet is to say so.
pub(crate) async fn create(client: &Client, node: &Node, kubelet: bool) -> Result<()> {
    let api: Api<NodeObject> = Api::all(client.clone());
    let [v4, v6] = node.pod_cidrs();
    let object = serde_json::from_value(json!({
        "metadata": {
            "name": node.name,
            "labels": {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"},
        },
        "spec": {"podCIDR": v4, "podCIDRs": [v4, v6]},
    }))?;
    api.create(&PostParams::default(), &object).await?;
    let mut addresses: Vec<_> = node
        .internal_ips()
        .into_iter()
        .map(|address| json!({"type": "InternalIP", "address": address}))
        .collect();
    addresses.push(json!({"type": "Hostname", "address": node.name}));
    let mut conditions = vec![condition("NetworkUnavailable", false)];
    if !kubelet {
        conditions.push(condition("Ready", true));
    }
    let status = json!({"status": {"addresses": addresses, "conditions": conditions}});
    api.patch_status(
        &node.name,
        &PatchParams::default(),
        &Patch::Strategic(status),
    )
    .await?;
    if kubelet {
        return Ok(());
    }
    // Admission taints a new node as not ready; the controller that takes it away is not here.
    let untaint = json!({"spec": {"taints": null}});
    api.patch(&node.name, &PatchParams::default(), &Patch::Merge(untaint))
        .await?;
    Ok(())
}

fn condition(kind: &str, status: bool) -> serde_json::Value {
    json!({"type": kind, "status": if status { "True" } else { "False" }, "reason": "Lab"})
}

/// Sets a condition of the node, e.g. `Ready` or `NetworkUnavailable`.
pub(crate) async fn set_condition(
    client: &Client,
    node: &str,
    kind: &str,
    status: bool,
) -> Result<()> {
    let api: Api<NodeObject> = Api::all(client.clone());
    let status = json!({"status": {"conditions": [condition(kind, status)]}});
    api.patch_status(node, &PatchParams::default(), &Patch::Strategic(status))
        .await?;
    Ok(())
}
