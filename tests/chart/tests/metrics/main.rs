//! What running processes show to whom.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

mod contents;
mod peer;
mod scrape;
mod security;
mod state;

use std::time::Duration;

/// For what is done within seconds, on a machine that has more to do.
const PATIENCE: Duration = Duration::from_mins(2);

/// A peer at the lab's router, and all that has to do with it.
const CONFIGURATION: &str = r"
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan, namespace: metallb-system}
spec: {addresses: [192.168.10.1-192.168.10.99]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: lan, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: lan, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 65001, peerASN: 65002, peerAddress: 192.168.0.1, bfdProfile: fast, connectTime: 1s}
";
