//! Edits of pools (compat.md 3.4) while clients use an address that stays.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::Duration;

use anyhow::{Result, ensure};
use herald_e2e::objects::{
    Changes, SOON, addresses_of, advertise, allocated_from, delete_pool, ip, pool, pool_with,
    wait_counters, wait_event, wait_for, wait_pending,
};
use herald_lab::{Lab, Service, eventually};
use serde_json::json;

/// An address that no edit of these tests takes away.
const STAYS: &str = "192.168.10.1";
const ELSEWHERE: &str = "192.168.30.1";

async fn wait_pool(service: &Service, pool: &str) -> Result<()> {
    eventually(
        SOON,
        &format!("{} to be of pool {pool}", service.name),
        async || Ok((allocated_from(&service.get().await?).as_deref() == Some(pool)).then_some(())),
    )
    .await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn pool_edits_move_only_what_they_must_and_no_request_fails() -> Result<()> {
    let lab = Lab::builder().nodes(2).start().await?;
    lab.backends("stays", &["n1", "n2"]).await?;
    lab.start_herald().await?;
    advertise(&lab).await?;
    pool(&lab, "lan", &["192.168.10.1-192.168.10.2"]).await?;
    let stays = lab.service("stays").create().await?;
    wait_for(&stays, &[STAYS]).await?;
    let moves = lab
        .service("moves")
        .annotation("metallb.io/allow-shared-ip", "m")
        .create()
        .await?;
    wait_for(&moves, &["192.168.10.2"]).await?;
    eventually(SOON, "answers", async || {
        Ok(Some(lab.ask("client", ip(STAYS), 80).await?))
    })
    .await?;
    let owner = lab.owner_nodes(ip(STAYS)).await?;
    let changes = Changes::watch(&lab).await?;
    let traffic = lab.traffic(
        "client",
        ip(STAYS),
        80,
        Duration::from_millis(20),
        Duration::from_secs(1),
    )?;

    // Grows: who waits is served.
    let waits = lab.service("waits").create().await?;
    wait_pending(&waits, "NoAvailableAddresses").await?;
    pool(&lab, "lan", &["192.168.10.1-192.168.10.3"]).await?;
    wait_for(&waits, &["192.168.10.3"]).await?;

    // Renamed: the new one is refused while the old one is there, and takes over in one step.
    pool(&lab, "renamed", &["192.168.10.0/29"]).await?;
    wait_event(&lab, "renamed", "InvalidConfiguration", "overlaps").await?;
    delete_pool(&lab, "lan").await?;
    for service in [&stays, &moves, &waits] {
        wait_pool(service, "renamed").await?;
    }

    // Shrinks: who is outside goes to another pool, with an event.
    pool(&lab, "elsewhere", &["192.168.30.1/32"]).await?;
    pool(&lab, "renamed", &["192.168.10.1/32", "192.168.10.3/32"]).await?;
    wait_for(&moves, &[ELSEWHERE]).await?;
    wait_pool(&moves, "elsewhere").await?;
    wait_event(&lab, "moves", "ClearAssignment", "192.168.10.2").await?;
    wait_counters(&lab, "renamed", (2, 0), (0, 0)).await?;
    wait_counters(&lab, "elsewhere", (1, 0), (0, 0)).await?;

    // Deleted under a Service: it waits, and has its address again when the pool is back.
    delete_pool(&lab, "elsewhere").await?;
    wait_pending(&moves, "NoAvailableAddresses").await?;
    pool(&lab, "elsewhere", &["192.168.30.0/31"]).await?;
    wait_for(&moves, &["192.168.30.0"]).await?;

    // An address that may no longer be given is taken back as well.
    let strict = json!({"addresses": ["192.168.30.0/31"], "avoidBuggyIPs": true});
    pool_with(&lab, "elsewhere", strict).await?;
    wait_for(&moves, &[ELSEWHERE]).await?;

    // What only concerns new Services moves no old one.
    let closed = json!({"addresses": ["192.168.10.1/32", "192.168.10.3/32"], "autoAssign": false});
    pool_with(&lab, "renamed", closed).await?;
    let preferred = json!({"addresses": ["192.168.40.0/24"], "serviceAllocation": {"priority": 1}});
    pool_with(&lab, "preferred", preferred).await?;
    wait_counters(&lab, "preferred", (0, 256), (0, 0)).await?;
    wait_for(&waits, &["192.168.10.3"]).await?;

    let report = traffic.stop().await?;
    let failures = report.failures();
    ensure!(
        failures.is_empty(),
        "{} of {} failed: {failures:?}",
        failures.len(),
        report.samples.len()
    );
    ensure!(
        report.answered() > 20,
        "only {} requests were sent",
        report.answered()
    );
    for state in changes.of("stays") {
        assert_eq!(
            addresses_of(&state),
            [ip(STAYS)],
            "an edit touched what it should not"
        );
    }
    assert_eq!(lab.owner_nodes(ip(STAYS)).await?, owner);
    // The addresses that were taken back are not answered for any more.
    for left in ["192.168.10.2", "192.168.30.0"] {
        eventually(SOON, &format!("nobody to answer for {left}"), async || {
            Ok(lab.owners(ip(left)).await?.is_empty().then_some(()))
        })
        .await?;
    }
    lab.down().await
}
