//! The two that are measured, and how each is started on a lab.

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use herald_e2e::metallb;
use herald_lab::{Lab, LabBuilder, Process, ProxyMode};
use serde::{Deserialize, Serialize};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Contestant {
    /// This project.
    Herald,
    /// MetalLB.
    #[value(name = "metallb")]
    Peer,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Herald => "Herald",
            Self::Peer => "MetalLB",
        })
    }
}

impl Contestant {
    /// A fresh lab with the contestant's CRDs. One node and no kube-proxy: what else runs there
    /// would take part of the few cores from what is measured.
    pub(crate) async fn lab(self) -> Result<Lab> {
        let builder = Lab::builder().nodes(1).proxy(ProxyMode::None);
        self.start(builder).await
    }

    /// A fresh lab of three nodes that forward traffic, with the contestant's CRDs. Its speakers
    /// find each other on the LAN if there is one network, apart from it otherwise.
    pub(crate) async fn cluster(self, one_network: bool) -> Result<Lab> {
        let builder = Lab::builder().nodes(3);
        let builder = if one_network {
            builder.one_network()
        } else {
            builder
        };
        self.start(builder).await
    }

    async fn start(self, builder: LabBuilder) -> Result<Lab> {
        let builder = builder.name(format!("bench {self}"));
        match self {
            Self::Herald => builder.start().await,
            Self::Peer => {
                let lab = builder.without_crds().start().await?;
                lab.apply_crds(&metallb::dir()?.join("crds")).await?;
                Ok(lab)
            }
        }
    }

    /// Starts a controller; returns as soon as the process exists.
    pub(crate) async fn controller(self, lab: &Lab) -> Result<Process> {
        if self == Self::Herald {
            let herald = lab.controller("controller")?.start().await?;
            return Ok(herald.process().clone());
        }
        metallb::controller(lab).await
    }

    /// Starts the speaker of a node; returns as soon as the process exists.
    pub(crate) async fn speaker_on(self, lab: &Lab, node: &str) -> Result<Process> {
        if self == Self::Herald {
            let herald = lab.speaker(node)?.start().await?;
            return Ok(herald.process().clone());
        }
        metallb::speaker(lab, node).await
    }
}
