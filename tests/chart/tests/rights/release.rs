//! A release on the lab: the chart's objects with the chart's rights, and its processes.

use anyhow::{Context as _, Result, ensure};
use herald_chart::{Helm, Rendered};
use herald_lab::{Herald, HeraldBuilder, Lab, NAMESPACE, ProxyMode, User};
use serde_json::Value;

use crate::granted;

/// Objects that are for cert-manager: the API server does not know their kinds.
const FOREIGN: &str = "cert-manager.io/v1";

/// The arguments and variables for ports and folders, of which the lab has its own.
const PLACES: [&str; 4] = [
    "--port",
    "--health-probe-port",
    "--cert-dir",
    "HERALD_STATE_DIR",
];

pub(crate) const CONTROLLER: (User, &str) = (User::Controller, "controller");
pub(crate) const SPEAKER: (User, &str) = (User::Speaker, "speaker");

/// One that is installed.
pub(crate) struct Release {
    pub(crate) lab: Lab,
    /// What the chart made of the values.
    pub(crate) rendered: Rendered,
}

impl Release {
    /// Installs the chart on a lab of one node, whose processes have the chart's rights from then on
    /// instead of the lab's.
    pub(crate) async fn install(values: &str) -> Result<Self> {
        let lab = Lab::builder().nodes(1).proxy(ProxyMode::None).audited();
        let lab = lab.start().await?;
        let rendered = Helm::new()?.template_in(NAMESPACE, values)?;
        for object in &rendered.objects {
            if object["apiVersion"] != FOREIGN {
                lab.apply_yaml(&object.to_string()).await?;
            }
        }
        lab.take_rights().await?;
        for (user, account) in [CONTROLLER, SPEAKER] {
            granted::in_force(&lab, user, &granted::rights(&rendered, account)).await?;
        }
        Ok(Self { lab, rendered })
    }

    /// The controller, to be started as the chart has it.
    pub(crate) fn controller(&self) -> Result<HeraldBuilder<'_>> {
        let container = self.container("Deployment", "herald-controller")?;
        Ok(with_arguments(
            self.lab.controller("controller")?,
            container,
        ))
    }

    /// The speaker, to be started as the chart has it.
    pub(crate) fn speaker(&self) -> Result<HeraldBuilder<'_>> {
        let container = self.container("DaemonSet", "herald-speaker")?;
        let mut speaker = self.lab.speaker("n1")?;
        let group = |variable: &Value| variable["name"] == "METALLB_ML_BIND_ADDR";
        if !list(&container["env"]).any(group) {
            speaker = speaker.without("--ml-bindaddr");
        }
        Ok(with_arguments(speaker, container))
    }

    fn container(&self, kind: &str, name: &str) -> Result<&Value> {
        let pod = &self.rendered.object(kind, name)?["spec"]["template"]["spec"];
        pod["containers"].get(0).context("no container")
    }

    /// Ends these processes: nothing was denied to their accounts, and all of their rights were used.
    pub(crate) async fn check(&self, processes: &[(&Herald, (User, &str))]) -> Result<()> {
        for (process, _) in processes {
            process.stop().await?;
            let log = process.log();
            let line = log.lines().find(|line| line.contains("forbidden"));
            ensure!(line.is_none(), "{}: {line:?}", process.name());
        }
        for (_, (user, account)) in processes {
            let rights = granted::rights(&self.rendered, account);
            granted::check(*user, &rights, &self.lab.requests(*user)?)?;
        }
        Ok(())
    }
}

fn with_arguments<'a>(mut builder: HeraldBuilder<'a>, container: &Value) -> HeraldBuilder<'a> {
    // The first is which of the two it is.
    for argument in list(&container["args"]).skip(1).filter_map(Value::as_str) {
        let flag = argument.split_once('=').map_or(argument, |(flag, _)| flag);
        if !PLACES.contains(&flag) {
            builder = builder.arg(argument);
        }
    }
    for variable in list(&container["env"]) {
        if let (Some(name), Some(value)) = (variable["name"].as_str(), variable["value"].as_str())
            && !PLACES.contains(&name)
        {
            builder = builder.env(name, value);
        }
    }
    builder
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
