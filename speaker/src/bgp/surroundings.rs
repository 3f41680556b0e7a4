//! What the sessions need to know of the network around this node: its own addresses, the routers on
//! links with unnumbered peers, and the default gateways. Of each only what a session needs is
//! followed, by a task of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt as _;
use herald_api::config::bgp::PeerEndpoint;
use herald_model::IpFamily;
use herald_netsys::{GatewayWatch, Monitor};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

use super::link;
use super::next_hops::Interfaces;
use super::plan::{PeerPlan, Remote};
use crate::channel::send_if_other;

/// How long to wait before what failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How long to wait for more changes of interfaces: with each Pod there are several.
const SETTLE: Duration = Duration::from_millis(50);

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Interfaces,
    /// The router behind this interface.
    Link(String),
    /// The default gateway for this family, in a VRF or none.
    Gateway(IpFamily, Option<String>),
}

/// Where peers are, or why that is not known.
type Places = BTreeMap<Subject, Result<Remote, String>>;

#[derive(Debug)]
pub(super) struct Surroundings {
    interfaces: watch::Sender<Option<Interfaces>>,
    interfaces_here: watch::Receiver<Option<Interfaces>>,
    /// They were known when that was told last.
    known: bool,
    places: Rc<watch::Sender<Places>>,
    places_here: watch::Receiver<Places>,
    tasks: JoinSet<()>,
    followed: BTreeMap<Subject, tokio::task::AbortHandle>,
    seed: u64,
}

impl Surroundings {
    /// Nothing is followed yet.
    pub(super) fn new(seed: u64) -> Self {
        let (interfaces, interfaces_here) = watch::channel(None);
        let (places, places_here) = watch::channel(Places::new());
        Self {
            interfaces,
            interfaces_here,
            known: false,
            places: Rc::new(places),
            places_here,
            tasks: JoinSet::new(),
            followed: BTreeMap::new(),
            seed,
        }
    }

    /// The interfaces, once they are known.
    pub(super) fn interfaces(&self) -> watch::Receiver<Option<Interfaces>> {
        self.interfaces.subscribe()
    }

    /// Follows exactly what these sessions need.
    pub(super) fn follow<'a>(&mut self, plans: impl Iterator<Item = &'a PeerPlan>) {
        let mut wanted = BTreeSet::new();
        for plan in plans {
            wanted.insert(Subject::Interfaces);
            wanted.extend(subject(plan));
        }
        let places = &self.places;
        self.followed.retain(|subject, task| {
            let kept = wanted.contains(subject);
            if !kept {
                task.abort();
                places.send_if_modified(|places| places.remove(subject).is_some());
                if *subject == Subject::Interfaces {
                    self.interfaces.send_replace(None);
                }
            }
            kept
        });
        for subject in wanted {
            if !self.followed.contains_key(&subject) {
                let task = self.start(subject.clone());
                self.followed.insert(subject, task);
            }
        }
    }

    fn start(&mut self, subject: Subject) -> tokio::task::AbortHandle {
        let places = Rc::clone(&self.places);
        let key = subject.clone();
        let tell = move |place: Result<Remote, String>| {
            places.send_if_modified(|places| {
                let changed = places.get(&key) != Some(&place);
                if changed {
                    places.insert(key.clone(), place);
                }
                changed
            });
        };
        match subject {
            Subject::Interfaces => {
                let interfaces = self.interfaces.clone();
                self.tasks.spawn_local(follow_interfaces(interfaces))
            }
            Subject::Link(name) => {
                let interface = name.clone();
                let tell = move |address: Result<Ipv6Addr, String>| {
                    tell(address.map(|address| Remote {
                        address: IpAddr::V6(address),
                        interface: Some(interface.clone()),
                    }));
                };
                self.seed = self.seed.wrapping_add(1);
                let interfaces = self.interfaces.subscribe();
                self.tasks
                    .spawn_local(link::follow(name, interfaces, self.seed, tell))
            }
            Subject::Gateway(family, vrf) => {
                self.tasks.spawn_local(follow_gateway(family, vrf, tell))
            }
        }
    }

    /// Where a peer is; if that is not known, why, unless it is so for a moment only.
    pub(super) fn place(&self, plan: &PeerPlan) -> Result<Remote, Option<String>> {
        // Which next hops there are must be known when a session comes up: what is not announced at
        // first, a peer with graceful restart would drop.
        if self.interfaces_here.borrow().is_none() {
            return Err(None);
        }
        match subject(plan) {
            None => plan.remote().ok_or(None),
            Some(subject) => match self.places_here.borrow().get(&subject) {
                Some(place) => place.clone().map_err(Some),
                None => Err(None),
            },
        }
    }

    /// Waits until [`place`](Self::place) may say something else. Cancel-safe. An error if a task
    /// has ended by itself.
    pub(super) async fn changed(&mut self) -> Result<(), &'static str> {
        loop {
            let known = self.interfaces_here.borrow_and_update().is_some();
            if std::mem::replace(&mut self.known, known) != known {
                return Ok(());
            }
            tokio::select! {
                _ = self.places_here.changed() => return Ok(()),
                _ = self.interfaces_here.changed() => {}
                Some(ended) = self.tasks.join_next_with_id() => {
                    let id: Id = match ended {
                        Ok((id, ())) => id,
                        Err(error) if error.is_panic() => {
                            std::panic::resume_unwind(error.into_panic());
                        }
                        Err(error) => error.id(),
                    };
                    if self.followed.values().any(|task| task.id() == id) {
                        return Err("a task that follows the network has ended by itself");
                    }
                }
            }
        }
    }
}

/// What has to be followed to know where a peer is.
fn subject(plan: &PeerPlan) -> Option<Subject> {
    match &plan.endpoint {
        PeerEndpoint::Address(_) | PeerEndpoint::LinkLocal { .. } => None,
        PeerEndpoint::Interface(name) => Some(Subject::Link(name.clone())),
        PeerEndpoint::DefaultGateway(family) => {
            Some(Subject::Gateway(*family, plan.vrf().cloned()))
        }
    }
}

/// Tells the interfaces, as they are at present, after each change.
async fn follow_interfaces(interfaces: watch::Sender<Option<Interfaces>>) {
    loop {
        match Monitor::start().await {
            Ok(mut monitor) => loop {
                let now = monitor.interfaces().cloned().collect();
                send_if_other(&interfaces, Some(now));
                if monitor.next().await.is_none() {
                    break;
                }
                tokio::time::sleep(SETTLE).await;
                while let Some(Some(_)) = monitor.next().now_or_never() {}
            },
            Err(error) => {
                tracing::error!(
                    %error,
                    "the addresses of this node are not known: peers get routes of the family of \
                     their session only"
                );
                // Sessions come up without them.
                if interfaces.borrow().is_none() {
                    send_if_other(&interfaces, Some(Interfaces::from([])));
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Tells where the default gateway is, after each change.
async fn follow_gateway(
    family: IpFamily,
    vrf: Option<String>,
    tell: impl Fn(Result<Remote, String>),
) {
    let mut watch = loop {
        match GatewayWatch::start(family == IpFamily::V6, vrf.as_deref()) {
            Ok(watch) => break watch,
            Err(error) => tell(Err(error.to_string())),
        }
        tokio::time::sleep(RETRY).await;
    };
    loop {
        tell(match watch.gateway().await {
            Ok(Some(gateway)) => Ok(remote(gateway.address, gateway.interface)),
            Ok(None) => Err(no_gateway(family, vrf.as_deref())),
            Err(error) => Err(error.to_string()),
        });
        watch.changed().await;
    }
}

fn remote(address: IpAddr, interface: String) -> Remote {
    let near = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    Remote {
        address,
        interface: near.then_some(interface),
    }
}

fn no_gateway(family: IpFamily, vrf: Option<&str>) -> String {
    let place = vrf.map_or_else(
        || "this node".to_owned(),
        |vrf| format!("the VRF {vrf} of this node"),
    );
    format!(
        "{place} has no default route for {family} with a gateway: add one, or give the peer an \
         address in spec.peerAddress"
    )
}

#[cfg(test)]
mod tests {
    use herald_bgp::session::Config;
    use herald_bgp::wire::{Asn, BgpId, ExpectedAs};
    use herald_netsys::tcp::Hops;

    use super::*;

    fn plan(endpoint: PeerEndpoint) -> PeerPlan {
        let id = BgpId([10, 0, 0, 1].into());
        PeerPlan {
            session: Config::new(Asn(65_001), ExpectedAs::External, id),
            endpoint,
            port: 179,
            source: None,
            vrf: String::new(),
            hops: Hops::ONE,
            password: None,
            bfd: None,
        }
    }

    #[test]
    fn a_gateway_of_one_link_only_is_reached_by_its_interface() {
        let global = remote([10, 0, 0, 1].into(), "eth0".to_owned());
        assert_eq!(global.interface, None);
        let local = remote("fe80::1".parse().expect("an address"), "eth0".to_owned());
        assert_eq!(local.interface.as_deref(), Some("eth0"));
    }

    #[test]
    fn a_missing_route_is_told_of_with_its_vrf() {
        let text = no_gateway(IpFamily::V6, Some("red"));
        assert!(
            text.starts_with("the VRF red of this node has no default route for IPv6"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn only_what_sessions_need_is_followed() {
        let local = tokio::task::LocalSet::new();
        let followed = local.run_until(async {
            let mut surroundings = Surroundings::new(1);
            surroundings.follow([].into_iter());
            assert!(surroundings.followed.is_empty());
            let far = plan(PeerEndpoint::DefaultGateway(IpFamily::V4));
            assert_eq!(surroundings.place(&far), Err(None), "nothing is known yet");
            surroundings.follow([&far].into_iter());
            assert_eq!(surroundings.followed.len(), 2);
            let near = plan(PeerEndpoint::Address([127, 0, 0, 1].into()));
            surroundings.follow([&near].into_iter());
            while surroundings.place(&near).is_err() {
                surroundings.changed().await.expect("its tasks run");
            }
            surroundings.followed.len()
        });
        assert_eq!(followed.await, 1, "the interfaces");
    }
}
