//! Where the default routes of this host go.

use std::net::IpAddr;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use netlink_packet_route::link::{InfoData, InfoVrf, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop,
    RouteNextHopFlags, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::{Handle, MulticastGroup, new_connection};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::monitor::Subscription;
use crate::{Error, interface_name};

/// How long it may take to read the routes.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often the routes should be read though nothing was told.
const CHECK: Duration = Duration::from_mins(1);

/// How long to wait for more of the same news.
const SETTLE: Duration = Duration::from_millis(100);

/// How long to wait before netlink is opened again after it failed.
const RETRY: Duration = Duration::from_millis(500);

/// The next hop of a default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its address; of an IPv4 route it may be an IPv6 one (RFC 5549).
    pub address: IpAddr,
    /// The name of the interface that it is behind.
    pub interface: String,
}

/// The gateway that most packets of a family go to: that of the default route with the lowest metric
/// in the main table, or in that of a VRF; of several next hops the one with the lowest address. `None`
/// if there is no such route, or only one without a gateway.
pub async fn default_gateway(v6: bool, vrf: Option<&str>) -> Result<Option<Gateway>, Error> {
    let (connection, handle, _) = new_connection().map_err(|error| failed("open", &error))?;
    let mut task = JoinSet::new();
    task.spawn(connection);
    let read = async {
        let table = match vrf {
            Some(vrf) => match vrf_table(&handle, vrf).await {
                Some(table) => table,
                None => return Ok(None),
            },
            None => RouteHeader::RT_TABLE_MAIN.into(),
        };
        let mut message = RouteMessage::default();
        message.header.address_family = if v6 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        let routes = handle.route().get(message).execute();
        let routes = routes.try_filter(|route| {
            futures::future::ready(route.header.destination_prefix_length == 0)
        });
        let routes: Vec<RouteMessage> = routes
            .try_collect()
            .await
            .map_err(|error| failed("dump of routes", &error))?;
        Ok(best(&routes, table).and_then(|(address, index)| {
            let interface = interface_name(index)?;
            Some(Gateway { address, interface })
        }))
    };
    tokio::time::timeout(TIMEOUT, read)
        .await
        .map_err(|error| failed("dump of routes", &error))?
}

/// Tells when a default route may have changed.
#[derive(Debug)]
pub struct GatewayWatch {
    /// `None` after it broke.
    subscription: Option<Subscription>,
    /// Something has happened since it was last told of.
    news: bool,
    check: Instant,
}

impl GatewayWatch {
    /// Begins. What changes from now on is told of. Must be called within a tokio runtime.
    pub fn start() -> Result<Self, Error> {
        Ok(Self {
            subscription: Some(subscribe()?),
            news: false,
            check: Instant::now() + CHECK,
        })
    }

    /// Waits until [`default_gateway`] may say something else: after a change, a loss of
    /// notifications, or a minute. What happens within a tenth of a second is told of together.
    /// Cancel-safe.
    pub async fn changed(&mut self) {
        while !self.news {
            let Some(subscription) = &mut self.subscription else {
                match subscribe() {
                    Ok(subscription) => {
                        self.subscription = Some(subscription);
                        self.news = true;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "netlink failed, trying again");
                        tokio::time::sleep(RETRY).await;
                    }
                }
                continue;
            };
            let message = subscription.messages.next();
            match tokio::time::timeout_at(self.check, message).await {
                Ok(Some((message, _))) => self.news = matters(&message.payload),
                Ok(None) => self.subscription = None,
                Err(_) => self.news = true,
            }
        }
        tokio::time::sleep(SETTLE).await;
        if let Some(subscription) = &mut self.subscription {
            while let Some(Some(_)) = subscription.messages.next().now_or_never() {}
        }
        self.news = false;
        self.check = Instant::now() + CHECK;
    }
}

fn subscribe() -> Result<Subscription, Error> {
    // With its interface or its address a route goes without a word.
    Subscription::open(&[
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
    ])
}

fn matters(payload: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
    match payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
        ) => route.header.destination_prefix_length == 0,
        NetlinkPayload::InnerMessage(_) | NetlinkPayload::Overrun(_) => true,
        _ => false,
    }
}

async fn vrf_table(handle: &Handle, name: &str) -> Option<u32> {
    let links = handle.link().get().match_name(name.to_owned()).execute();
    let links: Vec<LinkMessage> = links.try_collect().await.ok()?;
    let attributes = links.into_iter().flat_map(|link| link.attributes);
    let infos = attributes.filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let vrfs = infos.flatten().filter_map(|info| match info {
        LinkInfo::Data(InfoData::Vrf(vrf)) => Some(vrf),
        _ => None,
    });
    vrfs.flatten().find_map(|info| match info {
        InfoVrf::TableId(table) => Some(table),
        _ => None,
    })
}

/// The gateway and interface of the best default route in a table.
fn best(routes: &[RouteMessage], wanted: u32) -> Option<(IpAddr, u32)> {
    let of_table = routes.iter().filter(|route| {
        let table = route.attributes.iter().find_map(|it| match it {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
        let dead = RouteFlags::Dead | RouteFlags::Linkdown;
        table.unwrap_or_else(|| route.header.table.into()) == wanted
            && route.header.destination_prefix_length == 0
            && route.header.kind == RouteType::Unicast
            && !route.header.flags.intersects(dead)
    });
    let hops = of_table.flat_map(|route| {
        let metric = route.attributes.iter().find_map(|it| match it {
            RouteAttribute::Priority(metric) => Some(*metric),
            _ => None,
        });
        let hops = next_hops(&route.attributes).into_iter();
        hops.map(move |hop| (metric.unwrap_or_default(), hop))
    });
    hops.min().map(|(_, hop)| hop)
}

fn next_hops(attributes: &[RouteAttribute]) -> Vec<(IpAddr, u32)> {
    let one = |attributes: &[RouteAttribute], interface| {
        let gateway = attributes.iter().find_map(|it| match it {
            RouteAttribute::Gateway(RouteAddress::Inet(v4))
            | RouteAttribute::Via(RouteVia::Inet(v4)) => Some(IpAddr::V4(*v4)),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6))
            | RouteAttribute::Via(RouteVia::Inet6(v6)) => Some(IpAddr::V6(*v6)),
            _ => None,
        })?;
        Some((gateway, interface))
    };
    let several = attributes.iter().filter_map(|it| match it {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    let dead = RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown;
    let several = several
        .flatten()
        .filter(|hop: &&RouteNextHop| !hop.flags.intersects(dead))
        .filter_map(|hop| one(&hop.attributes, hop.interface_index));
    let interface = attributes.iter().find_map(|it| match it {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    let single = interface.and_then(|interface| one(attributes, interface));
    several.chain(single).collect()
}

fn failed(step: &'static str, error: &dyn std::fmt::Display) -> Error {
    Error::Netlink {
        step,
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(table: u8, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut route = RouteMessage::default();
        route.header.table = table;
        route.header.kind = RouteType::Unicast;
        route.attributes = attributes;
        route
    }

    fn via(last: u8, interface: u32, metric: u32) -> Vec<RouteAttribute> {
        vec![
            RouteAttribute::Gateway(RouteAddress::Inet([10, 0, 0, last].into())),
            RouteAttribute::Oif(interface),
            RouteAttribute::Priority(metric),
        ]
    }

    fn at(last: u8, interface: u32) -> (IpAddr, u32) {
        (IpAddr::from([10, 0, 0, last]), interface)
    }

    #[test]
    fn the_default_route_with_the_lowest_metric_counts() {
        let routes = [route(254, via(1, 2, 100)), route(254, via(9, 3, 50))];
        assert_eq!(best(&routes, 254), Some(at(9, 3)));
        let mut gone = routes.clone();
        gone[1].header.flags = RouteFlags::Linkdown;
        assert_eq!(best(&gone, 254), Some(at(1, 2)));
    }

    #[test]
    fn each_vrf_has_its_own() {
        let mut far = via(7, 4, 0);
        far.push(RouteAttribute::Table(1000));
        let routes = [route(254, via(1, 2, 100)), route(252, far)];
        assert_eq!(best(&routes, 254), Some(at(1, 2)));
        assert_eq!(best(&routes, 1000), Some(at(7, 4)));
        assert_eq!(best(&routes, 252), None);
    }

    #[test]
    fn of_several_next_hops_the_lowest_that_lives_counts() {
        let hop = |last, interface, flags| {
            let mut hop = RouteNextHop::default();
            hop.interface_index = interface;
            hop.flags = flags;
            hop.attributes = via(last, 0, 0);
            hop
        };
        let hops = vec![
            hop(3, 5, RouteNextHopFlags::empty()),
            hop(2, 4, RouteNextHopFlags::Dead),
        ];
        let routes = [route(254, vec![RouteAttribute::MultiPath(hops)])];
        assert_eq!(best(&routes, 254), Some(at(3, 5)));
    }

    #[test]
    fn a_route_without_a_gateway_and_one_to_elsewhere_do_not_count() {
        let mut near = route(254, via(1, 2, 0));
        near.header.destination_prefix_length = 8;
        let direct = route(254, vec![RouteAttribute::Oif(2)]);
        let mut barred = route(254, via(1, 2, 0));
        barred.header.kind = RouteType::Unreachable;
        assert_eq!(best(&[near, direct, barred], 254), None);
    }
}
