//! A lab that outlives the command that started it.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use herald_lab::{Lab, LabState, ProxyMode};

use crate::{UpArgs, ui};

/// Starts the owner in the background and waits until its lab is complete.
pub(crate) fn up(args: &UpArgs) -> Result<()> {
    let start = Instant::now();
    let log = std::env::temp_dir().join(format!("herald-lab-up-{}.log", std::process::id()));
    let file = File::create(&log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("own")
        .args(["--nodes", &args.nodes.to_string()]);
    if args.web > 0 {
        command.args(["--web", &args.web.to_string()]);
    }
    command.args([
        "--proxy-mode",
        &format!("{:?}", args.proxy_mode).to_lowercase(),
    ]);
    command.args(args.name.iter().flat_map(|name| ["--name", name]));
    command.args(args.kubelets.then_some("--kubelets"));
    command.args(
        args.image
            .iter()
            .map(|image| format!("--image={}", image.display())),
    );
    command.args((args.herald && !args.no_herald).then_some("--herald"));
    // A process group of its own: Ctrl-C here is not meant for the lab once it is up.
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    let mut owner = command.spawn()?;
    loop {
        if let Some(status) = owner.try_wait()? {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("the lab did not start, {status}:\n{said}");
        }
        let labs = LabState::all();
        let ready = labs
            .iter()
            .find(|lab| lab.pid == owner.id() && lab.api_port.is_some());
        if let Some(lab) = ready {
            std::fs::remove_file(&log)?;
            let name = lab.name.as_deref().unwrap_or(&lab.id);
            ui::line(&format!(
                "lab {name} is up after {:.1} s",
                start.elapsed().as_secs_f64()
            ));
            ui::line(&format!(
                "  export KUBECONFIG={}",
                lab.kubeconfig().display()
            ));
            ui::line("  herald-lab status | exec client -- … | kubectl … | down");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Owns a lab until SIGTERM, on which the library takes it down.
#[tokio::main]
pub(crate) async fn own(args: UpArgs) -> Result<()> {
    let mut builder = Lab::builder()
        .nodes(args.nodes)
        .proxy(ProxyMode::from(args.proxy_mode));
    if let Some(name) = args.name {
        if LabState::all()
            .iter()
            .any(|lab| lab.is_alive() && lab.name.as_ref() == Some(&name))
        {
            bail!("a lab named {name} runs already: choose another --name or take it down");
        }
        builder = builder.name(name);
    }
    if args.kubelets {
        builder = builder.kubelets(args.image);
    }
    let lab = builder.start().await?;
    if args.herald && !args.no_herald {
        lab.start_herald().await?;
    }
    if args.web > 0 {
        let nodes: Vec<&str> = lab.nodes().iter().map(|node| node.name.as_str()).collect();
        lab.backends("web", &nodes[..nodes.len().min(args.web.into())])
            .await?;
        lab.service("web").dual_stack().create().await?;
    }
    lab.forward_api().await?;
    std::future::pending::<()>().await;
    drop(lab);
    Ok(())
}
