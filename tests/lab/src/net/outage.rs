//! Nodes that are gone for all others, and parts that lose what they send each other.

use anyhow::Result;
use tokio::task::spawn_blocking;

use super::build::netns_of;
use super::command::run;
use super::fault::{Drop as PacketDrop, Packets};
use super::link::Fault;
use crate::lab::Lab;
use crate::process::Process;

/// A node without power: nothing of it runs, nothing reaches it. [`Lab::boot`] ends it.
#[derive(Debug)]
#[must_use = "only boot() starts the node's processes again"]
pub struct Crash {
    fault: Fault,
    processes: Vec<Process>,
}

impl Lab {
    /// Silences every link of a part at once: all others see what they see of a machine without
    /// power. Its processes go on alone, as on a machine behind a dead switch.
    pub async fn power_off(&self, part: &str) -> Result<Fault> {
        let ports = self.ports(part).await?;
        let drops = ports.into_iter().flat_map(|port| {
            [
                PacketDrop::all(Some(port.clone()), None),
                PacketDrop::all(None, Some(port)),
            ]
        });
        self.add_drops(drops).await
    }

    /// [`Self::power_off`], and every process that the lab runs on the part dies.
    pub async fn crash(&self, part: &str) -> Result<Crash> {
        let fault = self.power_off(part).await?;
        let netns = self.netns(part);
        let running: Vec<Process> = self
            .shared
            .processes()
            .values()
            .filter(|process| *process.netns() == netns && process.is_running())
            .cloned()
            .collect();
        for process in &running {
            process.kill().await?;
        }
        Ok(Crash {
            fault,
            processes: running,
        })
    }

    /// Gives a crashed part its power back: the links first, then the processes that it had.
    pub async fn boot(&self, crash: Crash) -> Result<()> {
        self.restore(crash.fault).await?;
        for process in crash.processes {
            process.restart().await?;
        }
        Ok(())
    }

    /// Loses so many in a hundred (by chance) of these packets from each of some parts to each of
    /// others, on all their interfaces. The other direction stays.
    pub async fn lose(
        &self,
        from: &[&str],
        to: &[&str],
        packets: Packets,
        percent: u8,
    ) -> Result<Fault> {
        let drops = self.losses(from, to, packets, percent).await?;
        self.add_drops(drops).await
    }

    /// [`Self::lose`] in both directions.
    pub async fn lose_between(
        &self,
        some: &[&str],
        others: &[&str],
        packets: Packets,
        percent: u8,
    ) -> Result<Fault> {
        let mut drops = self.losses(some, others, packets, percent).await?;
        drops.extend(self.losses(others, some, packets, percent).await?);
        self.add_drops(drops).await
    }

    async fn losses(
        &self,
        from: &[&str],
        to: &[&str],
        packets: Packets,
        percent: u8,
    ) -> Result<Vec<PacketDrop>> {
        let mut drops = Vec::new();
        for source in from {
            for target in to {
                let targets = self.ports(target).await?;
                for source in self.ports(source).await? {
                    // Ports of different bridges never meet; such a rule matches nothing.
                    drops.extend(targets.iter().map(|target| PacketDrop {
                        packets,
                        percent,
                        ..PacketDrop::all(Some(source.clone()), Some(target.clone()))
                    }));
                }
            }
        }
        Ok(drops)
    }

    /// The ports in `sw` of all interfaces of a part.
    async fn ports(&self, part: &str) -> Result<Vec<String>> {
        let sw = netns_of(self.id(), "sw");
        let prefix = format!("{part}-");
        spawn_blocking(move || {
            let listed = run("ip", &["-n", sw.name(), "-brief", "link", "show"])?;
            let ports: Vec<String> = listed
                .lines()
                .filter_map(|line| line.split(['@', ' ']).next())
                .filter(|name| name.starts_with(&prefix))
                .map(String::from)
                .collect();
            anyhow::ensure!(!ports.is_empty(), "nothing named {prefix}* is plugged in");
            Ok(ports)
        })
        .await?
    }
}
