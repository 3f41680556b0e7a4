//! What a peer has from the messages that it was sent. It reads no more than this crate writes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::update::Writer;
use crate::wire::{
    Attributes, Family, Framer, Message, Negotiated, Prefix, RefreshKind, RouteRefresh,
};

const MP_REACH: u8 = 14;
const MP_UNREACH: u8 = 15;

/// The attributes of a route by number, with the next hop but without the prefixes of
/// `MP_REACH_NLRI`.
pub(crate) type Told = BTreeMap<u8, Vec<u8>>;

#[derive(Debug)]
pub(crate) struct Rib {
    framer: Framer,
    pub(crate) routes: BTreeMap<Prefix, Told>,
    /// Routes that are dropped unless they are told again before the end of the refresh.
    stale: BTreeMap<Family, BTreeSet<Prefix>>,
    pub(crate) ends: Vec<Family>,
    pub(crate) updates: usize,
    /// Withdrawals of what was not there.
    pub(crate) needless: usize,
}

impl Rib {
    pub(crate) fn new() -> Self {
        let mut framer = Framer::new();
        framer.set_limit(65_535);
        Self {
            framer,
            routes: BTreeMap::new(),
            stale: BTreeMap::new(),
            ends: Vec::new(),
            updates: 0,
            needless: 0,
        }
    }

    /// Takes bytes of a stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.framer.push(bytes);
        while let Some(raw) = self.framer.next().unwrap() {
            match Message::decode(raw).unwrap() {
                Message::Update(body) => self.update(&body),
                Message::RouteRefresh(refresh) => self.refresh(refresh),
                _ => {}
            }
        }
    }

    fn update(&mut self, body: &[u8]) {
        self.updates += 1;
        let (withdrawn, rest) = counted(body);
        let (attributes, announced) = counted(rest);
        if body.len() == 4 {
            self.ends.push(Family::Ipv4Unicast);
        }
        let mut told = Told::new();
        let mut reached = prefixes(Family::Ipv4Unicast, announced);
        let mut gone = prefixes(Family::Ipv4Unicast, withdrawn);
        let mut rest = attributes;
        while let [flags, number, tail @ ..] = rest {
            let (value, tail) = if flags & 0x10 == 0 {
                tail[1..].split_at(tail[0].into())
            } else {
                counted(tail)
            };
            rest = tail;
            match *number {
                MP_REACH => {
                    let family = family_of(value);
                    let end = 4 + usize::from(value[3]);
                    told.insert(MP_REACH, value[..end].to_vec());
                    reached.extend(prefixes(family, &value[end + 1..]));
                }
                MP_UNREACH => {
                    let family = family_of(value);
                    if value.len() == 3 {
                        self.ends.push(family);
                    }
                    gone.extend(prefixes(family, &value[3..]));
                }
                number => {
                    told.insert(number, value.to_vec());
                }
            }
        }
        for prefix in gone {
            self.needless += usize::from(self.routes.remove(&prefix).is_none());
        }
        for prefix in reached {
            for stale in self.stale.values_mut() {
                stale.remove(&prefix);
            }
            self.routes.insert(prefix, told.clone());
        }
    }

    /// Drops what was not told again in an enhanced refresh (RFC 7313 section 4).
    fn refresh(&mut self, refresh: RouteRefresh) {
        let family = refresh.family().unwrap();
        match refresh.kind {
            RefreshKind::Begin => {
                assert!(self.ends.contains(&family), "RFC 7313: after End-of-RIB");
                let all = self.routes.keys().copied();
                let all = all.filter(|prefix| Family::of(*prefix) == family);
                self.stale.insert(family, all.collect());
            }
            RefreshKind::End => {
                for prefix in self.stale.remove(&family).unwrap() {
                    self.routes.remove(&prefix);
                }
            }
            other => panic!("not written by this crate: {other:?}"),
        }
    }
}

/// What a peer has of a route that was announced with these attributes.
pub(crate) fn told(negotiated: &Negotiated, attributes: &Attributes, prefix: Prefix) -> Told {
    let mut bytes = Vec::new();
    let writer = Writer::new(negotiated);
    assert_eq!(writer.announce(attributes, [prefix], &mut bytes), Ok(1));
    let mut rib = Rib::new();
    rib.push(&bytes);
    rib.routes.remove(&prefix).unwrap()
}

fn counted(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (len, rest) = bytes.split_first_chunk().unwrap();
    rest.split_at(u16::from_be_bytes(*len).into())
}

fn family_of(value: &[u8]) -> Family {
    Family::from_codes(u16::from_be_bytes([value[0], value[1]]), value[2]).unwrap()
}

fn prefixes(family: Family, mut bytes: &[u8]) -> Vec<Prefix> {
    let mut prefixes = Vec::new();
    while let [len, tail @ ..] = bytes {
        let (address, rest) = tail.split_at(usize::from(*len).div_ceil(8));
        let mut octets = [0; 16];
        octets[..address.len()].copy_from_slice(address);
        let address = match family {
            Family::Ipv4Unicast => IpAddr::V4(Ipv4Addr::from(*octets.first_chunk::<4>().unwrap())),
            Family::Ipv6Unicast => IpAddr::V6(Ipv6Addr::from(octets)),
        };
        prefixes.push(Prefix::new(address, *len).unwrap());
        bytes = rest;
    }
    prefixes
}
