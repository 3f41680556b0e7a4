//! How routers learn that a node is dead, which is what graceful restart and BFD are about: with the one
//! they keep the routes of a speaker that is away, with the other they drop those of a node that is.

use herald_api::Duration;
use herald_api::kinds::BGPPeerSpec;

/// What a `BGPPeer` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detection {
    Bfd,
    HoldTime,
    /// The hold time is 0.
    Never,
    GracefulRestart,
    GracefulRestartAndBfd,
}

impl Detection {
    pub(super) fn of(spec: &BGPPeerSpec) -> Self {
        let never = spec.hold_time == Some(Duration::default());
        match (spec.enable_graceful_restart, spec.bfd_profile.is_empty()) {
            (true, false) => Self::GracefulRestartAndBfd,
            (true, true) => Self::GracefulRestart,
            (false, false) => Self::Bfd,
            (false, true) if never => Self::Never,
            (false, true) => Self::HoldTime,
        }
    }

    /// Whether a dead node is out of the router's table within the detection time of BFD.
    pub(super) fn is_fast(self) -> bool {
        self == Self::Bfd
    }

    /// The reason of the condition, and its message.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Bfd => (
                "Bfd",
                "the router drops the routes of a node that dies within the detection time of BFD, \
                 and those of a speaker that restarts until it is back",
            ),
            Self::HoldTime => (
                "HoldTime",
                "the router drops the routes of a node that dies when the hold time is over; a \
                 bfdProfile makes that a fraction of a second",
            ),
            Self::Never => (
                "NoHoldTime",
                "with a hold time of 0 the router may never drop the routes of a node that dies; \
                 set holdTime or a bfdProfile",
            ),
            Self::GracefulRestart => (
                "GracefulRestart",
                "the router keeps the routes of a speaker that restarts, and those of a node that \
                 dies for the hold time and up to two minutes more; BFD instead of graceful \
                 restart makes that a fraction of a second",
            ),
            Self::GracefulRestartAndBfd => (
                "GracefulRestartAndBfd",
                "with graceful restart some routers keep the routes of a node that dies for up to \
                 two minutes although BFD says that it is dead; choose one of the two",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_bfd_alone_is_fast() {
        let of = |fields: Value| {
            let mut spec = json!({ "myASN": 65001 });
            if let (Value::Object(spec), Value::Object(fields)) = (&mut spec, fields) {
                spec.extend(fields);
            }
            let spec = serde_json::from_value(spec).expect("a spec");
            let detection = Detection::of(&spec);
            (detection.words().0, detection.is_fast())
        };
        assert_eq!(of(json!({})), ("HoldTime", false));
        assert_eq!(of(json!({ "holdTime": "9s" })), ("HoldTime", false));
        assert_eq!(of(json!({ "holdTime": "0s" })), ("NoHoldTime", false));
        assert_eq!(of(json!({ "bfdProfile": "fast" })), ("Bfd", true));
        let never = json!({ "bfdProfile": "fast", "holdTime": "0s" });
        assert_eq!(of(never), ("Bfd", true));
        let restart = json!({ "enableGracefulRestart": true });
        assert_eq!(of(restart), ("GracefulRestart", false));
        let both = json!({ "enableGracefulRestart": true, "bfdProfile": "fast" });
        assert_eq!(of(both), ("GracefulRestartAndBfd", false));
    }
}
