//! The watches that the speaker lives on, all feeding one channel.

use herald_api::kinds::{ConfigurationState, IPAddressPool, L2Advertisement};
use herald_api::{annotations, slim};
use herald_runtime::supervise::Supervisor;
use herald_runtime::watch::{Event, Watch};
use kube::Client;
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
    /// Advertisements of our namespace.
    Advertisements(Event<L2Advertisement>),
    /// What the speakers say of themselves.
    Speakers(Event<ConfigurationState>),
}

/// The kinds of input that have to be complete before anything is decided.
pub(crate) const KINDS: [&str; 6] = [
    "services",
    "endpointslices",
    "nodes",
    "ipaddresspools",
    "l2advertisements",
    "configurationstates",
];

impl Input {
    /// Which of [`KINDS`] it is, and whether it is the whole set.
    pub(crate) fn kind(&self) -> (&'static str, bool) {
        fn whole<K>(event: &Event<K>) -> bool {
            matches!(event, Event::Restarted { .. })
        }
        let [services, slices, nodes, pools, advertisements, speakers] = KINDS;
        match self {
            Self::Services(event) => (services, whole(event)),
            Self::Slices(event) => (slices, whole(event)),
            Self::Nodes(event) => (nodes, whole(event)),
            Self::Pools(event) => (pools, whole(event)),
            Self::Advertisements(event) => (advertisements, whole(event)),
            Self::Speakers(event) => (speakers, whole(event)),
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
    let pools = Watch::<IPAddressPool>::namespaced(client, namespace, "ipaddresspools").forward(
        sender.clone(),
        Input::Pools,
        token(),
    );
    let advertisements = Watch::<L2Advertisement>::namespaced(
        client,
        namespace,
        "l2advertisements",
    )
    .forward(sender.clone(), Input::Advertisements, token());
    let speakers =
        Watch::<ConfigurationState>::namespaced(client, namespace, "configurationstates")
            .labels(&format!("{}=speaker", annotations::LABEL_COMPONENT_TYPE))
            .forward(sender, Input::Speakers, token());
    supervisor.spawn("watch services", services);
    supervisor.spawn("watch endpointslices", slices);
    supervisor.spawn("watch nodes", nodes);
    supervisor.spawn("watch ipaddresspools", pools);
    supervisor.spawn("watch l2advertisements", advertisements);
    supervisor.spawn("watch configurationstates", speakers);
    receiver
}
