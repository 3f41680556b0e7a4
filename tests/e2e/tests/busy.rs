//! A network that loses a little, and cores that others want. A file of its own: what it does to the
//! cores would be done to tests beside it.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use herald_e2e::failover::{Cluster, OWNER, one_answer};
use herald_lab::{Lab, Packets};

const SECOND: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(200);

/// Whether the kernel runs a thread before all that are not real-time (`SCHED_RR`, see `proc_pid_stat(5)`).
fn is_real_time(pid: u32, thread: &str) -> Result<bool> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("stat"))?;
        let (name, rest) = stat.rsplit_once(')').context("no name")?;
        if name.ends_with(&format!("({thread}")) {
            // The name is the second field, the policy the 41st.
            return Ok(rest.split_whitespace().nth(38) == Some("2"));
        }
    }
    bail!("process {pid} has no thread {thread}")
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_lossy_network_and_busy_cores_move_nothing() -> Result<()> {
    let cluster = Cluster::start(Lab::builder()).await?;
    let lab = &cluster.lab;
    let owner = cluster.mac(OWNER)?;
    let (all, others) = (["n1", "n2", "n3"], ["n2", "n3"]);
    for (what, from, to, percent) in [
        ("three in a hundred lost", &all[..], &all[..], 3),
        ("the owner unheard now and then", &[OWNER], &others, 10),
        ("the owner deaf now and then", &others, &[OWNER], 10),
    ] {
        let fault = lab.lose(from, to, Packets::Gossip, percent).await?;
        let watches = cluster.watch(LOOK)?;
        let start = Instant::now();
        tokio::time::sleep(SECOND * 6).await;
        let macs = one_answer(watches, start, what).await?;
        assert_eq!(macs, BTreeSet::from([owner]), "{what}");
        lab.restore(fault).await?;
    }

    let speaker = lab.process(&format!("speaker-{OWNER}"));
    let speaker = speaker.context("no speaker on the owner's node")?;
    for thread in ["group", "bfd", "layer 2"] {
        ensure!(is_real_time(speaker.pid(), thread)?, "{thread} is not");
    }
    let cores = std::thread::available_parallelism()?.get();
    let watches = cluster.watch(LOOK)?;
    let busy = lab.busy_cores(cores)?;
    tokio::time::sleep(SECOND * 15).await;
    for process in busy {
        process.kill().await?;
    }
    for watch in watches {
        let looks = watch.stop().await?;
        // An answer may be late: the question before has it then. Nobody else may answer.
        let strange = looks
            .iter()
            .find(|look| look.macs.iter().any(|mac| *mac != owner));
        ensure!(strange.is_none(), "busy cores: {strange:?}");
        let silent = looks.iter().filter(|look| look.macs.is_empty()).count();
        ensure!(
            silent * 4 < looks.len(),
            "{silent} of {} unanswered",
            looks.len()
        );
    }
    cluster.steady(OWNER).await?;
    cluster.down().await
}
