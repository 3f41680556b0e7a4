//! A real API server on loopback, and controllers as processes of their own.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

/// The namespace that the controllers run in.
pub(crate) const NAMESPACE: &str = "herald-system";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    controller: herald_controller::ControllerArgs,
}

/// Runs a controller if this process was started to be one.
pub(crate) async fn be_controller() {
    if std::env::var_os("HERALD_TEST_CONTROLLER").is_none() {
        return;
    }
    herald_runtime::install_crypto_provider();
    let args = Cli::parse_from(["controller"]).controller;
    let log = herald_runtime::logging::init(args.common.log_level, args.common.log_format);
    let ended = herald_controller::run(args, &log).await;
    ended.expect("an orderly end");
}

/// etcd and kube-apiserver; ended and removed on drop.
pub(crate) struct ControlPlane {
    pub(crate) client: Client,
    directory: tempfile::TempDir,
    processes: Vec<Process>,
}

/// A child that does not outlive the test.
pub(crate) struct Process(Child);

impl Process {
    fn spawn(command: &mut Command, log: &Path) -> Self {
        let out = File::create(log).expect("log file");
        let err = out.try_clone().expect("log file");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        Self(child.expect("the program starts"))
    }

    /// Resident memory in KiB.
    #[allow(dead_code, reason = "each test program uses its part of this")]
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that was resident at any time, in KiB.
    #[allow(dead_code, reason = "each test program uses its part of this")]
    pub(crate) fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .expect("a number of KiB")
    }

    /// Sends SIGTERM and waits for the end.
    #[allow(dead_code, reason = "each test program uses its part of this")]
    pub(crate) fn terminate(mut self) {
        let pid = self.0.id().to_string();
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs");
        assert!(self.0.wait().expect("a child").success(), "an orderly end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn kubernetes() -> PathBuf {
    let given = std::env::var_os("HERALD_KUBERNETES").map(PathBuf::from);
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    given.unwrap_or_else(|| home.join(".cache/herald/kubernetes"))
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

impl ControlPlane {
    /// Starts both, installs the CRDs and makes the namespace.
    pub(crate) async fn start() -> Self {
        herald_runtime::install_crypto_provider();
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let (etcd_port, peer_port, port) = (free_port(), free_port(), free_port());
        let key = rcgen::KeyPair::generate().expect("a key");
        std::fs::write(at("sa.key"), key.serialize_pem()).expect("written");
        std::fs::write(at("sa.pub"), key.public_key_pem()).expect("written");
        let tokens = "token,admin,admin,system:masters\nseeder,seeder,seeder,system:masters\n";
        std::fs::write(at("tokens.csv"), tokens).expect("written");

        let etcd_url = format!("http://127.0.0.1:{etcd_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let mut etcd = Command::new(kubernetes());
        etcd.arg("etcd")
            .arg("--unsafe-no-fsync")
            .arg("--data-dir")
            .arg(at("etcd"));
        etcd.args([
            "--listen-client-urls",
            &etcd_url,
            "--advertise-client-urls",
            &etcd_url,
        ]);
        etcd.args([
            "--listen-peer-urls",
            &peer_url,
            "--initial-advertise-peer-urls",
            &peer_url,
        ]);
        etcd.args(["--initial-cluster", &format!("default={peer_url}")]);

        let mut server = Command::new(kubernetes());
        server.args(["kube-apiserver", "--etcd-servers", &etcd_url, "--cert-dir"]);
        server
            .arg(at("certs"))
            .arg("--token-auth-file")
            .arg(at("tokens.csv"));
        server.arg("--service-account-key-file").arg(at("sa.pub"));
        server
            .arg("--service-account-signing-key-file")
            .arg(at("sa.key"));
        server.arg("--service-account-issuer=https://kubernetes.default.svc");
        server.arg("--authorization-mode=Node,RBAC");
        server.arg("--service-cluster-ip-range=10.96.0.0/16,fd96::/112");
        server.args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"]);
        server.arg(format!("--secure-port={port}"));

        let processes = vec![
            Process::spawn(&mut etcd, &at("etcd.log")),
            Process::spawn(&mut server, &at("server.log")),
        ];
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {
                "server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true}}],
            "users": [{"name": "lab", "user": {"token": "token"}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        });
        std::fs::write(at("kubeconfig"), kubeconfig.to_string()).expect("written");
        let file = Kubeconfig::read_from(at("kubeconfig")).expect("a kubeconfig");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options)
            .await
            .expect("a config");
        let client = Client::try_from(config).expect("a client");
        let plane = Self {
            client,
            directory,
            processes,
        };
        plane.prepare().await;
        plane
    }

    async fn prepare(&self) {
        let ready = http_request("/readyz");
        eventually(
            "the API server is ready",
            Duration::from_mins(1),
            async || {
                self.client
                    .request_text(ready.clone())
                    .await
                    .is_ok_and(|text| text == "ok")
            },
        )
        .await;
        let crds = Api::<CustomResourceDefinition>::all(self.client.clone());
        for crd in herald_api::crd::all() {
            crds.create(&PostParams::default(), &crd)
                .await
                .expect("a valid CRD");
        }
        self.create(
            "/api/v1/namespaces",
            &json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        )
        .await;
        let pools = http_request(&format!(
            "/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/ipaddresspools"
        ));
        eventually(
            "the pools are served",
            Duration::from_secs(30),
            async || self.client.request_text(pools.clone()).await.is_ok(),
        )
        .await;
    }

    /// POSTs an object.
    pub(crate) async fn create(&self, path: &str, object: &serde_json::Value) {
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())
            .expect("a request");
        self.client.request_text(request).await.expect("created");
    }

    /// Starts a controller called `name`, without webhooks.
    #[allow(dead_code, reason = "each test program uses its part of this")]
    pub(crate) fn controller(&self, name: &str) -> Process {
        self.controller_with(name, &[("HERALD_WEBHOOK_MODE", "disabled")])
    }

    /// Starts a controller called `name` with these flags, by their variables.
    pub(crate) fn controller_with(&self, name: &str, flags: &[(&str, &str)]) -> Process {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(["controller_process", "--exact", "--ignored", "--nocapture"]);
        command.env("HERALD_TEST_CONTROLLER", "1");
        command.env("KUBECONFIG", self.directory.path().join("kubeconfig"));
        command
            .env("METALLB_NAMESPACE", NAMESPACE)
            .env("METALLB_POD_NAME", name);
        command
            .env("HERALD_PORT", "0")
            .env("HERALD_HEALTH_PROBE_PORT", "0");
        command.envs(flags.iter().copied());
        let log = self.directory.path().join(format!("{name}.log"));
        Process::spawn(&mut command, &log)
    }

    /// A client of the user of this token.
    #[allow(dead_code, reason = "each test program uses its part of this")]
    pub(crate) async fn client_of(&self, token: &str) -> Client {
        let file = Kubeconfig::read_from(self.directory.path().join("kubeconfig"));
        let mut file = file.expect("a kubeconfig");
        for user in &mut file.auth_infos {
            if let Some(info) = &mut user.auth_info {
                info.token = Some(token.to_owned().into());
            }
        }
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options).await;
        Client::try_from(config.expect("a config")).expect("a client")
    }

    /// What the controller called `name` has logged.
    pub(crate) fn log(&self, name: &str) -> String {
        let log = self.directory.path().join(format!("{name}.log"));
        std::fs::read_to_string(log).unwrap_or_default()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // The API server first: without etcd it would not end quietly.
        while let Some(process) = self.processes.pop() {
            drop(process);
        }
        if std::thread::panicking() {
            for name in ["one", "two"] {
                eprintln!("--- log of {name}\n{}", self.log(name));
            }
        }
    }
}

fn http_request(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path)
        .body(Vec::new())
        .expect("a request")
}

/// Waits until `condition` holds; fails the test after `limit`. Returns how long it took.
pub(crate) async fn eventually(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    loop {
        if condition().await {
            return start.elapsed();
        }
        assert!(start.elapsed() < limit, "after {limit:?} still not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
