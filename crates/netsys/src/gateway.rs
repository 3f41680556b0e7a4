//! Where the default routes of this host go.
//!
//! A host may have as many routes as the Internet, which change all the time. What is not about default
//! routes the kernel does not tell, and what is read of a table ends with them where that can be.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _};
use std::net::IpAddr;
use std::time::Duration;

use futures::TryStreamExt as _;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoVrf, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop,
    RouteNextHopFlags, RouteType, RouteVia,
};
use rtnetlink::new_connection;
use socket2::Socket;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::filter::route_news;
use crate::socket::register;
use crate::{Error, interface_name, option};

mod dump;
mod looks;

use dump::{default_routes, messages, open, read, table_of};
use looks::Looks;

/// How long it may take to read the routes.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for more of the same news.
const SETTLE: Duration = Duration::from_millis(100);

/// Routes are read for at most one part of so many of the time.
const SHARE: u32 = 20;

/// How long to wait before netlink is opened or read again after it failed.
const RETRY: Duration = Duration::from_millis(500);

/// Longer than any notification.
const NOTIFICATION: usize = 32 * 1024;

/// The next hop of a default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its address; of an IPv4 route it may be an IPv6 one (RFC 5549).
    pub address: IpAddr,
    /// The name of the interface that it is behind.
    pub interface: String,
}

/// Follows the gateway that most packets of a family go to: that of the default route with the lowest
/// metric in the main table, or in that of a VRF; of several next hops the one with the lowest address.
#[derive(Debug)]
pub struct GatewayWatch {
    v6: bool,
    vrf: Option<String>,
    /// `None` after it broke.
    subscription: Option<AsyncFd<Socket>>,
    /// The interfaces that the default routes depend on, with what was told of their state.
    links: BTreeMap<u32, Option<u32>>,
    /// Something has happened since it was last told of.
    news: bool,
    /// When the routes should be read though nothing was told.
    check: Instant,
    looks: Looks,
    /// How long it took to read the routes.
    took: Duration,
}

impl GatewayWatch {
    /// Begins. What changes from now on is told of. Sees the network namespace of the calling thread.
    /// Must be called within a tokio runtime.
    pub fn start(v6: bool, vrf: Option<&str>) -> Result<Self, Error> {
        Ok(Self {
            v6,
            vrf: vrf.map(str::to_owned),
            subscription: Some(subscribe(v6)?),
            links: BTreeMap::new(),
            news: false,
            check: Instant::now(),
            looks: Looks::new(v6),
            took: Duration::ZERO,
        })
    }

    /// The gateway at present. `None` if there is no such route, or only one without a gateway.
    pub async fn gateway(&mut self) -> Result<Option<Gateway>, Error> {
        let begun = Instant::now();
        let read = tokio::time::timeout(TIMEOUT, self.read()).await;
        let read = read.unwrap_or_else(|elapsed| Err(failed("dump of routes", &elapsed)));
        let now = Instant::now();
        if read.is_ok() {
            self.took = now - begun;
        }
        let gateway = read.map(|(routes, table)| {
            let (address, index) = best(&routes, table)?;
            let interface = interface_name(index)?;
            Some(Gateway { address, interface })
        });
        self.check = now + self.looks.after(&gateway);
        gateway
    }

    /// The default routes, of this table and perhaps of others.
    async fn read(&mut self) -> Result<(Vec<RouteMessage>, u32), Error> {
        let mut table = RouteHeader::RT_TABLE_MAIN.into();
        let mut links = Vec::new();
        if let Some(vrf) = &self.vrf {
            match vrf_of(vrf).await? {
                Some((index, of_vrf)) => {
                    table = of_vrf;
                    links.push(index);
                }
                None => return Ok((Vec::new(), table)),
            }
        }
        let routes = default_routes(self.v6, table).await;
        let routes = routes.map_err(|error| failed("dump of routes", &error))?;
        links.extend(routes.iter().flat_map(|it| interfaces(&it.attributes)));
        let before = std::mem::take(&mut self.links);
        let known = |index| (index, before.get(&index).copied().flatten());
        self.links = links.into_iter().map(known).collect();
        Ok((routes, table))
    }

    /// Waits until [`gateway`](Self::gateway) may say something else: after a change, a loss of
    /// notifications, or some minutes. What happens within a tenth of a second is told of together, and
    /// more if it takes long to read the routes. Cancel-safe.
    pub async fn changed(&mut self) {
        while !self.news {
            if self.subscription.is_none() {
                match subscribe(self.v6) {
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
            }
            match tokio::time::timeout_at(self.check, self.hear()).await {
                Ok(()) => {}
                Err(_) => self.news = true,
            }
        }
        tokio::time::sleep(SETTLE.max(self.took * SHARE)).await;
        // What is told meanwhile is read with the rest.
        let mut buffer = vec![0; NOTIFICATION];
        while let Some(subscription) = &self.subscription
            && let Some(length) = take(subscription, &mut buffer)
        {
            self.learn(buffer.get(..length).unwrap_or_default());
        }
        self.news = false;
    }

    /// Takes in the next notifications. Cancel-safe.
    async fn hear(&mut self) {
        let Some(subscription) = &self.subscription else {
            return;
        };
        let mut buffer = vec![0; NOTIFICATION];
        match read(subscription, &mut buffer).await {
            Ok(length) => {
                self.news |= self.learn(buffer.get(..length).unwrap_or_default());
            }
            // Some were lost.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.news = true,
            Err(error) => {
                tracing::warn!(%error, "netlink failed, opening it again");
                self.subscription = None;
            }
        }
    }

    /// True if the notifications mean that the gateway may be another.
    fn learn(&mut self, notifications: &[u8]) -> bool {
        let mut news = false;
        for message in messages(notifications).filter_map(|message| message.decode()) {
            news |= match message {
                RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                    route.header.destination_prefix_length == 0
                }
                // With its interface or its address an IPv4 route goes without a word.
                RouteNetlinkMessage::DelAddress(_) => true,
                RouteNetlinkMessage::DelLink(link) => {
                    self.links.remove(&link.header.index).is_some()
                }
                RouteNetlinkMessage::NewLink(link) => {
                    let flags = link.header.flags.bits();
                    let known = self.links.get_mut(&link.header.index);
                    known.is_some_and(|known| known.replace(flags) != Some(flags))
                }
                _ => false,
            };
        }
        news
    }
}

/// What is told of: default routes, lost addresses, and links. All else the kernel keeps to itself.
fn subscribe(v6: bool) -> Result<AsyncFd<Socket>, Error> {
    let subscribe = || -> io::Result<AsyncFd<Socket>> {
        let socket = open()?;
        socket.attach_filter(&route_news())?;
        let groups: &[libc::c_uint] = if v6 {
            &[libc::RTNLGRP_LINK, libc::RTNLGRP_IPV6_ROUTE]
        } else {
            &[
                libc::RTNLGRP_LINK,
                libc::RTNLGRP_IPV4_ROUTE,
                libc::RTNLGRP_IPV4_IFADDR,
            ]
        };
        for group in groups {
            let group = libc::c_int::try_from(*group).map_err(|_| ErrorKind::InvalidInput)?;
            option::set(
                &socket,
                libc::SOL_NETLINK,
                libc::NETLINK_ADD_MEMBERSHIP,
                &group,
            )?;
        }
        register(socket)
    };
    subscribe().map_err(|error| failed("subscribe", &error))
}

/// What has been told already; `None` if that is all.
fn take(subscription: &AsyncFd<Socket>, buffer: &mut [u8]) -> Option<usize> {
    match subscription.get_ref().read(buffer) {
        Ok(length) => Some(length),
        // What was lost is read next.
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Some(0),
        // That all is taken shows again when it is waited for.
        Err(_) => None,
    }
}

/// The index and the table of a VRF; `None` if there is none of that name.
async fn vrf_of(name: &str) -> Result<Option<(u32, u32)>, Error> {
    let (connection, handle, _) = new_connection().map_err(|error| failed("open", &error))?;
    let mut task = JoinSet::new();
    task.spawn(connection);
    let links = handle.link().get().match_name(name.to_owned()).execute();
    // That there is no such link is an error, too.
    let links: Vec<LinkMessage> = links.try_collect().await.unwrap_or_default();
    Ok(links.into_iter().find_map(|link| {
        let index = link.header.index;
        let infos = link.attributes.into_iter().filter_map(|it| match it {
            LinkAttribute::LinkInfo(infos) => Some(infos),
            _ => None,
        });
        let vrfs = infos.flatten().filter_map(|info| match info {
            LinkInfo::Data(InfoData::Vrf(vrf)) => Some(vrf),
            _ => None,
        });
        let table = vrfs.flatten().find_map(|info| match info {
            InfoVrf::TableId(table) => Some(table),
            _ => None,
        })?;
        Some((index, table))
    }))
}

/// The gateway and interface of the best default route in a table.
fn best(routes: &[RouteMessage], wanted: u32) -> Option<(IpAddr, u32)> {
    let of_table = routes.iter().filter(|route| {
        let dead = RouteFlags::Dead | RouteFlags::Linkdown;
        table_of(route) == wanted
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

/// The interfaces that a route goes over.
fn interfaces(attributes: &[RouteAttribute]) -> Vec<u32> {
    let interfaces = attributes.iter().flat_map(|it| match it {
        RouteAttribute::Oif(index) => vec![*index],
        RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
        _ => Vec::new(),
    });
    interfaces.collect()
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
