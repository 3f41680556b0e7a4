//! The two kinds about Services (compat.md 1.7): who announces what on layer 2, and to which routers.

use std::collections::BTreeMap;

use herald_api::annotations::{LABEL_NODE, LABEL_SERVICE_NAME, LABEL_SERVICE_NAMESPACE};
use herald_api::kinds::{
    InterfaceInfo, ServiceBGPStatus, ServiceBGPStatusSpec, ServiceL2Status, ServiceL2StatusSpec,
};
use herald_model::{NodeName, ServiceKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::kind::{Kind, Read, Said};

/// On which interfaces the node that has a Service announces it; none stands for all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer2;

impl Kind for Layer2 {
    type Object = ServiceL2Status;
    type Subject = ServiceKey;
    type Content = Vec<InterfaceInfo>;

    const KIND: &'static str = "ServiceL2Status";
    const PLURAL: &'static str = "servicel2statuses";
    const NODE_LABEL: &'static str = LABEL_NODE;
    const EXCLUSIVE: bool = true;

    fn object(me: &NodeName, subject: &ServiceKey) -> ServiceL2Status {
        ServiceL2Status {
            metadata: metadata("l2-", me, subject),
            spec: ServiceL2StatusSpec::default(),
            status: None,
        }
    }

    fn read(object: &ServiceL2Status) -> Option<Read<Self>> {
        let status = object.status.as_ref();
        let of = status.map(|s| (&s.node, &s.service_name, &s.service_namespace));
        read(object, of, || {
            status.map(|it| it.interfaces.clone()).unwrap_or_default()
        })
    }

    fn status(me: &NodeName, subject: &ServiceKey, content: &Vec<InterfaceInfo>) -> Value {
        status(me, subject, "interfaces", json!(content))
    }
}

/// The `BGPPeer`s that a node is to announce a Service to, whether their sessions are up or not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bgp;

impl Kind for Bgp {
    type Object = ServiceBGPStatus;
    type Subject = ServiceKey;
    /// Their names, sorted.
    type Content = Vec<String>;

    const KIND: &'static str = "ServiceBGPStatus";
    const PLURAL: &'static str = "servicebgpstatuses";
    const NODE_LABEL: &'static str = LABEL_NODE;
    const EXCLUSIVE: bool = false;

    fn object(me: &NodeName, subject: &ServiceKey) -> ServiceBGPStatus {
        ServiceBGPStatus {
            metadata: metadata("bgp-", me, subject),
            spec: ServiceBGPStatusSpec::default(),
            status: None,
        }
    }

    fn read(object: &ServiceBGPStatus) -> Option<Read<Self>> {
        let status = object.status.as_ref();
        let of = status.map(|s| (&s.node, &s.service_name, &s.service_namespace));
        read(object, of, || {
            status.map(|it| it.peers.clone()).unwrap_or_default()
        })
    }

    fn status(me: &NodeName, subject: &ServiceKey, content: &Vec<String>) -> Value {
        status(me, subject, "peers", json!(content))
    }
}

fn metadata(prefix: &str, me: &NodeName, subject: &ServiceKey) -> ObjectMeta {
    let labels = [
        (LABEL_NODE, me.as_str()),
        (LABEL_SERVICE_NAME, subject.name()),
        (LABEL_SERVICE_NAMESPACE, subject.namespace()),
    ];
    let labels: BTreeMap<_, _> = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    ObjectMeta {
        generate_name: Some(prefix.to_owned()),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}

/// `of`: the node, name and namespace that the status has.
fn read<K: Kind<Subject = ServiceKey>>(
    object: &K::Object,
    of: Option<(&String, &String, &String)>,
    content: impl FnOnce() -> K::Content,
) -> Option<Read<K>> {
    let label = |label| object.labels().get(label).map(String::as_str);
    let subject = ServiceKey::new(label(LABEL_SERVICE_NAMESPACE)?, label(LABEL_SERVICE_NAME)?);
    let node = label(LABEL_NODE)?.to_owned();
    let said = match of {
        None => Said::Nothing,
        Some((said, ..)) if said.is_empty() => Said::Nothing,
        Some((said, name, namespace))
            if *said == node && name == subject.name() && namespace == subject.namespace() =>
        {
            Said::This(content())
        }
        Some(_) => Said::Other,
    };
    Some(Read {
        subject,
        node,
        said,
    })
}

/// A list that is left out of a merge would stay as it was, so `list` is always in it.
fn status(me: &NodeName, subject: &ServiceKey, name: &str, list: Value) -> Value {
    let mut status = json!({
        "node": me.as_str(),
        "serviceName": subject.name(),
        "serviceNamespace": subject.namespace(),
    });
    status[name] = list;
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_as_what_was_meant() {
        let (me, key) = (NodeName::from("n1"), ServiceKey::new("shop", "web"));
        let mut object = Bgp::object(&me, &key);
        assert_eq!(object.metadata.generate_name.as_deref(), Some("bgp-"));
        let read = Bgp::read(&object).expect("ours");
        assert_eq!((read.subject, read.node.as_str()), (key.clone(), "n1"));
        assert_eq!(read.said, Said::Nothing);
        let peers = vec!["tor1".to_owned(), "tor2".to_owned()];
        let status = Bgp::status(&me, &key, &peers);
        object.status = serde_json::from_value(status).expect("a status");
        assert_eq!(Bgp::read(&object).expect("ours").said, Said::This(peers));
        if let Some(status) = &mut object.status {
            status.node = "n2".to_owned();
        }
        assert_eq!(Bgp::read(&object).expect("ours").said, Said::Other);
        assert!(Bgp::read(&ServiceBGPStatus::default()).is_none());
        assert_eq!(
            Layer2::status(&me, &key, &Vec::new())["interfaces"],
            json!([])
        );
    }
}
