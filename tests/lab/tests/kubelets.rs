//! Nodes with kubelets: pods are real, and all of them are gone when the lab is.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_lab::{Lab, LabState, POD_IMAGE, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::sync::Mutex;

/// Nodes with kubelets need much memory.
static ONE_LAB: Mutex<()> = Mutex::const_new(());

/// For what takes seconds, on a machine that has more to do.
const PATIENCE: Duration = Duration::from_mins(2);

/// One pod on each of the nodes, behind a node port of each.
fn web() -> String {
    let labels = json!({"app": "web"});
    let field = |name, path| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{
                "name": "web", "image": POD_IMAGE, "args": ["serve"],
                "env": [field("POD_NAME", "metadata.name"), field("NODE_NAME", "spec.nodeName")],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
            }]},
        }},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {
            "type": "NodePort", "selector": labels,
            "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"],
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}],
        },
    });
    format!("{set}\n---\n{service}\n")
}

/// Cgroups and namespaces of a lab, and processes that have something of its folder mounted: whatever
/// runs on a node, or in a pod.
fn left(lab: &str) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let folder = format!("herald-lab-{lab}");
    for entry in fs::read_dir("/sys/fs/cgroup")? {
        let path = entry?.path().join(&folder);
        left.extend(path.exists().then(|| path.display().to_string()));
    }
    let namespaces = Command::new("ip").args(["netns", "list"]).output()?.stdout;
    let namespaces = String::from_utf8(namespaces)?;
    let prefix = format!("hl-{lab}-");
    let namespaces = namespaces.lines().filter(|line| line.starts_with(&prefix));
    left.extend(namespaces.map(str::to_owned));
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // What is no process has none, and one that has ended meanwhile neither.
        let mounts = fs::read_to_string(path.join("mountinfo")).unwrap_or_default();
        let command = fs::read_to_string(path.join("comm")).unwrap_or_default();
        left.extend(mounts.contains(&folder).then_some(command));
    }
    Ok(left)
}

#[tokio::test]
#[ignore = "needs root and containerd: run by make test"]
async fn pods_of_three_kubelets_answer_and_leave_nothing() -> Result<()> {
    let _one = ONE_LAB.lock().await;
    let lab = Lab::builder().kubelets([]).start().await?;
    lab.apply_yaml(&web()).await?;
    let pods: Api<Pod> = Api::namespaced(lab.client(), "default");
    let of_web = ListParams::default().labels("app=web");
    let ready = eventually(PATIENCE, "three pods to be ready", async || {
        let pods = pods.list(&of_web).await?.items;
        let ready = |pod: &&Pod| {
            let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        ensure!(pods.iter().filter(ready).count() == 3, "{}", pods.len());
        Ok(Some(pods))
    });
    let ready = ready.await?;
    // In both families each node leads to pods, of the others too.
    let mut nodes = std::collections::BTreeSet::new();
    eventually(PATIENCE, "answers of all nodes", async || {
        for address in lab.nodes().iter().flat_map(|node| node.lan.both()) {
            let answer = lab.ask("client", address, 30080).await?;
            nodes.insert(answer.node);
        }
        Ok((nodes.len() == 3).then_some(()))
    })
    .await?;
    // The API server reaches the kubelets.
    let name = ready[0].metadata.name.as_deref().context("no name")?;
    pods.logs(name, &LogParams::default()).await?;

    let id = lab.id().to_owned();
    let seen = left(&id)?;
    let of_pods = seen.iter().filter(|what| what.starts_with("herald-pod"));
    ensure!(of_pods.count() >= 6, "not all is seen: {seen:?}");
    lab.down().await?;
    assert_eq!(left(&id)?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and containerd: run by make test"]
async fn a_lab_whose_owner_was_killed_is_swept_with_its_pods() -> Result<()> {
    let _one = ONE_LAB.lock().await;
    let name = format!("test-kubelets-{}", std::process::id());
    let program = env!("CARGO_BIN_EXE_herald-lab");
    let up = Command::new(program)
        .args(["up", "--nodes", "1", "--kubelets", "--name", &name])
        .output()?;
    ensure!(
        up.status.success(),
        "{}",
        String::from_utf8_lossy(&up.stderr)
    );
    let state = LabState::all()
        .into_iter()
        .find(|lab| lab.name.as_deref() == Some(&name))
        .context("the state is written down")?;
    kubectl(
        program,
        &name,
        &["create", "deployment", "web", "--image", POD_IMAGE],
    )?;
    let roll = ["rollout", "status", "deployment", "web", "--timeout=120s"];
    kubectl(program, &name, &roll)?;
    ensure!(!left(&state.id)?.is_empty(), "nothing is seen of it");

    kill(Pid::from_raw(state.pid.cast_signed()), Signal::SIGKILL)?;
    let dead = async || Ok((!state.is_alive()).then_some(()));
    eventually(PATIENCE, "the owner to be dead", dead).await?;
    herald_lab::sweep();
    assert_eq!(left(&state.id)?, Vec::<String>::new());
    fs::remove_dir_all(&state.dir)?;
    Ok(())
}

fn kubectl(program: &str, lab: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(["kubectl", "--lab", lab])
        .args(arguments)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {arguments:?}: {said}");
    Ok(())
}
