//! The webhooks of a controller on the lab, which is a process and no Pod behind a Service.

use anyhow::{Context as _, Result};
use herald_lab::{Lab, NAMESPACE};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use serde_json::json;

/// Leads the Service of the webhooks to the controller, which is where the API server is.
pub async fn lead(lab: &Lab) -> Result<()> {
    let slices: Api<EndpointSlice> = Api::namespaced(lab.client(), "default");
    let api_server = slices.get("kubernetes").await?;
    let endpoint = api_server.endpoints.first().context("no API server")?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "webhooks", "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": "metallb-webhook-service"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": endpoint.addresses, "conditions": {"ready": true}}],
        "ports": [{"name": "webhook-server", "port": 9443, "protocol": "TCP"}],
    });
    lab.apply_yaml(&slice.to_string()).await?;
    Ok(())
}
