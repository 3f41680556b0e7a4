//! `/debug/state`.

use anyhow::{Context as _, Result, ensure};
use herald_lab::{Lab, ProxyMode, eventually};
use serde_json::{Value, json};

use crate::{CONFIGURATION, PATIENCE};

/// What curl gets of `/debug/state`.
async fn state(lab: &Lab, place: &str, port: u16) -> Result<Value> {
    let url = format!("http://127.0.0.1:{port}/debug/state");
    let said = lab
        .exec(place, &["curl", "--silent", "--show-error", "--fail", &url])
        .await?;
    Ok(serde_json::from_str(&said)?)
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn the_state_is_shown_on_loopback_where_it_is_asked_for() -> Result<()> {
    let lab = Lab::builder().nodes(1).proxy(ProxyMode::None);
    let lab = lab.start().await?;
    let controller = lab.controller("controller")?;
    let controller = controller.arg("--debug-bind-address=127.0.0.1:6061");
    let controller = controller.start_ready().await?;
    let speaker = lab.speaker("n1")?;
    let speaker = speaker.arg("--debug-bind-address=127.0.0.1:6062");
    let speaker = speaker.start_ready().await?;
    lab.apply_yaml(CONFIGURATION).await?;
    lab.backends("web", &["n1"]).await?;
    let service = lab.service("web").create().await?;
    eventually(PATIENCE, "an address in the state", async || {
        let addresses = service.addresses().await?;
        let address = addresses.first().context("no address")?.to_string();
        let seen = state(&lab, "cp", 6061).await?;
        let decision = &seen["services"]["default/web"]["decision"];
        ensure!(seen["leader"] == true, "{seen:#}");
        ensure!(decision["addresses"] == json!([address]), "{seen:#}");
        let seen = state(&lab, "n1", 6062).await?;
        let layer2 = &seen["services"]["default/web"]["layer2"];
        ensure!(layer2["announced"] == json!([address]), "{seen:#}");
        ensure!(seen["addresses"][&address]["status"] == "held", "{seen:#}");
        ensure!(seen["group"]["standing"] == "majority", "{seen:#}");
        ensure!(seen["sessions"]["tor"]["state"].is_string(), "{seen:#}");
        Ok(Some(()))
    })
    .await?;
    controller.stop().await?;
    speaker.stop().await?;

    // It is nowhere else, and nowhere if nobody asks for it.
    let open = lab.controller("controller")?;
    let open = open
        .arg("--debug-bind-address=0.0.0.0:6061")
        .start()
        .await?;
    eventually(PATIENCE, "the flag to be refused", async || {
        let log = open.log();
        Ok((!open.is_running() && log.contains("not on loopback")).then_some(()))
    })
    .await?;
    let silent = lab.start_controller("controller").await?;
    ensure!(state(&lab, "cp", 6061).await.is_err());
    silent.stop().await?;
    lab.down().await
}
