//! The watches that feed the controller's loop.

use herald_api::kinds::IPAddressPool;
use herald_api::slim::{self, Namespace, Service};
use herald_runtime::supervise::Supervisor;
use herald_runtime::watch::{Event, Watch};
use kube::Client;
use tokio::sync::mpsc;

/// What the watches tell.
pub(crate) enum Input {
    /// Of a Service of type `LoadBalancer`, or of one that no longer is.
    Service(Event<Service>),
    /// Of a pool in our namespace.
    Pool(Event<IPAddressPool>),
    /// Of a namespace, for its labels.
    Namespace(Event<Namespace>),
}

/// Starts the watches; each feeds `inputs`.
pub(crate) fn watch(
    kube: &Client,
    namespace: &str,
    inputs: &mpsc::Sender<Input>,
    supervisor: &mut Supervisor,
) {
    let token = supervisor.token();
    let services = Watch::<Service>::cluster(kube, "services").fields("spec.type=LoadBalancer");
    supervisor.spawn(
        "watch services",
        services.forward(
            inputs.clone(),
            |event| Input::Service(trimmed(event)),
            token.clone(),
        ),
    );
    let pools = Watch::<IPAddressPool>::namespaced(kube, namespace, "ipaddresspools");
    supervisor.spawn(
        "watch ipaddresspools",
        pools.forward(inputs.clone(), Input::Pool, token.clone()),
    );
    let namespaces = Watch::<Namespace>::cluster(kube, "namespaces");
    supervisor.spawn(
        "watch namespaces",
        namespaces.forward(inputs.clone(), Input::Namespace, token),
    );
}

fn trimmed(mut event: Event<Service>) -> Event<Service> {
    match &mut event {
        Event::Applied(service) => slim::trim(service),
        Event::Restarted { objects, .. } => objects.iter_mut().for_each(slim::trim),
        Event::Deleted(_) | Event::Malformed(_) => {}
    }
    event
}
