//! What was made while MetalLB's CRDs were there is there under Herald's, and used: one object at least of
//! every kind, every field that they have, and a `BGPPeer` that the store has in its oldest version.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_api::kinds::{BGPPeer, BGPSessionState, ConfigurationResult, ConfigurationState};
use herald_chart::{Helm, chart};
use herald_e2e::{metallb, webhooks};
use herald_lab::{Lab, NAMESPACE, ProxyMode, eventually};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

/// For what is done within seconds, on a machine that has more to do.
const PATIENCE: Duration = Duration::from_mins(2);

/// Of the version that MetalLB stored before 0.14.
const OLD_PEER: &str = r"
apiVersion: metallb.io/v1beta1
kind: BGPPeer
metadata: {name: old, namespace: metallb-system}
spec:
  myASN: 65001
  peerASN: 65002
  peerAddress: 127.0.0.9
  sourceAddress: 127.0.0.1
  peerPort: 1790
  password: clear
  holdTime: 30s
  keepaliveTime: 10s
  routerID: 10.9.9.9
  nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}, matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n1]}]}]
  bfdProfile: fast
  ebgpMultiHop: true
";

const OBJECTS: &str = r#"
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan, namespace: metallb-system, labels: {zone: lan}}
spec: {addresses: [192.168.16.0/24, 192.168.17.10-192.168.17.20, "fd10::b:0/112"], autoAssign: true, avoidBuggyIPs: true}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: teams, namespace: metallb-system, labels: {zone: bgp}}
spec:
  addresses: [10.60.0.0/24]
  autoAssign: false
  serviceAllocation:
    priority: 50
    namespaces: [default]
    namespaceSelectors: [{matchLabels: {team: net}}]
    serviceSelectors: [{matchExpressions: [{key: app, operator: In, values: [web]}]}]
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: lan, namespace: metallb-system}
spec:
  ipAddressPools: [lan]
  ipAddressPoolSelectors: [{matchLabels: {zone: lan}}]
  nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]
  interfaces: [lan0]
  serviceSelectors: [{matchExpressions: [{key: private, operator: DoesNotExist}]}]
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: teams, namespace: metallb-system}
spec:
  aggregationLength: 24
  aggregationLengthV6: 64
  localPref: 150
  communities: [65001:100, "large:65001:1:2", blue]
  ipAddressPools: [teams]
  ipAddressPoolSelectors: [{matchLabels: {zone: bgp}}]
  nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]
  peers: [old, full]
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: some, namespace: metallb-system}
spec:
  ipAddressPools: [teams]
  peers: [unnumbered]
  serviceSelectors: [{matchLabels: {app: web}}]
---
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: colours, namespace: metallb-system}
spec: {communities: [{name: blue, value: 65001:200}, {name: green, value: "large:65001:2:3"}]}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
spec: {receiveInterval: 100, transmitInterval: 120, detectMultiplier: 5, echoInterval: 60, echoMode: false, passiveMode: true, minimumTtl: 250}
---
apiVersion: v1
kind: Secret
metadata: {name: full, namespace: metallb-system}
type: kubernetes.io/basic-auth
stringData: {password: secret}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: full, namespace: metallb-system}
spec:
  myASN: 65001
  peerASN: 65003
  localASN: 65010
  peerAddress: 127.0.0.10
  sourceAddress: 127.0.0.1
  peerPort: 1790
  holdTime: 9s
  keepaliveTime: 3s
  connectTime: 5s
  routerID: 10.9.9.9
  nodeSelectors: [{matchLabels: {kubernetes.io/hostname: n1}}]
  passwordSecret: {name: full, namespace: metallb-system}
  bfdProfile: fast
  enableGracefulRestart: true
  ebgpMultiHop: true
  dualStackAddressFamily: true
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: unnumbered, namespace: metallb-system}
spec: {myASN: 65001, dynamicASN: external, interface: lan0, password: clear, routerID: 10.9.9.9}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: elsewhere, namespace: metallb-system}
spec: {myASN: 65001, peerASN: 65004, peerAddress: 192.0.2.7, vrf: red, disableMP: false, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: none}}]}
"#;

/// The CRDs of MetalLB's chart, whose converter is a Service.
fn their_crds() -> Result<Vec<Value>> {
    let path = metallb::dir()?.join("chart");
    let crds = ["--show-only", "charts/crds/templates/crds.yaml"];
    let arguments = [
        "template",
        "metallb",
        &path.to_string_lossy(),
        "--namespace",
        NAMESPACE,
    ];
    let text = Helm::new()?.run(&[&arguments[..], &crds].concat())?;
    let crds: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    Ok(crds.into_iter().filter(|crd| !crd.is_null()).collect())
}

/// The same in which the older version is stored, as MetalLB once had it.
fn older(crd: &Value) -> Result<Value> {
    let mut crd = crd.clone();
    crd["spec"]["conversion"] = json!({"strategy": "None"});
    for version in crd["spec"]["versions"]
        .as_array_mut()
        .context("no versions")?
    {
        version["storage"] = (version["name"] == "v1beta1").into();
    }
    Ok(crd)
}

async fn apply(lab: &Lab, object: &str) -> Result<()> {
    eventually(PATIENCE, "the kinds", async || {
        lab.apply_yaml(object).await.map(Some)
    })
    .await?;
    Ok(())
}

/// Controller and speaker find no fault with what they read.
async fn wait_valid(lab: &Lab) -> Result<()> {
    let states: Api<ConfigurationState> = Api::namespaced(lab.client(), NAMESPACE);
    for name in ["controller", "speaker-n1"] {
        eventually(PATIENCE, &format!("{name} to say Valid"), async || {
            let said = states.get(name).await?.status.context("no status")?;
            let valid = said.result == Some(ConfigurationResult::Valid);
            ensure!(valid, "{said:?}");
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root, the lab, Helm and MetalLB: run by make test"]
async fn what_was_made_under_metallbs_crds_is_there_and_used() -> Result<()> {
    let builder = Lab::builder().nodes(1).proxy(ProxyMode::None);
    let lab = builder.without_crds().start().await?;
    let crds = their_crds()?;
    ensure!(crds.len() == 9, "{} CRDs", crds.len());
    let is_peers = |crd: &&Value| crd["metadata"]["name"] == "bgppeers.metallb.io";
    let peers = crds.iter().find(is_peers).context("no BGPPeer")?;
    apply(&lab, &older(peers)?.to_string()).await?;
    apply(&lab, OLD_PEER).await?;
    for crd in &crds {
        apply(&lab, &crd.to_string()).await?;
    }
    for object in OBJECTS.split("\n---\n") {
        apply(&lab, object).await?;
    }

    lab.apply_crds(&chart().join("crds")).await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(lab.client());
    let peers = definitions.get("bgppeers.metallb.io").await?;
    let stored = peers.status.and_then(|status| status.stored_versions);
    assert_eq!(stored.unwrap_or_default(), ["v1beta1", "v1beta2"]);
    for object in &Helm::new()?.template_in(NAMESPACE, "{}")?.objects {
        if ["Service", "ValidatingWebhookConfiguration"]
            .contains(&object["kind"].as_str().unwrap_or_default())
        {
            lab.apply_yaml(&object.to_string()).await?;
        }
    }
    webhooks::lead(&lab).await?;
    // Neither can read the older peer until the controller itself converts it.
    let controller = lab.controller("controller")?.arg("--webhook-mode=enabled");
    let controller = controller.start().await?;
    let speaker = lab.speaker("n1")?.start().await?;
    for process in [&controller, &speaker] {
        process.wait_ready().await?;
    }

    let api: Api<BGPPeer> = Api::namespaced(lab.client(), NAMESPACE);
    let old = eventually(PATIENCE, "the old peer", async || {
        Ok(api.get_opt("old").await?)
    })
    .await?;
    let spec = serde_json::to_value(&old.spec)?;
    for (field, value) in [
        ("peerAddress", json!("127.0.0.9")),
        ("sourceAddress", json!("127.0.0.1")),
        ("peerPort", json!(1790)),
        ("password", json!("clear")),
        ("holdTime", json!("30s")),
        ("keepaliveTime", json!("10s")),
        ("routerID", json!("10.9.9.9")),
        ("bfdProfile", json!("fast")),
        ("ebgpMultiHop", json!(true)),
    ] {
        assert_eq!(spec[field], value, "{field} of {spec}");
    }
    // Nothing was written anew: the API server finds nothing to change in what is applied again.
    for object in OBJECTS
        .split("\n---\n")
        .filter(|text| text.contains("metallb.io/v1"))
    {
        for object in lab.apply_yaml(object).await? {
            assert_eq!(object.metadata.generation, Some(1), "{object:?}");
        }
    }
    wait_valid(&lab).await?;

    lab.backends("web", &["n1"]).await?;
    let routed = lab.service("web").label("app", "web");
    let routed = routed.annotation("metallb.io/address-pool", "teams");
    let address = routed.create().await?.wait_addresses(1).await?;
    ensure!(
        address[0].to_string().starts_with("10.60.0."),
        "{address:?}"
    );
    let lan = lab.service("lan").selector("app", "web").dual_stack();
    let addresses = lan.create().await?.wait_addresses(2).await?;
    // `.0` is left out.
    assert_eq!(addresses[0].to_string(), "192.168.16.1");
    let sessions: Api<BGPSessionState> = Api::namespaced(lab.client(), NAMESPACE);
    eventually(PATIENCE, "a session of each peer of the node", async || {
        let states = sessions.list(&ListParams::default()).await?.items;
        let states = states
            .into_iter()
            .filter_map(|state| Some(state.status?.peer));
        let mut peers: Vec<_> = states.collect();
        peers.sort();
        ensure!(peers.len() == 3, "{peers:?}");
        Ok(Some(()))
    })
    .await?;
    lab.down().await
}
