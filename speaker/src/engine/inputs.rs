//! What the watches tell, taken into the world.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use herald_api::config::bgp::PasswordSecret;
use herald_api::config::{Configurator, Problem, Resources};
use herald_api::kinds::ConfigurationState;
use herald_api::report::Findings;
use herald_api::slim;
use herald_model::{Labels, NodeName, ServiceKey};
use herald_runtime::configuration_state::Shown;
use herald_runtime::metrics::ClientMetrics;
use herald_runtime::watch::{Event, Malformed, ObjectName};
use kube::ResourceExt as _;
use tokio::sync::watch;

use super::Settings;
use super::subjects::{Known, Subjects};
use crate::convert;
use crate::group::Addresses;
use crate::presence::speaker_node;
use crate::sources::{Input, KINDS};
use crate::world::{PoolFacts, Saved, SliceKey, World};

/// The kinds that say which addresses there are and who announces them on layer 2.
const FOR_ADDRESSES: [&str; 2] = [KINDS[4], KINDS[5]];

/// The kinds that say, with those, what BGP does.
const FOR_BGP: [&str; 5] = [KINDS[6], KINDS[7], KINDS[8], KINDS[9], KINDS[10]];

/// The kinds whose objects are about BGP alone, as problems name them.
const ABOUT_BGP: [&str; 4] = ["BGPAdvertisement", "BGPPeer", "BFDProfile", "Community"];

/// The cluster as the API tells of it.
pub(super) struct Cluster {
    settings: Settings,
    metrics: ClientMetrics,
    /// What the API has of our own presence.
    shown: watch::Sender<Shown>,
    pub(super) world: World,
    resources: Resources,
    configurator: Configurator,
    /// The objects of the configuration.
    subjects: Subjects,
    /// What was last found wrong with them.
    problems: Vec<Problem>,
    configuration_changed: bool,
    incomplete: BTreeSet<&'static str>,
    /// The interfaces that this node has; `None` until they are known.
    own: Option<BTreeSet<String>>,
    /// What the watch last showed of our own interfaces, as it showed it to the other speakers;
    /// `None` if they have not been told.
    published: Option<BTreeSet<String>>,
    /// The nodes with their addresses.
    nodes: Addresses,
    /// The nodes whose speakers have said something of themselves.
    speakers: BTreeSet<NodeName>,
    /// `nodes` or `speakers` is another than when it was last asked for.
    peers_changed: bool,
}

impl Cluster {
    /// Nothing is known yet.
    pub(super) fn new(
        settings: Settings,
        metrics: ClientMetrics,
        shown: watch::Sender<Shown>,
    ) -> Self {
        Self {
            world: World::on(settings.me.clone()),
            settings,
            metrics,
            shown,
            resources: Resources::default(),
            configurator: Configurator::default(),
            subjects: Subjects::default(),
            problems: Vec::new(),
            configuration_changed: false,
            incomplete: KINDS.into(),
            own: None,
            published: None,
            nodes: Addresses::new(),
            speakers: BTreeSet::new(),
            peers_changed: false,
        }
    }

    /// Every watch has told all there is, at least once.
    pub(super) fn is_complete(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// Where other speakers may be, from the disk: before and instead of what the API tells.
    pub(super) fn expect(&mut self, saved: &Saved, members: impl Iterator<Item = NodeName>) {
        let nodes = saved.nodes.iter();
        self.nodes = nodes
            .map(|(name, facts)| (name.clone(), facts.addresses.clone()))
            .collect();
        self.speakers = members.collect();
        self.peers_changed = true;
    }

    /// Takes up from the disk what the API does not tell. A list that comes later replaces it, and
    /// one that came before has the last word.
    pub(super) fn resume(&mut self, mut saved: Saved) {
        let [services, slices, nodes, speakers, ..] = KINDS;
        let told = |kind| !self.incomplete.contains(kind);
        if told(services) {
            saved.services.clear();
        }
        if told(slices) {
            saved.slices.clear();
        }
        if told(nodes) {
            saved.nodes.clear();
        }
        if told(speakers) {
            saved.interfaces.clear();
        }
        // Pools and peers are made anew by `configure` when their kinds were told.
        self.world.import(saved);
        if let Some(node) = self.world.node(&self.settings.me) {
            let labels = node.labels.clone();
            self.set_own_labels(labels);
        }
    }

    /// True if [`nodes`](Self::nodes) or [`speakers`](Self::speakers) gives something else than when
    /// this was last asked.
    pub(super) fn take_peers_changed(&mut self) -> bool {
        std::mem::take(&mut self.peers_changed)
    }

    /// The nodes with their addresses.
    pub(super) fn nodes(&self) -> &Addresses {
        &self.nodes
    }

    /// The nodes whose speakers have said something of themselves in the API.
    pub(super) fn speakers(&self) -> &BTreeSet<NodeName> {
        &self.speakers
    }

    /// There is, or should be, a speaker on another node.
    pub(super) fn has_others(&self) -> bool {
        let me = &self.settings.me;
        self.nodes.keys().chain(&self.speakers).any(|n| n != me)
    }

    /// This node has these interfaces.
    pub(super) fn set_own(&mut self, own: Option<BTreeSet<String>>) {
        self.own = own;
        let interfaces = agreed(self.own.clone(), self.published.as_ref());
        self.world.set_interfaces(&self.settings.me, interfaces);
    }

    /// Takes in what a watch told.
    pub(super) fn take(&mut self, input: Input) {
        let (kind, whole) = input.kind();
        if whole && self.incomplete.remove(kind) {
            // An empty list says something too: that there is none.
            self.configuration_changed = true;
        }
        self.metrics.updates.inc();
        match input {
            Input::Services(event) => self.take_services(event),
            Input::Slices(event) => self.take_slices(event),
            Input::Nodes(event) => self.take_nodes(event),
            Input::Pools(event) => {
                self.subjects.take(&mut self.resources.pools, event);
                self.configuration_changed = true;
            }
            Input::Advertisements(event) => {
                self.subjects
                    .take(&mut self.resources.l2_advertisements, event);
                self.configuration_changed = true;
            }
            Input::BgpAdvertisements(event) => {
                self.subjects
                    .take(&mut self.resources.bgp_advertisements, event);
                self.configuration_changed = true;
            }
            Input::Peers(event) => {
                self.subjects.take(&mut self.resources.bgp_peers, event);
                self.configuration_changed = true;
            }
            Input::Profiles(event) => {
                self.subjects.take(&mut self.resources.bfd_profiles, event);
                self.configuration_changed = true;
            }
            Input::Communities(event) => {
                self.subjects.take(&mut self.resources.communities, event);
                self.configuration_changed = true;
            }
            Input::Secrets(event) => self.take_secrets(event),
            Input::Speakers(event) => self.take_speakers(event),
        }
    }

    fn take_services(&mut self, event: Event<slim::Service>) {
        match event {
            Event::Restarted { objects, malformed } => {
                let mut present: HashSet<_> = objects.iter().map(convert::service_key).collect();
                for object in malformed {
                    self.malformed("Service", &object);
                    present.insert(object.name.into());
                }
                self.world.retain_services(&present);
                for object in &objects {
                    self.service(object);
                }
            }
            Event::Applied(object) => self.service(&object),
            Event::Deleted(name) => self.world.set_service(&ServiceKey::from(name), None),
            Event::Malformed(object) => self.malformed("Service", &object),
        }
    }

    fn service(&mut self, object: &slim::Service) {
        let facts = convert::service(object, &self.settings.class);
        self.world.set_service(&convert::service_key(object), facts);
    }

    fn take_slices(&mut self, event: Event<slim::EndpointSlice>) {
        let key = |name: ObjectName| -> SliceKey {
            (name.namespace.unwrap_or_default().into(), name.name.into())
        };
        match event {
            Event::Restarted { objects, malformed } => {
                let mut present: HashSet<_> = objects.iter().map(convert::slice_key).collect();
                for object in malformed {
                    self.malformed("EndpointSlice", &object);
                    present.insert(key(object.name));
                }
                self.world.retain_slices(&present);
                for object in &objects {
                    self.slice(object);
                }
            }
            Event::Applied(object) => self.slice(&object),
            Event::Deleted(name) => self.world.set_slice(&key(name), None),
            Event::Malformed(object) => self.malformed("EndpointSlice", &object),
        }
    }

    fn slice(&mut self, object: &slim::EndpointSlice) {
        let facts = convert::slice(object, &self.settings.me);
        self.world.set_slice(&convert::slice_key(object), facts);
    }

    fn take_nodes(&mut self, event: Event<slim::Node>) {
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
                let known = self.nodes.len();
                self.nodes.retain(|name, _| present.contains(name));
                self.peers_changed |= self.nodes.len() != known;
                for object in &objects {
                    self.node(object);
                }
            }
            Event::Applied(object) => self.node(&object),
            Event::Deleted(name) => {
                let name = NodeName::new(name.name);
                self.world.set_node(&name, None);
                self.peers_changed |= self.nodes.remove(&name).is_some();
            }
            Event::Malformed(object) => self.malformed("Node", &object),
        }
    }

    fn node(&mut self, object: &slim::Node) {
        let facts = convert::node(object, self.settings.ignore_exclude);
        let name = NodeName::new(object.name_any());
        let before = self.nodes.insert(name.clone(), facts.addresses.clone());
        self.peers_changed |= before.as_ref() != Some(&facts.addresses);
        if name == self.settings.me {
            self.set_own_labels(facts.labels.clone());
        }
        self.world.set_node(&name, Some(facts));
    }

    /// Objects about BGP that would exclude each other do so only if both select this node.
    fn set_own_labels(&mut self, labels: Labels) {
        let me = self.settings.me.to_string();
        let before = self.resources.nodes.insert(me, labels);
        let now = self.resources.nodes.values().next();
        self.configuration_changed |= before.as_ref() != now;
    }

    fn take_secrets(&mut self, event: Event<slim::Secret>) {
        let fact = |object: &slim::Secret| (object.name_any(), PasswordSecret::from(object));
        match event {
            Event::Restarted { objects, malformed } => {
                let mut all: BTreeMap<_, _> = objects.iter().map(fact).collect();
                for object in malformed {
                    let name = &object.name.name;
                    if let Some(secret) = self.resources.password_secrets.get(name) {
                        all.insert(name.clone(), secret.clone());
                    }
                    self.malformed("Secret", &object);
                }
                self.configuration_changed |= self.resources.password_secrets != all;
                self.resources.password_secrets = all;
            }
            Event::Applied(object) => {
                let (name, secret) = fact(&object);
                let known = &mut self.resources.password_secrets;
                let before = known.insert(name.clone(), secret);
                self.configuration_changed |= before.as_ref() != known.get(&name);
            }
            Event::Deleted(name) => {
                let known = &mut self.resources.password_secrets;
                self.configuration_changed |= known.remove(&name.name).is_some();
            }
            Event::Malformed(object) => self.malformed("Secret", &object),
        }
    }

    fn take_speakers(&mut self, event: Event<ConfigurationState>) {
        match event {
            Event::Restarted { objects, malformed } => {
                let mut present: BTreeSet<_> = objects.iter().filter_map(speaker_node).collect();
                present.extend(malformed.iter().filter_map(|m| node_of_state(&m.name.name)));
                for node in self.world.nodes_with_interfaces() {
                    if !present.contains(&node) {
                        self.speaker(&node, None);
                    }
                }
                if !present.contains(&self.settings.me) {
                    self.published = None;
                }
                if !objects
                    .iter()
                    .any(|object| self.is_mine(&object.name_any()))
                {
                    self.shown.send_replace(None);
                }
                for object in &malformed {
                    self.malformed("ConfigurationState", object);
                }
                self.peers_changed |= self.speakers != present;
                self.speakers = present;
                for object in &objects {
                    self.speaker_says(object);
                }
            }
            Event::Applied(object) => self.speaker_says(&object),
            Event::Deleted(name) => {
                if self.is_mine(&name.name) {
                    self.shown.send_replace(None);
                }
                if let Some(node) = node_of_state(&name.name) {
                    self.peers_changed |= self.speakers.remove(&node);
                    self.speaker(&node, None);
                }
            }
            Event::Malformed(object) => {
                // What cannot be read is not what it should be: it is written anew.
                if self.is_mine(&object.name.name) {
                    self.shown.send_replace(None);
                }
                self.malformed("ConfigurationState", &object);
            }
        }
    }

    /// True for the name of this speaker's own object, whatever its labels say.
    fn is_mine(&self, state: &str) -> bool {
        node_of_state(state).as_ref() == Some(&self.settings.me)
    }

    fn speaker_says(&mut self, object: &ConfigurationState) {
        if self.is_mine(&object.name_any()) {
            self.shown.send_replace(Some(Arc::new(object.clone())));
        }
        let Some(node) = speaker_node(object) else {
            return;
        };
        self.peers_changed |= self.speakers.insert(node.clone());
        let text = object.annotations().get(convert::INTERFACES);
        self.speaker(&node, text.map(|text| convert::interfaces(text)));
    }

    /// What the API has of our own interfaces is not taken as it is (see [`agreed`]).
    fn speaker(&mut self, node: &NodeName, interfaces: Option<BTreeSet<String>>) {
        if *node != self.settings.me {
            self.world.set_interfaces(node, interfaces);
            return;
        }
        self.published = interfaces;
        self.set_own(self.own.clone());
    }

    fn malformed(&self, kind: &str, object: &Malformed) {
        self.metrics.update_errors.inc();
        tracing::warn!(
            kind,
            object = %object.name,
            error = object.error,
            "object cannot be read: keeping what was known of it; correct the object"
        );
    }

    /// Makes the configuration anew if its objects changed. Gives what is wrong with it, and which of
    /// that is new. With only one half of what layer 2 needs nothing is done: pools without their
    /// advertisements would withdraw what was taken up from the disk. What only BGP needs does not
    /// hold up layer 2: as long as some of it is not told, BGP goes on as it was known.
    pub(super) fn configure(&mut self) -> Option<(Findings, Vec<Problem>)> {
        if FOR_ADDRESSES.iter().any(|k| self.incomplete.contains(k))
            || !std::mem::take(&mut self.configuration_changed)
        {
            return None;
        }
        let untold = self.untold_for_bgp();
        let (config, mut problems) = self.configurator.update(&self.resources);
        if !untold.is_empty() {
            // What they refer to may be what is not told.
            problems.retain(|problem| !ABOUT_BGP.contains(&problem.kind));
        }
        let pools = config.pools.iter().map(|pool| PoolFacts {
            name: pool.name.clone(),
            cidrs: pool.cidrs.clone(),
            advertisements: config.l2_advertisements_of(&pool.name).to_vec(),
            bgp_advertisements: if untold.is_empty() {
                config.bgp_advertisements_of(&pool.name).to_vec()
            } else {
                self.world.bgp_advertisements(&pool.name).to_vec()
            },
        });
        let pools = pools.collect();
        self.world.set_pools(pools);
        if untold.is_empty() {
            self.world.set_bgp_peers(config.bgp_peers, BTreeSet::new());
        }
        let mut findings = Findings {
            problems: problems.iter().map(Problem::to_string).collect(),
            unknown: Vec::new(),
        };
        if !untold.is_empty() {
            findings.unknown.push(format!(
                "the API server has not told of {}: BGP goes on as it was known on this node; if \
                 that does not end, see that the kinds exist and that the speaker's role may list \
                 and watch them",
                untold.join(", ")
            ));
        }
        self.metrics.config_loaded.set(1);
        let stale = findings != Findings::default();
        self.metrics.config_stale.set(i64::from(stale));
        let before = std::mem::replace(&mut self.problems, problems);
        let problems = self.problems.iter();
        let new = problems.filter(|problem| !before.contains(problem));
        Some((findings, new.cloned().collect()))
    }

    /// The object that a problem is about, if it is still there.
    pub(super) fn subject(&self, problem: &Problem) -> Option<&Known> {
        self.subjects.of(problem)
    }

    /// What the API has not told of what BGP needs.
    fn untold_for_bgp(&self) -> Vec<&'static str> {
        // What this node is like decides which objects about BGP are in each other's way.
        let [_, _, nodes, ..] = KINDS;
        let node = Some(nodes).filter(|_| self.resources.nodes.is_empty());
        let kinds = FOR_BGP.into_iter().chain(node);
        kinds.filter(|k| self.incomplete.contains(k)).collect()
    }

    /// The addresses and the UID of a Service, for what is told of it.
    pub(super) fn service_facts(&self, key: &ServiceKey) -> (&[IpAddr], &str) {
        self.world.service(key).map_or((&[], ""), |facts| {
            (&facts.service.addresses[..], facts.uid.as_str())
        })
    }
}

/// The interfaces of this node that it may decide with, where speakers know of each other through
/// the API only: those it has that the others know of too.
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
