//! The watches that the speaker lives on, all feeding one channel.

use std::fmt::Debug;

use herald_api::kinds::{
    BFDProfile, BGPAdvertisement, BGPPeer, Community, ConfigurationState, IPAddressPool,
    L2Advertisement,
};
use herald_api::{annotations, slim};
use herald_runtime::supervise::Supervisor;
use herald_runtime::watch::{Event, Watch};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

/// How many inputs may wait; a watch waits when the channel is full.
const QUEUE: usize = 1024;

/// What a watch told.
#[derive(Debug)]
pub(crate) enum Input {
    /// Services; of others than type `LoadBalancer` only if the API server cannot select.
    Services(Event<slim::Service>),
    /// All `EndpointSlices`: which of them matter changes with the Services.
    Slices(Event<slim::EndpointSlice>),
    /// Nodes.
    Nodes(Event<slim::Node>),
    /// Pools of our namespace.
    Pools(Event<IPAddressPool>),
    /// Advertisements on layer 2 of our namespace.
    Advertisements(Event<L2Advertisement>),
    /// Advertisements with BGP of our namespace.
    BgpAdvertisements(Event<BGPAdvertisement>),
    /// BGP peers of our namespace.
    Peers(Event<BGPPeer>),
    /// What the peers name for BFD.
    Profiles(Event<BFDProfile>),
    /// Names that the advertisements with BGP use.
    Communities(Event<Community>),
    /// Secrets of our namespace with passwords; others only if the API server cannot select.
    Secrets(Event<slim::Secret>),
    /// What the speakers say of themselves.
    Speakers(Event<ConfigurationState>),
}

/// The kinds of input that have to be complete before anything is decided.
pub(crate) const KINDS: [&str; 11] = [
    "services",
    "endpointslices",
    "nodes",
    "configurationstates",
    "ipaddresspools",
    "l2advertisements",
    "bgpadvertisements",
    "bgppeers",
    "bfdprofiles",
    "communities",
    "secrets",
];

impl Input {
    /// Which of [`KINDS`] it is, and whether it is the whole set.
    pub(crate) fn kind(&self) -> (&'static str, bool) {
        fn whole<K>(event: &Event<K>) -> bool {
            matches!(event, Event::Restarted { .. })
        }
        let [
            services,
            slices,
            nodes,
            speakers,
            pools,
            advertisements,
            bgp_advertisements,
            peers,
            profiles,
            communities,
            secrets,
        ] = KINDS;
        match self {
            Self::Services(event) => (services, whole(event)),
            Self::Slices(event) => (slices, whole(event)),
            Self::Nodes(event) => (nodes, whole(event)),
            Self::Speakers(event) => (speakers, whole(event)),
            Self::Pools(event) => (pools, whole(event)),
            Self::Advertisements(event) => (advertisements, whole(event)),
            Self::BgpAdvertisements(event) => (bgp_advertisements, whole(event)),
            Self::Peers(event) => (peers, whole(event)),
            Self::Profiles(event) => (profiles, whole(event)),
            Self::Communities(event) => (communities, whole(event)),
            Self::Secrets(event) => (secrets, whole(event)),
        }
    }
}

/// Starts all watches.
pub(crate) fn start(
    supervisor: &mut Supervisor,
    client: &Client,
    namespace: &str,
) -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let token = || supervisor.token();
    let services = Watch::<slim::Service>::cluster(client, "services")
        .fields("spec.type=LoadBalancer")
        .forward(sender.clone(), Input::Services, token());
    let slices = Watch::<slim::EndpointSlice>::cluster(client, "endpointslices")
        .labels(slim::EndpointSlice::SERVICE_LABEL)
        .forward(sender.clone(), Input::Slices, token());
    let nodes = Watch::<slim::Node>::cluster(client, "nodes").forward(
        sender.clone(),
        Input::Nodes,
        token(),
    );
    let speakers =
        Watch::<ConfigurationState>::namespaced(client, namespace, "configurationstates")
            .labels(&format!("{}=speaker", annotations::LABEL_COMPONENT_TYPE))
            .forward(sender.clone(), Input::Speakers, token());
    let secrets = Watch::<slim::Secret>::namespaced(client, namespace, "secrets")
        .fields(PASSWORDS)
        .forward(sender.clone(), Input::Secrets, token());
    supervisor.spawn("watch services", services);
    supervisor.spawn("watch endpointslices", slices);
    supervisor.spawn("watch nodes", nodes);
    supervisor.spawn("watch configurationstates", speakers);
    supervisor.spawn("watch secrets", secrets);

    let configuration = Configuration {
        supervisor,
        client,
        namespace,
        sender,
    };
    configuration.watch();
    receiver
}

/// The Secrets that can be the password of a BGP peer.
const PASSWORDS: &str = "type=kubernetes.io/basic-auth";

/// The watches of our own kinds.
struct Configuration<'a> {
    supervisor: &'a mut Supervisor,
    client: &'a Client,
    namespace: &'a str,
    sender: mpsc::Sender<Input>,
}

impl Configuration<'_> {
    fn watch(mut self) {
        self.one("watch ipaddresspools", "ipaddresspools", Input::Pools);
        let l2 = "l2advertisements";
        self.one("watch l2advertisements", l2, Input::Advertisements);
        let bgp = "bgpadvertisements";
        self.one("watch bgpadvertisements", bgp, Input::BgpAdvertisements);
        self.one("watch bgppeers", "bgppeers", Input::Peers);
        self.one("watch bfdprofiles", "bfdprofiles", Input::Profiles);
        self.one("watch communities", "communities", Input::Communities);
    }

    fn one<K>(&mut self, task: &'static str, what: &'static str, input: fn(Event<K>) -> Input)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let watch = Watch::<K>::namespaced(self.client, self.namespace, what);
        let sender = self.sender.clone();
        let watch = watch.forward(sender, input, self.supervisor.token());
        self.supervisor.spawn(task, watch);
    }
}
