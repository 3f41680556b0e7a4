//! The controller's process: tasks and the loop that joins them.

mod config;
mod counters;
mod describe;
mod reads;
mod waiting;

use std::time::Duration;

use herald_api::kinds::IPAddressPoolStatus;
use herald_api::report::Findings;
use herald_api::slim::Service;
use herald_model::ServiceKey;
use herald_runtime::backoff::Backoff;
use herald_runtime::debug::{self, Questions};
use herald_runtime::events::{self, Recorder};
use herald_runtime::health::{self, Block, Readiness};
use herald_runtime::lease::{Candidate, Leadership, Timing};
use herald_runtime::logging::Log;
use herald_runtime::owner::Deployment;
use herald_runtime::supervise::{Supervisor, TaskResult, next_batch};
use herald_runtime::watch::{Event, ObjectName};
use herald_runtime::writes::ApiWrites;
use herald_runtime::{client, metrics as metrics_server};
use jiff::Timestamp;
use kube::Client;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::args::{ControllerArgs, WebhookMode};
use crate::configuration;
use crate::core::{Core, Follow, Written};
use crate::fresh::{self, Fresh};
use crate::metrics::Metrics;
use crate::peers::PeerStatuses;
use crate::pools::Pools;
use crate::request;
use crate::retries::{FIRST_RETRY, MAX_RETRY, Retries, Retry, pause_after};
use crate::secret::MembershipSecret;
use crate::sources::{self, Input};
use crate::webhook::{self, WebhookMetrics};
use crate::write::{self, Verdict};

use counters::Counters;
use reads::Reads;
use waiting::Waiting;

/// Events waiting for the loop; watches pause when it is full.
const INPUTS: usize = 1024;
/// Inputs count at once before deciding.
const BATCH: usize = 512;
/// How long writes under way may take at the end.
const LAST_WRITES: Duration = Duration::from_secs(4);
/// Pause after the first few times that another controller undid a write; it grows by as much.
const UNDONE_PAUSE: Duration = Duration::from_secs(1);
const COMPONENT: &str = "metallb-controller";
const LEASE: &str = "herald-controller";
/// Of replicas that only serve webhooks: one that allocates nothing must not keep others from it.
const WEBHOOK_LEASE: &str = "herald-webhook";

/// Runs the controller until SIGTERM or SIGINT. `log` is what its lines go into.
#[expect(clippy::too_many_lines, reason = "one list: what is connected to what")]
pub async fn run(args: ControllerArgs, log: &Log) -> anyhow::Result<()> {
    for flag in args.inactive() {
        flag.warn();
    }
    let namespace = client::namespace(&args.common)?;
    let mut registry = Registry::default();
    let writes = ApiWrites::register(&mut registry);
    let kube = client::connect(&args.common, &writes).await?;
    tracing::info!(
        event = "start",
        version = env!("CARGO_PKG_VERSION"),
        namespace,
        "controller starts"
    );

    let mut supervisor = Supervisor::new();
    let token = supervisor.token();
    log.register(&mut registry);
    let metrics = Metrics::register(&mut registry);
    let (recorder, sender) = events::recorder(
        kube.clone(),
        COMPONENT,
        &args.common.identity(),
        &mut registry,
    );
    let readiness = Readiness::new();

    let (asker, questions) = debug::channel();
    supervisor.spawn(
        "debug",
        debug::serve(args.common.debug_bind_address, asker, token.clone()),
    );
    supervisor.spawn("events", sender.run(token.clone()));
    // The owner of what is to go with Herald.
    let deployment = Deployment::named(&kube, &namespace, args.deployment.as_deref());
    let deployment = deployment.as_ref();
    let (leadership, lease_end) = elect(&args, (&kube, &namespace), deployment, &mut supervisor);
    if args.webhook_mode != WebhookMode::Disabled {
        webhook::start(
            &args,
            (&kube, &namespace),
            &leadership,
            &readiness,
            WebhookMetrics::register(&mut registry),
            &mut supervisor,
        )
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    if args.webhook_mode == WebhookMode::Onlywebhook {
        let end = token.clone();
        supervisor.spawn("lease end", async move {
            end.cancelled().await;
            lease_end.cancel();
            Ok(())
        });
    } else {
        if let Some(secret) = membership_secret(&args, (&kube, &namespace), deployment) {
            supervisor.spawn("secret", secret.run(leadership.clone(), token.clone()));
        }
        let peers = PeerStatuses::new(&kube, &namespace, &mut supervisor);
        supervisor.spawn(
            "peer statuses",
            peers.run(leadership.clone(), token.clone()),
        );
        let findings = configuration::start(
            (&kube, &namespace),
            args.common.identity(),
            leadership.clone(),
            &mut supervisor,
        );
        let (inputs, receiver) = mpsc::channel(INPUTS);
        sources::watch(&kube, &namespace, &inputs, &mut supervisor);
        let control = Loop {
            client: kube.clone(),
            namespace,
            writes_at_once: usize::from(args.status_writes),
            class: args.common.lb_class.clone(),
            core: Core::new(args.common.lb_class.clone()),
            waiting: Waiting::default(),
            pools: Pools::new(),
            findings,
            metrics,
            recorder,
            leadership,
            tasks: JoinSet::new(),
            writing: 0,
            reads: Reads::new(),
            counters: Counters::default(),
            retries: Retries::default(),
            synced: Synced::new(&readiness),
            listing: false,
            questions,
            list_backoff: Backoff::new(FIRST_RETRY, MAX_RETRY),
        };
        supervisor.spawn("control", control.run(receiver, token.clone(), lease_end));
    }
    let port = args.common.health_probe_port;
    supervisor.spawn(
        "health",
        health::serve(health::ALL_ADDRESSES, port, readiness, token.clone()),
    );
    supervisor.spawn(
        "metrics",
        metrics_server::serve(args.common, kube, registry, token),
    );
    Ok(supervisor.run().await?)
}

/// Starts the election. The Lease is given back when the returned token is cancelled, after the
/// last write.
fn elect(
    args: &ControllerArgs,
    (kube, namespace): (&Client, &str),
    deployment: Option<&Deployment>,
    supervisor: &mut Supervisor,
) -> (Leadership, CancellationToken) {
    let end = CancellationToken::new();
    if !args.leader_elect {
        return (Leadership::always(), end);
    }
    let (candidate, leadership) = Candidate::new(
        kube.clone(),
        namespace,
        if args.webhook_mode == WebhookMode::Onlywebhook {
            WEBHOOK_LEASE
        } else {
            LEASE
        },
        &args.common.identity(),
        Timing::default(),
    );
    let candidate = candidate.owned_by(deployment.cloned());
    supervisor.spawn("lease", candidate.run(end.clone()));
    (leadership, end)
}

/// The Secret to look after, if the flags name one.
fn membership_secret(
    args: &ControllerArgs,
    (kube, namespace): (&Client, &str),
    deployment: Option<&Deployment>,
) -> Option<MembershipSecret> {
    let name = args
        .ml_secret_name
        .clone()
        .filter(|name| !name.is_empty())?;
    Some(MembershipSecret {
        client: kube.clone(),
        namespace: namespace.to_owned(),
        name,
        deployment: deployment.cloned(),
    })
}

/// Which stores have their first full set; each holds readiness back until then.
struct Synced {
    services: Option<Block>,
    pools: Option<Block>,
    namespaces: Option<Block>,
}

impl Synced {
    fn new(readiness: &Readiness) -> Self {
        Self {
            services: Some(readiness.block("services")),
            pools: Some(readiness.block("ipaddresspools")),
            namespaces: Some(readiness.block("namespaces")),
        }
    }

    fn all(&self) -> bool {
        self.services.is_none() && self.pools.is_none() && self.namespaces.is_none()
    }
}

/// What a task of the loop brought.
enum Done {
    Written(ServiceKey, Written, Verdict),
    /// With the uid that was known when the read began.
    Read(ServiceKey, Option<String>, Result<Written, String>),
    Listed(kube::Result<Fresh>),
    /// Of this pool, and what is written if it succeeded.
    PoolStatus(String, Option<IPAddressPoolStatus>),
}

struct Loop {
    client: Client,
    namespace: String,
    writes_at_once: usize,
    class: String,
    core: Core,
    waiting: Waiting,
    pools: Pools,
    /// What is wrong with the configuration, for the status; `None` as long as there is none.
    findings: watch::Sender<Option<Findings>>,
    metrics: Metrics,
    recorder: Recorder,
    leadership: Leadership,
    tasks: JoinSet<Done>,
    writing: usize,
    reads: Reads,
    counters: Counters,
    retries: Retries,
    synced: Synced,
    listing: bool,
    questions: Questions,
    list_backoff: Backoff,
}

impl Loop {
    async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        token: CancellationToken,
        lease_end: CancellationToken,
    ) -> TaskResult {
        // However this ends, the Lease is given back after it.
        let _lease_end = lease_end.drop_guard();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let wake = self.next_wake();
            tokio::select! {
                () = token.cancelled() => break,
                leads = self.leadership.changed() => self.lead(leads),
                Some(done) = self.tasks.join_next() => self.done(done?),
                more = next_batch(&mut inputs, &mut batch, BATCH, &token) => {
                    if !more? {
                        break;
                    }
                    self.handle_all(batch.drain(..));
                }
                Some(answer) = self.questions.next() => {
                    // Whoever asked may have gone.
                    let _ = answer.send(self.describe());
                }
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    self.wake();
                }
            }
            while let Some(done) = self.tasks.try_join_next() {
                self.done(done?);
            }
            self.begin_if_due();
            self.core.decide();
            self.start_writes();
            self.record_notes();
        }
        self.finish().await;
        Ok(())
    }

    /// Lets writes under way end, so that the next leader finds what we decided.
    async fn finish(&mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WRITES, all).await.is_err() {
            tracing::warn!(event = "shutdown", "status writes did not end in time");
        }
        self.tasks.shutdown().await;
    }

    fn lead(&mut self, leads: bool) {
        self.metrics.leader.set(i64::from(leads));
        if leads {
            return;
        }
        // What is under way must not reach the API after another has begun.
        self.tasks.abort_all();
        self.tasks = JoinSet::new();
        self.writing = 0;
        self.listing = false;
        self.reads.clear();
        self.counters.clear();
        self.retries.clear();
        self.core.stop();
    }

    fn begin_if_due(&mut self) {
        let due = self.leadership.is_leader()
            && self.synced.all()
            && !self.core.is_acting()
            && !self.listing;
        if due {
            self.metrics.leader.set(1);
            self.list();
        }
    }

    fn list(&mut self) {
        self.listing = true;
        let client = self.client.clone();
        self.tasks.spawn(async move {
            let listed = fresh::list(&client);
            match tokio::time::timeout(client::REQUEST_TIMEOUT * 3, listed).await {
                Ok(listed) => Done::Listed(listed),
                Err(elapsed) => Done::Listed(Err(kube::Error::Service(Box::new(elapsed)))),
            }
        });
    }

    fn handle_all(&mut self, inputs: impl Iterator<Item = Input>) {
        let mut config_changed = false;
        for input in inputs {
            self.metrics.client.updates.inc();
            match input {
                Input::Service(event) => self.handle_service(event),
                Input::Pool(event) => {
                    let restarted = matches!(event, Event::Restarted { .. });
                    config_changed |= self.pools.handle_pool(event);
                    if restarted {
                        self.synced.pools = None;
                    }
                }
                Input::Namespace(event) => {
                    let restarted = matches!(event, Event::Restarted { .. });
                    self.pools.handle_namespace(event);
                    if restarted {
                        self.synced.namespaces = None;
                    }
                    config_changed = true;
                }
            }
        }
        if config_changed && self.synced.pools.is_none() && self.synced.namespaces.is_none() {
            self.configure();
        }
        self.counters.changed();
    }

    fn handle_service(&mut self, event: Event<Service>) {
        match event {
            Event::Restarted { objects, malformed } => {
                for bad in &malformed {
                    self.malformed(&bad.name, &bad.error);
                }
                self.waiting
                    .retain(&objects.iter().filter_map(request::key).collect());
                for service in &objects {
                    self.follow_wait(service);
                }
                let mut missing = self.core.restarted(objects);
                missing.retain(|key| {
                    !malformed
                        .iter()
                        .any(|bad| service_key(&bad.name).as_ref() == Some(key))
                });
                self.synced.services = None;
                for key in missing {
                    self.read(key);
                }
            }
            Event::Applied(service) => {
                self.follow_wait(&service);
                self.core.apply(service);
            }
            // Gone, or not a load balancer any more.
            Event::Deleted(name) => {
                if let Some(key) = service_key(&name) {
                    self.waiting.gone(&key);
                    self.read(key);
                }
            }
            Event::Malformed(bad) => self.malformed(&bad.name, &bad.error),
        }
    }

    fn malformed(&self, name: &ObjectName, error: &str) {
        self.metrics.client.update_errors.inc();
        tracing::warn!(
            event = "malformedService",
            service = %name,
            error,
            "the service cannot be read: it keeps what it has until it is corrected"
        );
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Written(key, written, verdict) => {
                self.writing = self.writing.saturating_sub(1);
                if let Written::Now(service) = &written {
                    self.follow_wait(service);
                }
                match verdict {
                    Verdict::Done => self.metrics.writes.inc(),
                    Verdict::Conflict => self.metrics.write_conflicts.inc(),
                    Verdict::Failed => self.metrics.write_errors.inc(),
                };
                match self.core.written(&key, written) {
                    Follow::Nothing => {}
                    Follow::Read => self.read(key),
                    Follow::ReadLater(failures) => {
                        let pause = pause_after(failures);
                        self.retries.add(Instant::now(), pause, Retry::Read(key));
                    }
                }
            }
            Done::Read(key, uid, found) => self.read_ended(key, uid.as_deref(), found),
            Done::Listed(Ok(fresh)) => self.begin(fresh),
            Done::Listed(Err(error)) => {
                let pause = self.list_backoff.pause();
                tracing::warn!(event = "listFailed", %error, "cannot list services, retrying");
                self.retries.add(Instant::now(), pause, Retry::List);
            }
            Done::PoolStatus(pool, written) => {
                self.counters.written(&pool);
                if let Some(status) = written {
                    self.pools.status_written(&pool, status);
                    // The counters may have changed meanwhile.
                    self.counters.changed();
                } else {
                    self.retries.add(Instant::now(), MAX_RETRY, Retry::Counters);
                }
                return;
            }
        }
        self.counters.changed();
    }

    fn begin(&mut self, fresh: Fresh) {
        self.listing = false;
        self.list_backoff.reset();
        if self.leadership.is_leader() {
            tracing::info!(
                event = "begin",
                services = fresh.services.len(),
                "allocation begins"
            );
            self.core
                .begin(fresh.services, &fresh.malformed, &fresh.version);
            for (problem, subject) in self.pools.problems() {
                self.record_problem(problem, subject);
            }
        }
    }

    fn record_notes(&mut self) {
        for (subject, note) in self.core.take_notes() {
            tracing::info!(
                event = note.reason,
                namespace = subject.namespace,
                service = subject.name,
                "{}",
                note.message
            );
            self.recorder
                .record(subject, note.kind, note.reason, note.message);
        }
    }

    /// A process that was stopped for a while may have lost the Lease without having been told yet.
    fn may_write(&self) -> bool {
        self.core.is_acting() && self.leadership.is_leader()
    }

    fn start_writes(&mut self) {
        while self.may_write() && self.writing < self.writes_at_once {
            let Some(write) = self
                .core
                .next_write(Instant::now().into_std(), Timestamp::now())
            else {
                break;
            };
            self.writing += 1;
            let client = self.client.clone();
            self.tasks.spawn(async move {
                let (written, verdict) = write::service_status(&client, &write).await;
                Done::Written(write.service, written, verdict)
            });
        }
        for (key, pauses) in self.core.take_pauses() {
            let pause = UNDONE_PAUSE.saturating_mul(pauses).min(MAX_RETRY);
            self.retries.add(Instant::now(), pause, Retry::Resume(key));
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        [self.retries.next_due(), self.counters.due()]
            .into_iter()
            .flatten()
            .min()
    }

    fn wake(&mut self) {
        let now = Instant::now();
        while let Some(retry) = self.retries.take_due(now) {
            match retry {
                Retry::Resume(key) => self.core.resume(&key),
                Retry::Read(key) => self.read(key),
                Retry::List => self.list(),
                Retry::Counters => self.counters.changed(),
            }
        }
        if self.counters.take_due(now) {
            self.show_counters();
        }
    }
}

fn service_key(name: &ObjectName) -> Option<ServiceKey> {
    let namespace = name.namespace.as_deref()?;
    Some(ServiceKey::new(namespace, name.name.as_str()))
}
