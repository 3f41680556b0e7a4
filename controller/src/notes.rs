//! Decisions as events, with MetalLB's reasons and messages (compat.md 3.6).

use herald_ipam::{Notice, Reason};
use herald_model::ServiceKey;
use herald_runtime::events::Kind;

use crate::request::Problem;

/// An event to be recorded about a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// Normal or Warning.
    pub(crate) kind: Kind,
    /// The reason.
    pub(crate) reason: &'static str,
    /// The message.
    pub(crate) message: String,
}

impl Note {
    fn normal(reason: &'static str, message: String) -> Self {
        let kind = Kind::Normal;
        Self {
            kind,
            reason,
            message,
        }
    }

    fn warning(reason: &'static str, message: String) -> Self {
        let kind = Kind::Warning;
        Self {
            kind,
            reason,
            message,
        }
    }
}

/// What happened while a Service was decided.
pub(crate) fn of_notice(key: &ServiceKey, notice: &Notice) -> Note {
    Note::normal(notice.event_reason(), notice.message(key))
}

/// Why a Service with these cluster IPs waits.
pub(crate) fn of_reason(key: &ServiceKey, reason: &Reason, cluster_ips: &[String]) -> Note {
    match reason {
        Reason::NotDualStack(_) => {
            let message = format!(
                "Service requires dual stack but not enough clusterips [{}]",
                cluster_ips.join(" ")
            );
            Note::warning("not enough clusterips", message)
        }
        _ => Note::warning(
            "AllocationFailed",
            format!("Failed to allocate IP for \"{key}\": {reason}"),
        ),
    }
}

/// A Service waits for a pool that exists and cannot be used.
pub(crate) fn of_unusable_pool(key: &ServiceKey, pool: &str) -> Note {
    let message = format!(
        "Failed to allocate IP for \"{key}\": {}",
        unusable_pool(pool)
    );
    Note::warning("AllocationFailed", message)
}

/// What is to be said of a pool that exists and cannot be used.
pub(crate) fn unusable_pool(pool: &str) -> String {
    format!(
        "IPAddressPool {pool:?} cannot be used until it is corrected: its events say what is wrong"
    )
}

/// What cannot be read of a Service; nothing for a cluster IP that is still to come.
pub(crate) fn of_problem(problem: &Problem) -> Option<Note> {
    match problem {
        Problem::NoClusterIp => None,
        Problem::BadClusterIp(_) => {
            Some(Note::warning("noclusterIPsIPFamily", problem.to_string()))
        }
        Problem::BothRequested | Problem::NotAnAddress { .. } | Problem::TooMany { .. } => {
            let message = format!("invalid requested loadbalancer IPs: {problem}");
            Some(Note::warning("LoadBalancerFailed", message))
        }
    }
}

/// A deprecated annotation is in use.
pub(crate) fn of_deprecated(annotation: &str) -> Note {
    let message = format!("Service uses deprecated annotation {annotation}");
    Note::warning("deprecatedAnnotation", message)
}

/// Another controller undoes what this one writes.
pub(crate) fn of_undone() -> Note {
    let message = "Another controller keeps changing the load balancer status of this Service: \
        let one of them handle it, by spec.loadBalancerClass";
    Note::warning("StatusOverwritten", message.to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use herald_model::IpFamily;

    use super::*;

    #[test]
    fn messages_are_those_that_tools_look_for() {
        let key = ServiceKey::new("ns", "n");
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let both = Notice::Allocated(vec![ip("1.2.3.4"), ip("fd00::1")]);
        assert_eq!(
            of_notice(&key, &both).message,
            "Assigned IP [\"1.2.3.4\" \"fd00::1\"]"
        );
        let failed = of_reason(&key, &Reason::NoAvailableAddresses, &[]);
        assert_eq!(failed.reason, "AllocationFailed");
        assert_eq!(failed.kind, Kind::Warning);
        assert_eq!(
            failed.message,
            "Failed to allocate IP for \"ns/n\": no available IPs"
        );
        let single = Reason::NotDualStack(vec![IpFamily::V4]);
        let note = of_reason(&key, &single, &["10.96.0.7".to_owned()]);
        assert_eq!(
            (note.reason, note.message.as_str()),
            (
                "not enough clusterips",
                "Service requires dual stack but not enough clusterips [10.96.0.7]"
            )
        );
        let problem = of_problem(&Problem::BothRequested).expect("an event");
        assert_eq!(problem.reason, "LoadBalancerFailed");
        assert!(
            problem
                .message
                .starts_with("invalid requested loadbalancer IPs: ")
        );
        assert_eq!(of_problem(&Problem::NoClusterIp), None);
    }
}
