//! Sessions with routers, in the form of frr-k8s (compat.md 5.3).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use herald_api::annotations::{
    LABEL_SESSION_NODE, LABEL_SESSION_PEER, LABEL_SESSION_VRF, SESSION_PEER_NAME,
};
use herald_api::kinds::{BGPSessionState, BGPSessionStateSpec};
use herald_model::NodeName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::kind::{Kind, Read, Said};

/// How the session of a node with a router is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions;

/// Which session. Two may have the same address, so the name is part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionKey {
    /// The name of its `BGPPeer`.
    pub(crate) name: String,
    /// The router, as [`label`] writes it.
    pub(crate) peer: String,
    /// Empty if it is in none.
    pub(crate) vrf: String,
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// How a session is, in the words of FRR, and why.
#[derive(Debug, Clone, Default, Eq)]
pub(crate) struct SessionWords {
    pub(crate) bgp: String,
    pub(crate) bfd: String,
    /// `None` only in what was read: where the CRD is frr-k8s's own, the API server drops it.
    pub(crate) reason: Option<String>,
}

/// A reason that is not there is no difference: it would be written again and again.
impl PartialEq for SessionWords {
    fn eq(&self, other: &Self) -> bool {
        let reasons = self.reason.as_ref().zip(other.reason.as_ref());
        self.bgp == other.bgp
            && self.bfd == other.bfd
            && reasons.is_none_or(|(ours, theirs)| ours == theirs)
    }
}

impl Kind for Sessions {
    type Object = BGPSessionState;
    type Subject = SessionKey;
    type Content = SessionWords;

    const KIND: &'static str = "BGPSessionState";
    const PLURAL: &'static str = "bgpsessionstates";
    const NODE_LABEL: &'static str = LABEL_SESSION_NODE;
    const EXCLUSIVE: bool = false;

    fn object(me: &NodeName, subject: &SessionKey) -> BGPSessionState {
        let labels = [
            (LABEL_SESSION_NODE, me.as_str()),
            (LABEL_SESSION_PEER, &subject.peer),
            (LABEL_SESSION_VRF, &subject.vrf),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let name = (SESSION_PEER_NAME.to_owned(), subject.name.clone());
        BGPSessionState {
            metadata: ObjectMeta {
                generate_name: Some(format!("{me}-")),
                labels: Some(BTreeMap::from(labels)),
                annotations: Some(BTreeMap::from([name])),
                ..ObjectMeta::default()
            },
            spec: BGPSessionStateSpec::default(),
            status: None,
        }
    }

    /// Those of frr-k8s itself lack the annotation.
    fn read(object: &BGPSessionState) -> Option<Read<Self>> {
        let label = |label| object.labels().get(label).cloned();
        let subject = SessionKey {
            name: object.annotations().get(SESSION_PEER_NAME)?.clone(),
            peer: label(LABEL_SESSION_PEER)?,
            vrf: label(LABEL_SESSION_VRF)?,
        };
        let node = label(LABEL_SESSION_NODE)?;
        let said = match &object.status {
            None => Said::Nothing,
            Some(status) => {
                let about = (&status.node, &status.peer, &status.vrf);
                if about == (&node, &subject.peer, &subject.vrf) {
                    Said::This(SessionWords {
                        bgp: status.bgp_status.clone(),
                        bfd: status.bfd_status.clone(),
                        reason: status.reason.clone(),
                    })
                } else {
                    // It can be put right by a write.
                    Said::Nothing
                }
            }
        };
        Some(Read {
            subject,
            node,
            said,
        })
    }

    fn status(me: &NodeName, subject: &SessionKey, content: &SessionWords) -> Value {
        json!({
            "node": me.as_str(),
            "peer": subject.peer,
            "vrf": subject.vrf,
            "bgpStatus": content.bgp,
            "bfdStatus": content.bfd,
            "reason": content.reason,
        })
    }
}

/// The longest value of a label.
const LONGEST_LABEL: usize = 63;

/// A router as a label can have it: a colon is not allowed in it, nor two at its end, nor what a peer
/// is called whose address is not known.
pub(crate) fn label(host: &str) -> String {
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    match address.parse() {
        Ok(IpAddr::V6(address)) => {
            let parts = address.segments().map(|part| format!("{part:04x}"));
            parts.join("-")
        }
        Ok(IpAddr::V4(_)) | Err(_) => {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let clean = host.chars().map(|c| if allowed(c) { c } else { '-' });
            let clean: String = clean.take(LONGEST_LABEL).collect();
            let ends = |c: char| !c.is_ascii_alphanumeric();
            clean.trim_matches(ends).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_router_is_called_becomes_a_label() {
        let written = label("2001:db8::2");
        assert_eq!(written, "2001-0db8-0000-0000-0000-0000-0000-0002");
        assert_eq!(label("192.0.2.2"), "192.0.2.2");
        assert_eq!(label("eth0"), "eth0");
        assert_eq!(label("fe80::2%eth0"), label("fe80::2"));
        let unknown = label("the default gateway for IPv4");
        assert_eq!(unknown, "the-default-gateway-for-IPv4");
        assert_eq!(label("eth0:1"), "eth0-1");
        assert_eq!(label("_x_"), "x");
    }

    #[test]
    fn what_was_written_reads_as_what_was_meant() {
        let me = NodeName::from("n1");
        let key = SessionKey {
            name: "tor".to_owned(),
            peer: label("192.0.2.2"),
            vrf: String::new(),
        };
        let words = SessionWords {
            bgp: "Established".to_owned(),
            bfd: "N/A".to_owned(),
            reason: Some("the peer closed the connection".to_owned()),
        };
        let mut object = Sessions::object(&me, &key);
        let read = Sessions::read(&object).expect("ours");
        assert_eq!((&read.subject, read.node.as_str()), (&key, "n1"));
        assert_eq!(read.said, Said::Nothing);
        let status = Sessions::status(&me, &key, &words);
        object.status = serde_json::from_value(status).expect("a status");
        let read = Sessions::read(&object).expect("ours");
        assert_eq!(read.said, Said::This(words.clone()));
        let other = SessionWords {
            reason: Some(String::new()),
            ..words
        };
        assert_ne!(read.said, Said::This(other.clone()));
        if let Some(status) = &mut object.status {
            status.reason = None;
        }
        let read = Sessions::read(&object).expect("ours");
        assert_eq!(read.said, Said::This(other), "the CRD has no such field");
        object.metadata.annotations = None;
        assert!(Sessions::read(&object).is_none(), "one of frr-k8s");
    }
}
