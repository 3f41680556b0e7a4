//! Services of the lab's tests.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Service as ServiceObject;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Map, Value, json};

use super::pod::BACKEND_PORT;
use crate::lab::Lab;
use crate::wait::eventually;

/// A Service to be; [`Lab::service`] makes one.
#[derive(Debug)]
pub struct ServiceBuilder<'a> {
    lab: &'a Lab,
    name: String,
    namespace: String,
    annotations: Map<String, Value>,
    labels: Map<String, Value>,
    ports: Vec<Value>,
    spec: Map<String, Value>,
}

impl<'a> ServiceBuilder<'a> {
    pub(crate) fn new(lab: &'a Lab, name: &str) -> Self {
        let spec = json!({"type": "LoadBalancer", "selector": {"app": name}});
        Self {
            lab,
            name: name.into(),
            namespace: "default".into(),
            annotations: Map::new(),
            labels: Map::new(),
            ports: Vec::new(),
            spec: spec.as_object().cloned().unwrap_or_default(),
        }
    }

    /// The Kubernetes namespace; `default` otherwise.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Type `NodePort` instead of `LoadBalancer`.
    pub fn node_port(self) -> Self {
        self.field("type", "NodePort")
    }

    /// Adds a TCP port that leads to the backends' HTTP server. Without any, there is port 80.
    pub fn port(self, port: u16) -> Self {
        self.any_port(port, "TCP")
    }

    /// Adds a UDP port that leads to the backends' echo.
    pub fn udp_port(self, port: u16) -> Self {
        self.any_port(port, "UDP")
    }

    fn any_port(mut self, port: u16, protocol: &str) -> Self {
        let name = format!("{}-{port}", protocol.to_lowercase());
        self.ports.push(json!({
            "name": name, "port": port, "protocol": protocol, "targetPort": BACKEND_PORT,
        }));
        self
    }

    /// IPv6 only. (Without a choice of families a Service is IPv4 only.)
    pub fn ipv6(self) -> Self {
        self.field("ipFamilies", json!(["IPv6"]))
            .field("ipFamilyPolicy", "SingleStack")
    }

    /// Both families, IPv4 first (`RequireDualStack`).
    pub fn dual_stack(self) -> Self {
        self.field("ipFamilies", json!(["IPv4", "IPv6"]))
            .field("ipFamilyPolicy", "RequireDualStack")
    }

    /// `externalTrafficPolicy: Local`.
    pub fn local(self) -> Self {
        self.field("externalTrafficPolicy", "Local")
    }

    /// Sets `loadBalancerClass`.
    pub fn class(self, class: &str) -> Self {
        self.field("loadBalancerClass", class)
    }

    /// Endpoints that are not ready count as well.
    pub fn publish_not_ready(self) -> Self {
        self.field("publishNotReadyAddresses", true)
    }

    /// Without a selector: the endpoints are the test's to make, e.g. with [`Lab::apply_yaml`].
    pub fn without_selector(mut self) -> Self {
        self.spec.remove("selector");
        self
    }

    /// Another selector than `app: <name>`.
    pub fn selector(self, key: &str, value: &str) -> Self {
        self.field("selector", json!({key: value}))
    }

    /// Adds an annotation.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Adds a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Sets any other field of the spec.
    pub fn field(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.spec.insert(key.into(), value.into());
        self
    }

    /// Creates it.
    pub async fn create(mut self) -> Result<Service> {
        if self.ports.is_empty() {
            self = self.port(80);
        }
        self.spec.insert("ports".into(), self.ports.into());
        let object = serde_json::from_value(json!({
            "metadata": {
                "name": self.name, "labels": self.labels, "annotations": self.annotations,
            },
            "spec": self.spec,
        }))?;
        let api: Api<ServiceObject> = Api::namespaced(self.lab.client(), &self.namespace);
        api.create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("cannot create Service {}/{}", self.namespace, self.name))?;
        Ok(Service {
            api,
            name: self.name,
        })
    }
}

/// A Service that exists.
#[derive(Debug, Clone)]
pub struct Service {
    api: Api<ServiceObject>,
    /// The object's name.
    pub name: String,
}

impl Service {
    /// The object as it is now.
    pub async fn get(&self) -> Result<ServiceObject> {
        Ok(self.api.get(&self.name).await?)
    }

    /// Merges a JSON patch into the object, e.g. `json!({"spec": {…}})`.
    pub async fn patch(&self, patch: Value) -> Result<ServiceObject> {
        Ok(self
            .api
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await?)
    }

    /// Deletes the object.
    pub async fn delete(self) -> Result<()> {
        self.api
            .delete(&self.name, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// The node port that leads to one of the Service's ports.
    pub async fn node_port(&self, port: u16) -> Result<u16> {
        let service = self.get().await?;
        let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
        let found = ports
            .iter()
            .find(|candidate| candidate.port == i32::from(port));
        let number = found.and_then(|port| port.node_port);
        let number =
            number.with_context(|| format!("port {port} of {} has no node port", self.name))?;
        Ok(number.try_into()?)
    }

    /// The addresses in `status.loadBalancer`, in its order.
    pub async fn addresses(&self) -> Result<Vec<IpAddr>> {
        let status = self
            .get()
            .await?
            .status
            .and_then(|status| status.load_balancer);
        let ingress = status.and_then(|status| status.ingress).unwrap_or_default();
        let addresses = ingress.into_iter().filter_map(|ingress| ingress.ip);
        addresses.map(|address| Ok(address.parse()?)).collect()
    }

    /// Waits up to 10 seconds until the status has exactly so many addresses.
    pub async fn wait_addresses(&self, count: usize) -> Result<Vec<IpAddr>> {
        let what = format!("Service {} to have {count} addresses", self.name);
        eventually(Duration::from_secs(10), &what, async || {
            let addresses = self.addresses().await?;
            Ok((addresses.len() == count).then_some(addresses))
        })
        .await
    }

    /// Writes `status.loadBalancer` by hand, as a controller would.
    pub async fn set_addresses(&self, addresses: &[IpAddr]) -> Result<()> {
        let ingress: Vec<Value> = addresses
            .iter()
            .map(|ip| json!({"ip": ip, "ipMode": "VIP"}))
            .collect();
        let status = json!({"status": {"loadBalancer": {"ingress": ingress}}});
        self.api
            .patch_status(&self.name, &PatchParams::default(), &Patch::Merge(status))
            .await?;
        Ok(())
    }
}
