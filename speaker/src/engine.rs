//! The loop: inputs into the world, the world into outcomes, outcomes to the drivers.
//!
//! Nothing is decided before every store is complete and the interfaces are known; after that a
//! broken watch changes nothing, so losing the API changes nothing on the wire.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use herald_api::config::{Configurator, Problem, Resources};
use herald_api::kinds::ConfigurationState;
use herald_api::slim;
use herald_model::{LanInterface, NodeName, ServiceKey};
use herald_runtime::events::{Kind, Recorder, Subject};
use herald_runtime::health::Block;
use herald_runtime::supervise::TaskResult;
use herald_runtime::watch::{Event, Malformed};
use kube::ResourceExt as _;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::announcing::{Announcing, Transition};
use crate::convert;
use crate::layer2::{Desired, names};
use crate::metrics::Metrics;
use crate::presence::speaker_node;
use crate::sources::{Input, KINDS};
use crate::status::StatusQueue;
use crate::world::{Outcome, PoolFacts, SliceKey, World};

/// How many inputs are taken in before outcomes are looked at.
const BATCH: usize = 512;

/// What the engine is connected to.
pub(crate) struct Io {
    pub(crate) inputs: mpsc::Receiver<Input>,
    /// The interfaces of this node, from the driver.
    pub(crate) interfaces: watch::Receiver<Option<Vec<LanInterface>>>,
    pub(crate) desired: watch::Sender<Arc<Desired>>,
    pub(crate) statuses: StatusQueue,
    pub(crate) events: Recorder,
    /// The problems of the configuration, one text each.
    pub(crate) problems: watch::Sender<Option<Vec<String>>>,
    /// Told when what the API has of our own presence is not what it should be.
    pub(crate) presence_lost: Arc<Notify>,
    /// Dropped when all stores are complete.
    pub(crate) ready: Option<Block>,
}

/// What the flags say.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) me: NodeName,
    pub(crate) class: String,
    pub(crate) ignore_exclude: bool,
}

/// The speaker's state.
pub(crate) struct Engine {
    settings: Settings,
    io: Io,
    metrics: Metrics,
    world: World,
    resources: Resources,
    configurator: Configurator,
    configuration_changed: bool,
    incomplete: BTreeSet<&'static str>,
    /// What the watch last showed of our own interfaces, as it showed it to the other speakers;
    /// `None` if they have not been told.
    published: Option<BTreeSet<String>>,
    announcing: Announcing,
}

impl Engine {
    /// An engine that knows nothing yet.
    pub(crate) fn new(settings: Settings, io: Io, metrics: Metrics) -> Self {
        Self {
            announcing: Announcing::new(settings.me.clone()),
            settings,
            io,
            metrics,
            world: World::new(),
            resources: Resources::default(),
            configurator: Configurator::default(),
            configuration_changed: false,
            incomplete: KINDS.into(),
            published: None,
        }
    }

    /// Runs until `token` is cancelled.
    pub(crate) async fn run(mut self, token: CancellationToken) -> TaskResult {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = token.cancelled() => return Ok(()),
                count = self.io.inputs.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return Err("all watches have ended".into());
                    }
                    for input in batch.drain(..) {
                        self.take(input);
                    }
                }
                changed = self.io.interfaces.changed() => changed?,
            }
            self.settle();
        }
    }

    fn take(&mut self, input: Input) {
        let (kind, whole) = input.kind();
        if whole {
            self.incomplete.remove(kind);
        }
        self.metrics.client.updates.inc();
        match input {
            Input::Services(event) => self.services(event),
            Input::Slices(event) => self.slices(event),
            Input::Nodes(event) => self.nodes(event),
            Input::Pools(event) => {
                take_objects(&mut self.resources.pools, event);
                self.configuration_changed = true;
            }
            Input::Advertisements(event) => {
                take_objects(&mut self.resources.l2_advertisements, event);
                self.configuration_changed = true;
            }
            Input::Speakers(event) => self.speakers(event),
        }
    }

    fn services(&mut self, event: Event<slim::Service>) {
        match event {
            Event::Restarted { objects, malformed } => {
                let mut present: HashSet<_> = objects.iter().map(convert::service_key).collect();
                for object in &malformed {
                    self.malformed("Service", object);
                    let namespace = object.name.namespace.clone().unwrap_or_default();
                    present.insert(ServiceKey::new(namespace, object.name.name.clone()));
                }
                self.world.retain_services(&present);
                for object in &objects {
                    self.service(object);
                }
            }
            Event::Applied(object) => self.service(&object),
            Event::Deleted(name) => {
                let namespace = name.namespace.unwrap_or_default();
                self.world
                    .set_service(&ServiceKey::new(namespace, name.name), None);
            }
            Event::Malformed(object) => self.malformed("Service", &object),
        }
    }

    fn service(&mut self, object: &slim::Service) {
        let facts = convert::service(object, &self.settings.class);
        self.world.set_service(&convert::service_key(object), facts);
    }

    fn slices(&mut self, event: Event<slim::EndpointSlice>) {
        let key = |namespace: Option<String>, name: String| -> SliceKey {
            (namespace.unwrap_or_default().into(), name.into())
        };
        match event {
            Event::Restarted { objects, malformed } => {
                let mut present: HashSet<_> = objects.iter().map(convert::slice_key).collect();
                for object in malformed {
                    self.malformed("EndpointSlice", &object);
                    present.insert(key(object.name.namespace, object.name.name));
                }
                self.world.retain_slices(&present);
                for object in &objects {
                    self.world
                        .set_slice(&convert::slice_key(object), convert::slice(object));
                }
            }
            Event::Applied(object) => {
                self.world
                    .set_slice(&convert::slice_key(&object), convert::slice(&object));
            }
            Event::Deleted(name) => self.world.set_slice(&key(name.namespace, name.name), None),
            Event::Malformed(object) => self.malformed("EndpointSlice", &object),
        }
    }

    fn nodes(&mut self, event: Event<slim::Node>) {
        match event {
            Event::Restarted { objects, malformed } => {
                let mut present: HashSet<_> = objects
                    .iter()
                    .map(|o| NodeName::new(o.name_any()))
                    .collect();
                for object in malformed {
                    self.malformed("Node", &object);
                    present.insert(NodeName::new(object.name.name));
                }
                self.world.retain_nodes(&present);
                for object in &objects {
                    self.node(object);
                }
            }
            Event::Applied(object) => self.node(&object),
            Event::Deleted(name) => self.world.set_node(&NodeName::new(name.name), None),
            Event::Malformed(object) => self.malformed("Node", &object),
        }
    }

    fn node(&mut self, object: &slim::Node) {
        let facts = convert::node(object, self.settings.ignore_exclude);
        self.world
            .set_node(&NodeName::new(object.name_any()), Some(facts));
    }

    fn speakers(&mut self, event: Event<ConfigurationState>) {
        match event {
            Event::Restarted { objects, malformed } => {
                let mut present: HashSet<_> = objects.iter().filter_map(speaker_node).collect();
                present.extend(malformed.iter().filter_map(|m| node_of_state(&m.name.name)));
                for node in self.world.nodes_with_interfaces() {
                    if !present.contains(&node) {
                        self.speaker(&node, None);
                    }
                }
                if !present.contains(&self.settings.me) {
                    self.published = None;
                }
                for object in &objects {
                    self.speaker_says(object);
                }
            }
            Event::Applied(object) => self.speaker_says(&object),
            Event::Deleted(name) => {
                if let Some(node) = node_of_state(&name.name) {
                    self.speaker(&node, None);
                }
            }
            Event::Malformed(object) => self.malformed("ConfigurationState", &object),
        }
    }

    fn speaker_says(&mut self, object: &ConfigurationState) {
        let Some(node) = speaker_node(object) else {
            return;
        };
        let text = object.annotations().get(convert::INTERFACES);
        self.speaker(&node, text.map(|text| convert::interfaces(text)));
    }

    /// What the API has of our own interfaces is not taken as it is (see [`agreed`]), and checked.
    fn speaker(&mut self, node: &NodeName, interfaces: Option<BTreeSet<String>>) {
        if *node != self.settings.me {
            self.world.set_interfaces(node, interfaces);
            return;
        }
        if interfaces != self.io.interfaces.borrow().as_deref().map(names) {
            self.io.presence_lost.notify_one();
        }
        self.published = interfaces;
    }

    fn malformed(&self, kind: &str, object: &Malformed) {
        self.metrics.client.update_errors.inc();
        tracing::warn!(
            kind,
            object = %object.name,
            error = object.error,
            "object cannot be read: keeping what was known of it; correct the object"
        );
    }

    /// Brings everything up to date with the world.
    fn settle(&mut self) {
        let interfaces = self.io.interfaces.borrow_and_update().as_deref().map(names);
        let known = interfaces.is_some();
        let interfaces = agreed(interfaces, self.published.as_ref());
        self.world.set_interfaces(&self.settings.me, interfaces);
        if !known || !self.incomplete.is_empty() {
            return;
        }
        if std::mem::take(&mut self.configuration_changed) {
            self.configure();
        }
        for (key, outcome) in self.world.take_outcomes() {
            self.settle_service(&key, &outcome);
        }
        let desired = self.announcing.desired();
        self.io.desired.send_if_modified(|current| {
            let changed = !Arc::ptr_eq(current, &desired);
            if changed {
                *current = desired;
            }
            changed
        });
        if self.io.ready.take().is_some() {
            self.io.statuses.begin();
            tracing::info!("all stores are complete, announcing begins");
        }
    }

    fn configure(&mut self) {
        let (config, problems) = self.configurator.update(&self.resources);
        let pools = config.pools.iter().map(|pool| PoolFacts {
            name: pool.name.clone(),
            cidrs: pool.cidrs.clone(),
            advertisements: config.l2_advertisements_of(&pool.name).to_vec(),
        });
        self.world.set_pools(pools.collect());
        self.metrics.client.config_loaded.set(1);
        self.metrics
            .client
            .config_stale
            .set(i64::from(!problems.is_empty()));
        let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
        self.io.problems.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&texts);
            if changed {
                for problem in &texts {
                    tracing::error!(error = problem, "failed to parse the configuration");
                }
                *current = Some(texts);
            }
            changed
        });
    }

    fn settle_service(&mut self, key: &ServiceKey, outcome: &Outcome) {
        let facts = self.world.service(key);
        let addresses = facts.map_or(&[][..], |facts| &facts.service.addresses);
        let uid = facts.map(|facts| facts.uid.clone()).unwrap_or_default();
        for transition in self.announcing.settle(key, addresses, outcome) {
            self.tell(key, &uid, transition);
        }
    }

    fn tell(&self, key: &ServiceKey, uid: &str, transition: Transition) {
        match transition {
            Transition::Started(now) => {
                tracing::info!(
                    event = "serviceAnnounced",
                    service = %key,
                    ips = ?now.addresses,
                    protocol = "layer2",
                    "service has IP, announcing"
                );
                self.metrics.announced(key, &now.addresses);
                self.io.events.record(
                    subject(key, uid),
                    Kind::Normal,
                    "nodeAssigned",
                    format!(
                        "announcing from node \"{}\" with protocol \"layer2\"",
                        self.settings.me
                    ),
                );
                self.io.statuses.set(key, Some(now.interfaces));
            }
            Transition::Changed { before, now } => {
                tracing::info!(
                    event = "serviceAnnounced",
                    service = %key,
                    ips = ?now.addresses,
                    before = ?before.addresses,
                    protocol = "layer2",
                    "service has IP, announcing"
                );
                self.metrics.withdrawn(key, &before.addresses);
                self.metrics.announced(key, &now.addresses);
                self.io.statuses.set(key, Some(now.interfaces));
            }
            Transition::Stopped { before, why } => {
                tracing::info!(
                    event = "serviceWithdrawn",
                    service = %key,
                    ips = ?before.addresses,
                    protocol = "layer2",
                    reason = why.name(),
                    detail = %why,
                    "withdrawing service announcement"
                );
                self.metrics.withdrawn(key, &before.addresses);
                self.io.statuses.set(key, None);
            }
            Transition::Withheld(why) => tracing::debug!(
                service = %key,
                reason = why.name(),
                detail = %why,
                "service is not announced from this node"
            ),
            Transition::NoInterface => {
                let me = &self.settings.me;
                let addresses = self
                    .world
                    .service(key)
                    .map_or(&[][..], |facts| &facts.service.addresses);
                for address in addresses {
                    self.io.events.record(
                        subject(key, uid),
                        Kind::Warning,
                        "announceFailed",
                        format!(
                            "the interfaces specified by LB IP \"{address}\" doesn't exist in \
                             assigned node \"{me}\" with protocol \"layer2\""
                        ),
                    );
                }
            }
        }
    }
}

/// The Service as the subject of an event.
fn subject(key: &ServiceKey, uid: &str) -> Subject {
    Subject {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        namespace: Some(key.namespace().to_owned()),
        name: key.name().to_owned(),
        uid: Some(uid.to_owned()),
    }
}

/// The interfaces of this node that it may decide with: those it has that the others know of too.
///
/// An interface that is lost counts at once, for nobody can announce there. One that is gained
/// counts only when the watch shows that it is published: until then the other speakers let the
/// next node announce, and two would answer. As long as nothing is published (a speaker that
/// starts, or that may not write) the others take this node for one with any interface, and none
/// of its own can surprise them.
fn agreed(
    first_hand: Option<BTreeSet<String>>,
    published: Option<&BTreeSet<String>>,
) -> Option<BTreeSet<String>> {
    let mut interfaces = first_hand?;
    if let Some(published) = published {
        interfaces.retain(|name| published.contains(name));
    }
    Some(interfaces)
}

fn node_of_state(name: &str) -> Option<NodeName> {
    name.strip_prefix("speaker-").map(NodeName::from)
}

fn take_objects<K: kube::Resource>(objects: &mut herald_api::config::Objects<K>, event: Event<K>) {
    match event {
        Event::Restarted {
            objects: all,
            malformed,
        } => {
            objects.clear();
            for object in all {
                objects.apply(object);
            }
            for object in malformed {
                objects.malformed(object.name.name, object.error);
            }
        }
        Event::Applied(object) => objects.apply(object),
        Event::Deleted(name) => objects.remove(&name.name),
        Event::Malformed(object) => objects.malformed(object.name.name, object.error),
    }
}

#[cfg(test)]
mod tests;
