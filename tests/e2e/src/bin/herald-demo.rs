//! Shows Herald at work: a cluster of three nodes, a pool, a Service, and a LAN that answers.
//!
//! Ends with an error if anything it shows does not hold. Everything is removed at the end, also
//! after an error and on Ctrl-C.
#![expect(clippy::print_stdout, reason = "a demonstration speaks to its reader")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use herald_api::kinds::ServiceL2Status;
use herald_lab::{Lab, NAMESPACE, eventually};
use k8s_openapi::api::core::v1::{Event, Service};
use kube::Api;
use kube::api::ListParams;

const SOON: Duration = Duration::from_secs(10);

const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata:
  name: lan
  namespace: metallb-system
spec:
  addresses:
  - 192.168.10.100-192.168.10.150
  - fd10::10:100-fd10::10:150
";

const ADVERTISEMENT: &str = "\
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata:
  name: lan
  namespace: metallb-system
spec:
  ipAddressPools: [lan]
";

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: default
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  selector:
    app: web
  ports:
  - port: 80
    targetPort: 8080
";

#[tokio::main]
async fn main() -> ExitCode {
    tokio::select! {
        result = show() => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("\nThe demo failed: {error:#}");
                ExitCode::FAILURE
            }
        },
        // The lab goes with what is dropped here.
        _ = tokio::signal::ctrl_c() => {
            eprintln!("\nInterrupted. Cleaning up …");
            ExitCode::from(130)
        }
    }
}

async fn show() -> Result<()> {
    let start = Instant::now();
    say("Starting a cluster: API server, three nodes with kube-proxy, a LAN with a client …");
    let lab = Lab::builder().name("demo").start().await?;
    let pods = lab.backends("web", &["n1", "n2"]).await?;
    for pod in &pods {
        println!("  backend {} on node {}", pod.name, pod.node);
    }
    say("Starting Herald: one controller, one speaker on each node …");
    lab.start_herald().await?;

    say("A pool of addresses, its announcement on the LAN, and a Service that asks for both:");
    for yaml in [POOL, ADVERTISEMENT, SERVICE] {
        print_yaml(yaml);
        lab.apply_yaml(yaml).await?;
    }

    let addresses = show_addresses(&lab).await?;
    let node = show_owner(&lab, &addresses).await?;
    show_answers(&lab, &addresses, pods.len()).await?;
    show_announcement(&lab, &node).await?;

    say("All of it holds. Cleaning up …");
    lab.down().await?;
    println!("Done in {:.1} s.", start.elapsed().as_secs_f64());
    Ok(())
}

fn say(what: &str) {
    println!("\n\u{25b6} {what}");
}

/// Prints a manifest as it is given to `kubectl apply`.
fn print_yaml(yaml: &str) {
    println!("\n  kubectl apply -f - <<EOF");
    for line in yaml.lines() {
        println!("  {line}");
    }
    println!("  EOF");
}

/// The addresses of the Service, one of each family.
async fn show_addresses(lab: &Lab) -> Result<Vec<IpAddr>> {
    let services: Api<Service> = Api::namespaced(lab.client(), "default");
    let start = Instant::now();
    let (service, addresses) = eventually(SOON, "two addresses of the Service", async || {
        let service = services.get("web").await?;
        let addresses = ingress(&service)?;
        Ok((addresses.len() == 2).then_some((service, addresses)))
    })
    .await
    .context("the controller gave the Service no addresses")?;
    ensure!(
        addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6),
        "the Service asked for both families and has {addresses:?}"
    );
    let after = start.elapsed().as_millis();
    say(&format!(
        "The controller gave it an IPv4 and an IPv6 address within {after} ms:"
    ));
    let spec = service.spec.unwrap_or_default();
    let external: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let external = external.join(",");
    println!("\n  kubectl get service web");
    println!(
        "  {:<6}{:<14}{:<16}{:<30}PORT(S)",
        "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP"
    );
    println!(
        "  {:<6}{:<14}{:<16}{external:<30}80/TCP",
        "web",
        spec.type_.unwrap_or_default(),
        spec.cluster_ip.unwrap_or_default(),
    );
    Ok(addresses)
}

fn ingress(service: &Service) -> Result<Vec<IpAddr>> {
    let status = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let entries = status
        .and_then(|status| status.ingress.as_deref())
        .unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| entry.ip.as_deref())
        .map(|ip| Ok(ip.parse()?))
        .collect()
}

/// The one node that answers for both addresses, asked by the client's own ARP and NDP frames.
async fn show_owner(lab: &Lab, addresses: &[IpAddr]) -> Result<String> {
    say("The client on the LAN asks by raw frames who has these addresses:\n");
    let mut owners = BTreeSet::new();
    for &address in addresses {
        let protocol = if address.is_ipv4() { "ARP" } else { "NDP" };
        let nodes = eventually(SOON, "an answer", async || {
            let nodes = lab.owner_nodes(address).await?;
            Ok((!nodes.is_empty()).then_some(nodes))
        })
        .await
        .with_context(|| format!("no node answers {protocol} for {address}"))?;
        let [node] = nodes.as_slice() else {
            bail!(
                "more than one node answers {protocol} for {address}: {}",
                nodes.join(", ")
            );
        };
        let mac = lab.mac(node, "lan0")?;
        println!("  {protocol}  who has {address}?  {mac}: lan0 of {node}, and nobody else");
        owners.insert(node.clone());
    }
    let owners: Vec<String> = owners.into_iter().collect();
    match <[String; 1]>::try_from(owners) {
        Ok([node]) => Ok(node),
        Err(nodes) => bail!(
            "the Service's addresses are on different nodes: {}",
            nodes.join(", ")
        ),
    }
}

/// HTTP answers from every backend, over both families.
async fn show_answers(lab: &Lab, addresses: &[IpAddr], backends: usize) -> Result<()> {
    say("The client gets answers from every backend, over IPv4 and IPv6:\n");
    for &address in addresses {
        let mut heard = BTreeSet::new();
        eventually(SOON, "answers from every backend", async || {
            let answer = lab.ask("client", address, 80).await?;
            let url = match address {
                IpAddr::V4(v4) => format!("http://{v4}/"),
                IpAddr::V6(v6) => format!("http://[{v6}]/"),
            };
            if heard.insert(answer.pod.clone()) {
                println!(
                    "  curl {url}  answered by {} on {}",
                    answer.pod, answer.node
                );
            }
            Ok((heard.len() == backends).then_some(()))
        })
        .await
        .with_context(|| format!("{address} was answered by {heard:?} of {backends} backends"))?;
    }
    Ok(())
}

/// Who announces what, as the cluster's users see it.
async fn show_announcement(lab: &Lab, node: &str) -> Result<()> {
    say("Who announces it, and why it is so, is in the cluster for everyone to see:");
    let statuses: Api<ServiceL2Status> = Api::namespaced(lab.client(), NAMESPACE);
    let status = eventually(SOON, "a ServiceL2Status of the Service", async || {
        let all = statuses.list(&ListParams::default()).await?.items;
        let mut all = all
            .into_iter()
            .filter_map(|object| Some((object.metadata.name?, object.status?)));
        Ok(all.find(|(_, status)| status.service_name == "web"))
    });
    let (name, status) = status
        .await
        .context("no speaker reported what it announces")?;
    ensure!(
        status.node == node,
        "ServiceL2Status {name} names node {}, but {node} answers on the LAN",
        status.node
    );
    println!("\n  kubectl get servicel2statuses -n {NAMESPACE}");
    println!(
        "  {:<12}{:<16}{:<14}SERVICE NAMESPACE",
        "NAME", "ALLOCATED NODE", "SERVICE NAME"
    );
    println!(
        "  {name:<12}{node:<16}{:<14}{}",
        status.service_name, status.service_namespace
    );

    let services: Api<Service> = Api::namespaced(lab.client(), "default");
    let service = services.get("web").await?;
    let conditions = service
        .status
        .and_then(|status| status.conditions)
        .unwrap_or_default();
    let condition = conditions
        .iter()
        .find(|condition| condition.type_ == herald_api::annotations::CONDITION_ADDRESS_ASSIGNED)
        .context("the Service has no condition about its addresses")?;
    ensure!(
        condition.status == "True",
        "the condition says: {}",
        condition.message
    );
    println!("\n  kubectl describe service web");
    println!(
        "  Condition  {}={}: {}",
        condition.type_, condition.status, condition.message
    );
    let events: Api<Event> = Api::namespaced(lab.client(), "default");
    let of_web = ListParams::default().fields("involvedObject.name=web");
    for reason in ["IPAllocated", "nodeAssigned"] {
        let event = eventually(SOON, reason, async || {
            let all = events.list(&of_web).await?.items;
            Ok(all
                .into_iter()
                .find(|event| event.reason.as_deref() == Some(reason)))
        });
        let event = event.await.context("an event is missing")?;
        println!(
            "  Event      {reason}: {}",
            event.message.unwrap_or_default()
        );
    }
    Ok(())
}
