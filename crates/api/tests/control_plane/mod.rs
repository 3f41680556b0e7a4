//! An etcd and a kube-apiserver on loopback, for one test, without root.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, io};

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tempfile::TempDir;

const TOKEN: &str = "the-token-of-the-test";
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs until it is dropped, or the thread that started it ends.
pub(crate) struct ControlPlane {
    processes: Vec<Child>,
    client: Client,
    // Removed last.
    folder: TempDir,
}

impl ControlPlane {
    /// Starts both and waits until the API is ready.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (etcd, peer, api) = (free_port(), free_port(), free_port());
        let mut processes = vec![run(
            folder.path(),
            "etcd",
            &etcd_arguments(folder.path(), etcd, peer),
        )];
        write_keys(folder.path()).expect("writable folder");
        let arguments = api_server_arguments(folder.path(), etcd, api);
        processes.push(run(folder.path(), "kube-apiserver", &arguments));
        let mut plane = Self {
            processes,
            client: client(api).await,
            folder,
        };
        plane.wait_until_ready().await;
        plane
    }

    /// A client with all rights.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    async fn wait_until_ready(&mut self) {
        let start = Instant::now();
        loop {
            let request = http::Request::get("/readyz")
                .body(Vec::new())
                .expect("valid");
            let answer = self.client.request_text(request).await;
            if answer.is_ok() {
                return;
            }
            let mut processes = self.processes.iter_mut();
            let exited = processes.any(|process| !matches!(process.try_wait(), Ok(None)));
            assert!(
                !exited && start.elapsed() < PATIENCE,
                "the API server did not get ready: {answer:?}\n{}",
                self.logs()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn logs(&self) -> String {
        ["etcd", "kube-apiserver"]
            .map(|name| {
                let log = self.folder.path().join(format!("{name}.log"));
                let text = fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                let last = &lines[lines.len().saturating_sub(15)..];
                format!("{name}:\n{}", last.join("\n"))
            })
            .join("\n")
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The binary that plays every role: `HERALD_KUBERNETES`, or where `make kubernetes` leaves it.
fn binary() -> PathBuf {
    if let Some(path) = env::var_os("HERALD_KUBERNETES") {
        return path.into();
    }
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(
        || Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cache"),
        PathBuf::from,
    );
    cache.join("herald/kubernetes")
}

/// Starts a role. `setpriv` has the kernel end it if the test is killed and cannot.
fn run(folder: &Path, role: &str, arguments: &[String]) -> Child {
    let log = File::create(folder.join(format!("{role}.log"))).expect("writable folder");
    let kubernetes = binary();
    assert!(
        kubernetes.exists(),
        "{} is missing: run `make kubernetes`",
        kubernetes.display()
    );
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(kubernetes)
        .arg(role)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file can be shared"))
        .stderr(log)
        .spawn()
        .expect("setpriv of util-linux is installed")
}

fn etcd_arguments(folder: &Path, port: u16, peer: u16) -> Vec<String> {
    let (client, peer) = (local(port), local(peer));
    vec![
        "--unsafe-no-fsync".to_owned(),
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ]
}

fn api_server_arguments(folder: &Path, etcd: u16, port: u16) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    vec![
        format!("--etcd-servers={}", local(etcd)),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--cert-dir={}", path("certificates")),
        format!("--token-auth-file={}", path("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        format!("--service-account-signing-key-file={}", path("key.pem")),
        format!("--service-account-key-file={}", path("public.pem")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
    ]
}

fn write_keys(folder: &Path) -> io::Result<()> {
    let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
    fs::write(folder.join("key.pem"), key.serialize_pem())?;
    fs::write(folder.join("public.pem"), key.public_key_pem())?;
    let line = format!("{TOKEN},admin,admin,system:masters\n");
    fs::write(folder.join("tokens.csv"), line)
}

async fn client(port: u16) -> Client {
    // Somebody else may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let named = |key: &str, value: serde_json::Value| json!([{ "name": "test", key: value }]);
    let server = format!("https://127.0.0.1:{port}");
    let cluster = json!({ "server": server, "insecure-skip-tls-verify": true });
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "clusters": named("cluster", cluster),
        "users": named("user", json!({ "token": TOKEN })),
        "contexts": named("context", json!({ "cluster": "test", "user": "test" })),
        "current-context": "test",
    }))
    .expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a usable kubeconfig");
    Client::try_from(config).expect("a client")
}

fn local(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket").port()
}
