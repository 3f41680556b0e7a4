//! The lab's own tests.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_lab::{
    Answer, Arp, Ask, Cut, Lab, LabState, Network, ProcessSpec, ProxyMode, eventually,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SOON: Duration = Duration::from_secs(10);

/// The names of the namespaces whose names have the prefix.
fn namespaces(prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(prefix)).collect()
}

async fn reaches_node_ports(mode: ProxyMode) -> Result<()> {
    let lab = Lab::builder().nodes(3).proxy(mode).start().await?;
    lab.add_router().await?;
    lab.backends("web", &["n1", "n2"]).await?;
    let web = lab
        .service("web")
        .node_port()
        .dual_stack()
        .port(80)
        .udp_port(53)
        .create()
        .await?;
    let (tcp, udp) = (web.node_port(80).await?, web.node_port(53).await?);
    for node in lab.nodes() {
        for address in node.lan.both() {
            for part in ["client", "remote", "remote2"] {
                let ask = async || Ok(Some(lab.ask(part, address, tcp).await?));
                let answer = eventually(SOON, "an answer", ask).await?;
                ensure!(answer.pod.starts_with("web-"), "{answer:?}");
            }
            let answer = lab.in_namespace("client", move || ask_udp(address, udp))??;
            assert_eq!(answer.echo.as_deref(), Some("hello"));
        }
    }
    lab.down().await
}

fn ask_udp(address: IpAddr, port: u16) -> Result<Answer> {
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send_to(b"hello", SocketAddr::new(address, port))?;
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer)?;
    Ok(serde_json::from_slice(&buffer[..length])?)
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn a_client_reaches_node_ports_over_both_families_with_nftables() -> Result<()> {
    reaches_node_ports(ProxyMode::Nftables).await
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn a_client_reaches_node_ports_over_both_families_with_iptables() -> Result<()> {
    reaches_node_ports(ProxyMode::Iptables).await
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn two_labs_run_side_by_side_and_leave_nothing() -> Result<()> {
    let start = || Lab::builder().nodes(1).start();
    let (one, two) = tokio::try_join!(start(), start())?;
    let mut gone = Vec::new();
    for (lab, app) in [(&one, "one"), (&two, "two")] {
        lab.backends(app, &["n1"]).await?;
        let port = lab
            .service(app)
            .node_port()
            .create()
            .await?
            .node_port(80)
            .await?;
        let address = lab.node("n1")?.lan.v4.into();
        let ask = async || Ok(Some(lab.ask("client", address, port).await?));
        let answer = eventually(SOON, "an answer", ask).await?;
        assert_eq!(answer.pod, format!("{app}-0"));
        gone.push((format!("hl-{}-", lab.id()), lab.control_plane().etcd.pid()));
        gone.push((
            format!("hl-{}-", lab.id()),
            lab.control_plane().api_server.pid(),
        ));
    }
    let dir: PathBuf = one.dir().into();
    one.down().await?;
    two.down().await?;
    for (prefix, pid) in gone {
        assert_eq!(namespaces(&prefix), Vec::<String>::new());
        assert!(!PathBuf::from(format!("/proc/{pid}")).exists());
    }
    assert!(!dir.exists());
    Ok(())
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn links_are_cut_and_parts_kept_from_each_other() -> Result<()> {
    let lab = Lab::builder()
        .nodes(2)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    let (n1, n2) = (lab.node("n1")?.clone(), lab.node("n2")?.clone());
    let mac = lab.mac("n1", "lan0")?;
    assert_eq!(lab.owners(n1.lan.v4.into()).await?, [mac]);
    assert_eq!(
        lab.ndp_probe("client", "lan0", n1.lan.v6, Ask::Multicast)
            .await?,
        [mac]
    );
    assert_eq!(lab.owner_nodes(n1.lan.v6.into()).await?, ["n1"]);

    for how in [Cut::Carrier, Cut::Silent, Cut::Mute, Cut::Deaf] {
        lab.cut_link("n1", "lan0", how).await?;
        assert_eq!(lab.owners(n1.lan.v4.into()).await?, [], "{how:?}");
        let carrier = lab
            .exec("n1", &["cat", "/sys/class/net/lan0/carrier"])
            .await?;
        assert_eq!(carrier.trim(), if how == Cut::Carrier { "0" } else { "1" });
        lab.restore_link("n1", "lan0").await?;
        assert_eq!(lab.owners(n1.lan.v4.into()).await?, [mac]);
    }

    // One way: the question is lost, what the other side sends is not.
    let capture = lab.capture("client", "lan0")?;
    let fault = lab.drop_one_way(("client", "lan0"), ("n1", "lan0")).await?;
    assert_eq!(lab.owners(n1.lan.v4.into()).await?, []);
    assert_eq!(
        lab.owners(n2.lan.v4.into()).await?,
        [lab.mac("n2", "lan0")?]
    );
    let spoken = Arp::request(mac, n1.lan.v4, Ipv4Addr::new(192, 168, 9, 9));
    lab.send_frame("n1", "lan0", &spoken.to_frame())?;
    let heard = capture.wait_for(SOON, "the frame that n1 sent", |frame| {
        Arp::parse(&frame.bytes).filter(|arp| arp.target == spoken.target)
    });
    assert_eq!(heard.await?, spoken);
    lab.restore(fault).await?;
    assert_eq!(lab.owners(n1.lan.v4.into()).await?, [mac]);

    let _fault = lab.drop_between(("n1", "mgmt0"), ("n2", "mgmt0")).await?;
    let ping = |to: &str| vec!["ping".to_owned(), "-c1".into(), "-W1".into(), to.into()];
    let reaches = async |to: Ipv4Addr| {
        let command = ping(&to.to_string());
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        lab.exec("n1", &command).await.is_ok()
    };
    assert!(!reaches(n2.mgmt.v4).await);
    lab.heal().await?;
    // The question that was lost has to be asked again first.
    let mended = async || Ok(reaches(n2.mgmt.v4).await.then_some(()));
    eventually(SOON, "n2 to be reached", mended).await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn interfaces_come_and_go() -> Result<()> {
    let lab = Lab::builder()
        .nodes(1)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    let second = Network::Other("lan2".into());
    let address = herald_lab::Addresses {
        v4: [10, 9, 0, 1].into(),
        v6: "fd09::1".parse()?,
    };
    lab.add_interface("n1", "lan1", &second, Some(address))
        .await?;
    lab.add_interface("client", "lan1", &second, None).await?;
    let mac = lab.mac("n1", "lan1")?;
    assert_eq!(lab.arp_probe("client", "lan1", address.v4).await?, [mac]);
    lab.set_link("n1", "lan1", false).await?;
    assert_eq!(lab.arp_probe("client", "lan1", address.v4).await?, []);
    lab.set_link("n1", "lan1", true).await?;
    lab.rename_interface("n1", "lan1", "eth9").await?;
    assert_eq!(lab.mac("n1", "eth9")?, mac);
    lab.cut_link("n1", "lan1", Cut::Silent).await?;
    assert_eq!(lab.arp_probe("client", "lan1", address.v4).await?, []);
    lab.delete_interface("n1", "eth9").await?;
    assert!(lab.mac("n1", "eth9").is_err());
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn a_stream_of_requests_measures_the_gap() -> Result<()> {
    let lab = Lab::builder().nodes(2).start().await?;
    let pods = lab.backends("web", &["n1", "n2"]).await?;
    let web = lab.service("web").node_port().local().create().await?;
    let port = web.node_port(80).await?;
    let address = lab.node("n1")?.lan.v4.into();
    let ask = async || Ok(Some(lab.ask("client", address, port).await?));
    let answer = eventually(SOON, "an answer", ask).await?;
    assert_eq!(answer.node, "n1");
    assert_eq!(answer.client.ip(), IpAddr::from([192, 168, 0, 100]));

    let every = Duration::from_millis(20);
    let traffic = lab.traffic("client", address, port, every, Duration::from_millis(200))?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    lab.cut_link("n1", "lan0", Cut::Silent).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    lab.restore_link("n1", "lan0").await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let report = traffic.stop().await?;
    let gap = report.longest_gap();
    assert!((800..1800).contains(&gap.as_millis()), "{gap:?}");
    assert!(report.answered() > 20 && report.failures().len() > 20);

    // Not ready: with policy Local the node drops the Service.
    pods[0].set_ready(false).await?;
    let silent = async || {
        Ok(lab
            .ask("client", address, port)
            .await
            .is_err()
            .then_some(()))
    };
    eventually(SOON, "no answer from a backend that is not ready", silent).await?;

    // A pod of the same name takes the place of one that is deleted.
    for pod in pods {
        pod.terminate().await?;
        pod.delete().await?;
    }
    lab.backends("web", &["n1", "n2"]).await?;
    let ask = async || Ok(Some(lab.ask("client", address, port).await?));
    assert_eq!(
        eventually(SOON, "an answer of the new pod", ask).await?.pod,
        "web-0"
    );
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn processes_stop_pause_and_start_again() -> Result<()> {
    let lab = Lab::builder()
        .nodes(1)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    let spec = ProcessSpec::new("echo", "sh").args(["-c", "echo up; while :; do sleep 0.1; done"]);
    let process = lab.spawn("n1", spec.clone())?;
    assert!(lab.spawn("n1", spec).is_err(), "the name is taken");
    let lives = async |count| {
        let up = process.log().matches("up").count();
        Ok((up == count).then_some(()))
    };
    eventually(SOON, "the first life", async || lives(1).await).await?;
    assert!(process.rss_bytes()? > 0);
    process.pause()?;
    process.resume()?;
    process.restart().await?;
    eventually(SOON, "the second life", async || lives(2).await).await?;
    process.kill().await?;
    assert!(!process.is_running());
    assert!(process.ended_by(Signal::SIGKILL));

    let api_server = &lab.control_plane().api_server;
    api_server.kill().await?;
    api_server.restart().await?;
    lab.control_plane().ready(&lab.client()).await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn a_panic_takes_the_lab_down_and_keeps_the_logs() -> Result<()> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let test = tokio::spawn(async move {
        let lab = Lab::builder()
            .nodes(1)
            .proxy(ProxyMode::None)
            .start()
            .await
            .unwrap();
        let etcd = lab.control_plane().etcd.pid();
        sender
            .send((lab.id().to_owned(), lab.dir().to_owned(), etcd))
            .unwrap();
        panic!("on purpose");
    });
    assert!(test.await.unwrap_err().is_panic());
    let (id, dir, etcd) = receiver.recv()?;
    assert_eq!(namespaces(&format!("hl-{id}-")), Vec::<String>::new());
    assert!(!PathBuf::from(format!("/proc/{etcd}")).exists());
    assert!(dir.join("logs/etcd.log").exists());
    std::fs::remove_dir_all(&dir).context("the logs are kept")?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs root: run by make test"]
async fn the_command_runs_a_lab_until_down_and_sweeps_dead_ones() -> Result<()> {
    let herald_lab = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_herald-lab"))
            .args(args)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    };
    let name = format!("test-{}", std::process::id());
    let up = [
        "up",
        "--nodes",
        "1",
        "--proxy-mode",
        "none",
        "--name",
        &name,
    ];
    let find = || {
        LabState::all()
            .into_iter()
            .find(|lab| lab.name.as_deref() == Some(&name))
    };

    herald_lab(&up)?;
    let first = find().context("the state is written down")?;
    let nodes = herald_lab(&["kubectl", "--lab", &name, "get", "nodes", "-o", "name"])?;
    assert_eq!(nodes, "node/n1\n");
    let address = herald_lab(&["exec", "--lab", &name, "n1", "--", "ip", "-br", "addr"])?;
    assert!(address.contains("192.168.0.11/16"), "{address}");
    assert!(herald_lab(&["status"])?.contains(&first.id));

    // The kernel ends the lab's processes with their owner; the next start removes the rest.
    kill(Pid::from_raw(first.pid.cast_signed()), Signal::SIGKILL)?;
    let dead = async || Ok((!first.is_alive()).then_some(()));
    eventually(SOON, "the owner to be dead", dead).await?;
    herald_lab(&up)?;
    let prefix = format!("hl-{}-", first.id);
    assert_eq!(namespaces(&prefix), Vec::<String>::new());

    let second = find().context("the state is written down")?;
    assert_ne!(first.id, second.id);
    herald_lab(&["down", &name])?;
    assert_eq!(
        namespaces(&format!("hl-{}-", second.id)),
        Vec::<String>::new()
    );
    assert!(!second.dir.exists());
    std::fs::remove_dir_all(&first.dir)?;
    Ok(())
}
