//! The lab's own tests.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::{Duration, Instant};

use herald_lab::{Lab, eventually};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn a_client_reaches_a_node_port_over_both_families() -> anyhow::Result<()> {
    let start = Instant::now();
    let lab = Lab::builder().nodes(3).start().await?;
    println!("up after {:?}", start.elapsed());
    lab.backends("web", &["n1", "n2"]).await?;
    let web = lab.service("web").node_port().dual_stack().create().await?;
    let port = web.node_port(80).await?;
    for node in lab.nodes() {
        for address in node.lan.both() {
            for part in ["client", "remote"] {
                let answer = eventually(SOON, "an answer", async || {
                    Ok(Some(lab.ask(part, address, port).await?))
                })
                .await?;
                println!("{start:?} {address} {answer:?}", start = start.elapsed());
            }
        }
    }
    lab.down().await?;
    println!("down after {:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
#[ignore = "debug"]
async fn debug() -> anyhow::Result<()> {
    let lab = Lab::builder().nodes(3).start().await?;
    lab.backends("web", &["n1", "n2"]).await?;
    lab.service("web").node_port().dual_stack().create().await?;
    println!("{} {:?}", lab.id(), lab.forward_api().await?);
    tokio::time::sleep(Duration::from_secs(600)).await;
    Ok(())
}
