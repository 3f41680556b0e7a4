//! What rules, dashboard and MetalLB's users look for is there.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use herald_chart::{Helm, chart, metrics};
use herald_interop::{Config, Router};
use herald_lab::{Arp, Herald, Lab, Mac, ProxyMode, eventually};
use serde_json::Value;

use crate::peer::{self, Process};
use crate::scrape::{Scrape, scrape};
use crate::{CONFIGURATION, PATIENCE};

/// All expressions of the rules and of the dashboard.
fn expressions() -> Result<String> {
    let values = "prometheus: {prometheusRule: {enabled: true}}";
    let rendered = Helm::new()?.template(values)?;
    let rules = rendered.object("PrometheusRule", "herald")?["spec"].clone();
    let text = fs::read_to_string(chart().join("dashboards/herald.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let mut all = String::new();
    collect(&rules, &mut all);
    collect(&dashboard, &mut all);
    Ok(all)
}

fn collect(value: &Value, all: &mut String) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "expr" => {
                        all.push_str(text);
                        all.push('\n');
                    }
                    _ => collect(value, all),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, all)),
        _ => {}
    }
}

/// A router that takes what the node says, and watches it.
fn router(lab: &Lab) -> Result<Router> {
    let node = lab.node("n1")?.lan.v4;
    let config = format!(
        "router id 192.168.0.1;\nlog stderr all;\nprotocol device {{}}\nprotocol bfd {{}}\n\
         protocol bgp n1 {{ local 192.168.0.1 as 65002; neighbor {node} as 65001; direct;\n  \
         passive on; bfd on; ipv4 {{ import all; export none; }}; }}\n"
    );
    Router::start(lab, "router", "tor", &Config::Bird(config))
}

async fn read(lab: &Lab, part: &str, herald: &Herald) -> Result<Scrape> {
    let (_, text) = scrape(lab, part, herald, &["--insecure"]).await?;
    Scrape::read(&text)
}

/// Gives addresses until one is announced at once: how long that took is told only of those that came
/// when the speaker knew all else that it takes, and it may know that late.
async fn time_to_announcement(lab: &Lab, speaker: &Herald) -> Result<()> {
    const WHILE: Duration = Duration::from_secs(5);
    eventually(PATIENCE, "the time to an announcement", async || {
        let early = lab.service("early").selector("app", "web").create().await?;
        let told = eventually(WHILE, "it to be told", async || {
            let shown = read(lab, "n1", speaker).await?;
            let told = shown
                .names()
                .any(|name| name == "herald_address_announced_seconds_bucket");
            Ok(told.then_some(()))
        });
        let told = told.await;
        early.delete().await?;
        told.map(Some)
    })
    .await
}

#[tokio::test]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn whatever_is_named_is_in_a_scrape() -> Result<()> {
    let mut named = metrics::names(&expressions()?);
    ensure!(named.len() > 30, "{named:?}");
    named.extend(peer::names());
    let began = SystemTime::now();
    let lab = Lab::builder().nodes(1).proxy(ProxyMode::None);
    let lab = lab.start().await?;
    let router = router(&lab)?;
    let controller = lab.start_controller("controller").await?;
    let speaker = lab.start_speaker("n1").await?;
    lab.apply_yaml(CONFIGURATION).await?;
    lab.backends("web", &["n1"]).await?;
    time_to_announcement(&lab, &speaker).await?;
    let service = lab.service("web").create().await?;
    let addresses = eventually(PATIENCE, "an address", async || {
        let addresses = service.addresses().await?;
        Ok((!addresses.is_empty()).then_some(addresses))
    });
    let [IpAddr::V4(address)] = addresses.await?[..] else {
        anyhow::bail!("not one IPv4 address");
    };
    // Once somebody else has it, it would not be taken.
    eventually(PATIENCE, "the node to answer", async || {
        let owners = lab.owners(address.into()).await?;
        Ok((!owners.is_empty()).then_some(()))
    })
    .await?;
    let client = lab.mac("client", "lan0")?;
    let member = lab.node("n1")?.member_address();
    let strange = lab.in_namespace("cp", || UdpSocket::bind("0.0.0.0:0"))??;
    let stolen = Arp {
        operation: 2,
        target_mac: Mac::BROADCAST,
        ..Arp::request(client, address, address)
    };
    let scrapes = eventually(PATIENCE, "all series", async || {
        // Some are there once something has happened: a question, a conflict, a strange datagram.
        lab.owners(address.into()).await?;
        lab.send_frame("client", "lan0", &stolen.to_frame())?;
        strange.send_to(b"strange", (member, 7946))?;
        let scrapes = [
            read(&lab, "cp", &controller).await?,
            read(&lab, "n1", &speaker).await?,
        ];
        let shown: BTreeSet<_> = scrapes.iter().flat_map(Scrape::names).collect();
        let missing: Vec<_> = named.iter().filter(|name| !shown.contains(name)).collect();
        ensure!(missing.is_empty(), "no process shows {missing:?}");
        Ok(Some(scrapes))
    })
    .await
    .with_context(|| format!("the router's log:\n{}", router.log()))?;

    for (process, scrape) in [Process::Controller, Process::Speaker].iter().zip(&scrapes) {
        peer::check(*process, scrape)?;
        peer::check_absent(scrape)?;
        check_process(scrape, began)?;
    }
    lab.down().await
}

/// A process says of itself what is true of one that was just started.
fn check_process(scrape: &Scrape, began: SystemTime) -> Result<()> {
    let memory = scrape.value("process_resident_memory_bytes")?;
    ensure!((1e6..1e9).contains(&memory), "{memory} bytes of memory");
    ensure!(scrape.value("process_virtual_memory_bytes")? >= memory);
    let files = scrape.value("process_open_fds")?;
    let most = scrape.value("process_max_fds")?;
    ensure!(files > 5.0 && files <= most, "{files} of {most} open files");
    let start = scrape.value("process_start_time_seconds")?;
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(start);
    // The time of boot is in whole seconds.
    let earliest = began - Duration::from_secs(2);
    ensure!(
        earliest < start && start < SystemTime::now() + Duration::from_secs(2),
        "started at {start:?}"
    );
    let spent = scrape.value("process_cpu_seconds_total")?;
    let life = start.elapsed().unwrap_or_default().as_secs_f64();
    ensure!(spent > 0.0 && spent < 64.0 * (life + 2.0), "{spent} s");
    Ok(())
}
