//! What is assigned stays assigned, whatever happens to controllers and to the API server.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use herald_e2e::objects::{
    SOON, advertise, all_addresses, delete_pool, ip, metrics, pool, pool_with, versions,
    wait_counters, wait_event, wait_for, wait_pending,
};
use herald_lab::{Herald, Lab, NAMESPACE, ProxyMode, Service, always, eventually};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;

/// Longer than a Lease lives without renewal.
const TAKEOVER: Duration = Duration::from_secs(25);

async fn start_lab() -> Result<Lab> {
    Lab::builder().nodes(1).proxy(ProxyMode::None).start().await
}

/// Creates Services `web-<number>`; every tenth wants both families.
async fn create_services(lab: &Lab, count: usize) -> Result<Vec<Service>> {
    let creations = (0..count).map(|number| {
        let service = lab.service(&format!("web-{number}"));
        let both = number % 10 == 0;
        async move {
            if both {
                service.dual_stack().create().await
            } else {
                service.create().await
            }
        }
    });
    futures::stream::iter(creations)
        .buffer_unordered(16)
        .try_collect()
        .await
}

/// Waits until so many Services have addresses, and checks that no address is given twice.
async fn wait_all(lab: &Lab, count: usize) -> Result<BTreeMap<String, Vec<IpAddr>>> {
    let patience = Duration::from_secs(40);
    let assigned = eventually(
        patience,
        &format!("{count} Services to have addresses"),
        async || {
            let assigned = all_addresses(lab).await?;
            ensure!(assigned.len() >= count, "{} have", assigned.len());
            Ok(Some(assigned))
        },
    )
    .await?;
    let all: Vec<IpAddr> = assigned.values().flatten().copied().collect();
    let distinct: BTreeSet<IpAddr> = all.iter().copied().collect();
    ensure!(
        distinct.len() == all.len(),
        "an address was given twice: {assigned:?}"
    );
    Ok(assigned)
}

/// That all the assignments of `before` are as they were.
async fn unchanged(lab: &Lab, before: &BTreeMap<String, Vec<IpAddr>>) -> Result<()> {
    let now = all_addresses(lab).await?;
    for (service, addresses) in before {
        let has = now.get(service);
        ensure!(
            has == Some(addresses),
            "{service} had {addresses:?} and has {has:?}"
        );
    }
    Ok(())
}

async fn leads(lab: &Lab, controller: &Herald) -> Result<bool> {
    let text = metrics(lab, "cp", controller).await?;
    Ok(text
        .lines()
        .any(|line| line == "herald_controller_leader_bool 1"))
}

/// The pod that holds the Lease: its holder is that name and a suffix that differs with each start.
async fn holder(lab: &Lab) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(lab.client(), NAMESPACE);
    let spec = leases.get("herald-controller").await?.spec;
    let holder = spec
        .and_then(|spec| spec.holder_identity)
        .context("nobody holds the Lease")?;
    let (pod, _) = holder
        .rsplit_once('_')
        .context("the holder has no suffix")?;
    Ok(pod.to_owned())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_controller_killed_with_500_services_changes_no_address_and_writes_no_settled_status()
-> Result<()> {
    const COUNT: usize = 500;
    let lab = start_lab().await?;
    pool(&lab, "lan", &["192.168.16.0/22", "fd10::10:0/112"]).await?;
    create_services(&lab, COUNT).await?;
    let alone = |name| Ok::<_, anyhow::Error>(lab.controller(name)?.arg("--leader-elect=false"));

    // Killed in the middle of the work.
    let controller = alone("controller")?
        .arg("--status-writes=2")
        .start()
        .await?;
    let patience = Duration::from_secs(30);
    let some = eventually(patience, "some Services to have addresses", async || {
        let some = all_addresses(&lab).await?;
        Ok((some.len() > COUNT / 10).then_some(some))
    })
    .await?;
    controller.kill().await?;
    ensure!(
        some.len() < COUNT,
        "all were assigned before the controller could be killed"
    );
    let halfway = all_addresses(&lab).await?;
    unchanged(&lab, &some).await?;
    controller.restart().await?;
    let all = wait_all(&lab, COUNT).await?;
    unchanged(&lab, &halfway).await?;

    // Killed when all is settled, while one Service goes and one comes.
    wait_counters(&lab, "lan", (500, 524), (50, 65486)).await?;
    let settled = versions(&lab).await?;
    controller.kill().await?;
    let late = lab.service("late").create().await?;
    controller.restart().await?;
    late.wait_addresses(1).await?;
    always(
        Duration::from_secs(2),
        "no settled Service is written",
        async || {
            let mut now = versions(&lab).await?;
            now.remove("default/late");
            Ok(now == settled)
        },
    )
    .await?;
    unchanged(&lab, &all).await?;
    wait_all(&lab, COUNT + 1).await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn of_two_controllers_one_acts_and_the_other_takes_over_when_it_is_killed() -> Result<()> {
    let lab = start_lab().await?;
    pool(&lab, "lan", &["192.168.16.0/24", "fd10::10:0/112"]).await?;
    let first = lab.start_controller("controller-a").await?;
    eventually(SOON, "the first to lead", async || {
        Ok(leads(&lab, &first).await?.then_some(()))
    })
    .await?;
    let second = lab.start_controller("controller-b").await?;
    assert_eq!(holder(&lab).await?, "controller-a");
    create_services(&lab, 40).await?;
    let before = wait_all(&lab, 40).await?;
    ensure!(!leads(&lab, &second).await?, "both lead");
    let settled = versions(&lab).await?;

    first.kill().await?;
    let orphan = lab.service("orphan").create().await?;
    eventually(TAKEOVER, "the second to lead", async || {
        Ok(leads(&lab, &second).await?.then_some(()))
    })
    .await?;
    orphan.wait_addresses(1).await?;
    assert_eq!(holder(&lab).await?, "controller-b");
    unchanged(&lab, &before).await?;
    let mut now = versions(&lab).await?;
    now.remove("default/orphan");
    assert_eq!(now, settled, "the new leader wrote what was settled");

    // A leader that is asked to go gives the Lease back: the other need not wait for its end.
    first.restart().await?;
    first.wait_ready().await?;
    second.stop().await?;
    eventually(SOON, "the first to lead again", async || {
        Ok(leads(&lab, &first).await?.then_some(()))
    })
    .await?;
    lab.service("after")
        .create()
        .await?
        .wait_addresses(1)
        .await?;
    unchanged(&lab, &before).await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_leader_that_wakes_up_too_late_writes_nothing() -> Result<()> {
    let lab = start_lab().await?;
    pool(&lab, "lan", &["192.168.16.1-192.168.16.2"]).await?;
    let sleeper = lab.start_controller("controller-a").await?;
    let kept = lab.service("kept").create().await?;
    wait_for(&kept, &["192.168.16.1"]).await?;
    let other = lab.start_controller("controller-b").await?;

    sleeper.pause()?;
    // What the sleeper knows becomes wrong: .1 is freed and given to another Service.
    kept.delete().await?;
    eventually(TAKEOVER, "the other to lead", async || {
        Ok(leads(&lab, &other).await?.then_some(()))
    })
    .await?;
    let heir = lab.service("heir").create().await?;
    wait_for(&heir, &["192.168.16.1"]).await?;
    let settled = versions(&lab).await?;
    sleeper.resume()?;
    eventually(SOON, "the sleeper to follow", async || {
        Ok((!leads(&lab, &sleeper).await?).then_some(()))
    })
    .await?;
    ensure!(leads(&lab, &other).await?, "the leader was driven out");
    assert_eq!(versions(&lab).await?, settled);
    wait_for(&lab.service("new").create().await?, &["192.168.16.2"]).await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn nodes_keep_answering_while_the_api_server_and_its_store_are_gone() -> Result<()> {
    let lab = Lab::builder().nodes(2).start().await?;
    lab.backends("web", &["n1", "n2"]).await?;
    lab.start_herald().await?;
    advertise(&lab).await?;
    pool(
        &lab,
        "lan",
        &["192.168.10.1-192.168.10.2", "fd10::10:1-fd10::10:9"],
    )
    .await?;
    let web = lab.service("web").dual_stack().create().await?;
    let addresses = web.wait_addresses(2).await?;
    let [v4, v6] = addresses.as_slice() else {
        unreachable!("two were waited for")
    };
    for address in [*v4, *v6] {
        eventually(SOON, "an answer", async || {
            Ok(Some(lab.ask("client", address, 80).await?))
        })
        .await?;
    }
    let owner = lab.owner_nodes(*v4).await?;
    let every = Duration::from_millis(50);
    let traffic = lab.traffic("client", *v4, 80, every, Duration::from_secs(1))?;

    let control_plane = lab.control_plane();
    control_plane.api_server.kill().await?;
    control_plane.etcd.kill().await?;
    for _ in 0..3 {
        assert_eq!(lab.owner_nodes(*v4).await?, owner);
        assert_eq!(lab.owner_nodes(*v6).await?, owner);
    }
    control_plane.etcd.restart().await?;
    control_plane.api_server.restart().await?;
    let back = Duration::from_secs(40);
    lab.control_plane().ready(&lab.client()).await?;
    assert_eq!(web.addresses().await?, addresses);

    // What changes later arrives everywhere: at the controller and at the speakers.
    let next = lab.service("next").selector("app", "web").create().await?;
    eventually(back, "an address", async || {
        Ok((next.addresses().await?.len() == 1).then_some(()))
    })
    .await?;
    let address = next.addresses().await?[0];
    eventually(back, "an answer", async || {
        Ok(Some(lab.ask("client", address, 80).await?))
    })
    .await?;
    next.delete().await?;
    eventually(back, "silence", async || {
        Ok(lab.owners(address).await?.is_empty().then_some(()))
    })
    .await?;
    assert_eq!(web.addresses().await?, addresses);
    assert_eq!(lab.owner_nodes(*v4).await?, owner);

    let report = traffic.stop().await?;
    let failures = report.failures();
    ensure!(
        failures.is_empty(),
        "{} of {} failed: {failures:?}",
        failures.len(),
        report.samples.len()
    );
    for name in ["controller", "speaker-n1", "speaker-n2"] {
        let process = lab.process(name).context("it was started")?;
        ensure!(
            process.is_running(),
            "{name} ended:\n{}",
            process.log_tail(10)
        );
    }
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_controller_whose_watches_are_too_old_lists_anew_and_loses_nothing() -> Result<()> {
    let lab = start_lab().await?;
    pool(&lab, "lan", &["192.168.16.1-192.168.16.3"]).await?;
    pool_with(
        &lab,
        "gone",
        json!({"addresses": ["192.168.17.1/32"], "autoAssign": false}),
    )
    .await?;
    let controller = lab
        .controller("controller")?
        .arg("--leader-elect=false")
        .start_ready()
        .await?;
    let kept = lab.service("kept").create().await?;
    let deleted = lab
        .service("deleted")
        .annotation("metallb.io/loadBalancerIPs", "192.168.16.2");
    let deleted = deleted.create().await?;
    let retyped = lab
        .service("retyped")
        .annotation("metallb.io/loadBalancerIPs", "192.168.16.3");
    let retyped = retyped.create().await?;
    let moved = lab
        .service("moved")
        .annotation("metallb.io/address-pool", "gone")
        .create()
        .await?;
    let first = kept.wait_addresses(1).await?;
    for service in [&deleted, &retyped, &moved] {
        service.wait_addresses(1).await?;
    }

    // It sees none of this, and its resource versions are gone when it asks for what followed.
    controller.pause()?;
    deleted.delete().await?;
    retyped
        .patch(json!({"spec": {"type": "ClusterIP"}}))
        .await?;
    delete_pool(&lab, "gone").await?;
    let hungry = lab.service("hungry").create().await?;
    compact(&lab).await?;
    lab.control_plane().api_server.kill().await?;
    lab.control_plane().api_server.restart().await?;
    let back = Duration::from_secs(40);
    lab.control_plane().ready(&lab.client()).await?;
    controller.resume()?;

    eventually(back, "the new Service to have an address", async || {
        Ok((hungry.addresses().await?.len() == 1).then_some(()))
    })
    .await?;
    wait_pending(&moved, "UnknownPool").await?;
    eventually(SOON, "the other Service to be released", async || {
        Ok(retyped.addresses().await?.is_empty().then_some(()))
    })
    .await?;
    assert_eq!(kept.addresses().await?, first);
    // An API server that has only just started may know none of its cluster IPs yet.
    let last = eventually(back, "the API server to give a cluster IP", async || {
        Ok(Some(lab.service("last").create().await?))
    });
    last.await?.wait_addresses(1).await?;
    wait_counters(&lab, "lan", (3, 0), (0, 0)).await?;
    lab.down().await
}

/// Drops the history of the store, by the gateway that etcd has for HTTP.
async fn compact(lab: &Lab) -> Result<()> {
    let post = async |path: &str, body: &str| {
        let url = format!("http://127.0.0.1:2379/v3/kv/{path}");
        lab.exec(
            "cp",
            &[
                "curl",
                "--silent",
                "--show-error",
                "--fail",
                "--data",
                body,
                &url,
            ],
        )
        .await
    };
    // The key is "a", in base64; the answer's header has the store's revision.
    let answer: serde_json::Value =
        serde_json::from_str(&post("range", r#"{"key":"YQ=="}"#).await?)?;
    let revision = answer["header"]["revision"]
        .as_str()
        .context("etcd tells its revision")?;
    let body = format!(r#"{{"revision":"{revision}","physical":true}}"#);
    post("compaction", &body).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_pool_that_changes_while_no_controller_runs_is_obeyed_by_the_next() -> Result<()> {
    let lab = start_lab().await?;
    pool(&lab, "lan", &["192.168.16.1-192.168.16.4"]).await?;
    let alone = lab.controller("controller")?.arg("--leader-elect=false");
    let controller = alone.start_ready().await?;
    let inside = lab.service("inside").create().await?;
    wait_for(&inside, &["192.168.16.1"]).await?;
    let outside = lab.service("outside").create().await?;
    wait_for(&outside, &["192.168.16.2"]).await?;
    controller.kill().await?;
    pool(&lab, "lan", &["192.168.16.1/32", "192.168.16.4/32"]).await?;
    outside
        .patch(json!({"metadata": {"labels": {"seen": "late"}}}))
        .await?;
    controller.restart().await?;
    wait_for(&outside, &["192.168.16.4"]).await?;
    wait_event(&lab, "outside", "ClearAssignment", "192.168.16.2").await?;
    assert_eq!(inside.addresses().await?, [ip("192.168.16.1")]);
    lab.down().await
}
