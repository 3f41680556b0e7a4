//! `BGPAdvertisement`s (compat.md 1.3 and 1.8, rules 5, 6, 7 and 9).

use std::collections::{BTreeMap, BTreeSet};

use herald_announce::bgp::{Advertisement, Community, Peers};
use herald_model::{Cidr, IpFamily, Labels};

use super::community::resolve;
use crate::annotations::{
    BGP_AS_PATH_PREPEND, BGP_LINK_BANDWIDTH, BGP_LOCAL_HOST_ROUTES, BGP_MAX_NODES, BGP_MED,
};
use crate::config::advertised::PoolSelection;
use crate::config::annotated::Annotations;
use crate::config::keep::Parsed;
use crate::config::nodes::NodeSet;
use crate::config::pool::ParsedPool;
use crate::config::problem::Fault;
use crate::config::selectors::{distinct_names, strictly_distinct_selectors};
use crate::kinds;

/// How often our number may be put before a path beside the one time that it has to be there.
const LONGEST_PREPEND: u8 = 16;
/// What MetalLB allows; more of them may not fit into one message.
const MOST_COMMUNITIES: usize = 63;

/// An advertisement that is valid, before its pools are looked up.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::config) struct ParsedAdvertisement {
    pub(in crate::config) pools: PoolSelection,
    pub(in crate::config) advertisement: Advertisement,
    pub(super) nodes: NodeSet,
    /// What routes it makes.
    scopes: Vec<Scope>,
    remarks: Vec<Fault>,
}

/// The routes that an advertisement makes of the addresses of a pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) struct Scope {
    pool: String,
    family: IpFamily,
    length: u8,
}

/// Who has set which local preference for routes of a length.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) struct Preference {
    local_pref: u32,
    peers: Peers,
    nodes: NodeSet,
}

/// What an advertisement is checked against.
pub(super) struct Context<'a> {
    pub(super) pools: &'a BTreeMap<String, ParsedPool>,
    pub(super) aliases: &'a BTreeMap<String, Community>,
    pub(super) nodes: &'a BTreeMap<String, Labels>,
}

impl Parsed for ParsedAdvertisement {
    /// The preferences of all routes, each with the advertisement that was first.
    type Claims = BTreeMap<Scope, BTreeMap<Preference, String>>;

    /// Rule 7: a route that goes to one peer from one node has one local preference. Advertisements
    /// for selected Services only are compared when such a Service is announced.
    fn claim(&self, claims: &mut Self::Claims) -> Result<(), Fault> {
        if !self.advertisement.service_selectors.is_empty() {
            return Ok(());
        }
        let own = Preference {
            local_pref: self.advertisement.local_pref.unwrap_or_default(),
            peers: self.advertisement.peers.clone(),
            nodes: self.nodes.clone(),
        };
        for scope in &self.scopes {
            let others = claims.get(scope).into_iter().flatten();
            for (other, owner) in others {
                if other.local_pref != own.local_pref
                    && other.peers.overlap(&own.peers)
                    && other.nodes.meets(&own.nodes)
                {
                    // Misspelt as MetalLB has it: tools look for the text.
                    let message = format!(
                        "invalid local preference {}: local preferernce {} was already set for the \
                         same type of BGP update by BGPAdvertisement {owner:?}: both announce pool \
                         {:?} with length {} for {}; use the same localPref, or other peers, nodes \
                         or aggregation lengths",
                        own.local_pref, other.local_pref, scope.pool, scope.length, scope.family
                    );
                    return Err(Fault::new("spec.localPref", message));
                }
            }
        }
        for scope in &self.scopes {
            let owners = claims.entry(scope.clone()).or_default();
            let owner = owners.entry(own.clone());
            owner.or_insert_with(|| self.advertisement.name.clone());
        }
        Ok(())
    }

    fn remarks(&self) -> &[Fault] {
        &self.remarks
    }
}

impl ParsedAdvertisement {
    pub(super) fn parse(
        name: &str,
        object: &kinds::BGPAdvertisement,
        context: &Context<'_>,
    ) -> Result<Self, Fault> {
        let spec = &object.spec;
        let peers = distinct_names("spec.peers", &spec.peers)?;
        let mut annotations = Annotations::of(object);
        let mut advertisement = Advertisement {
            name: name.to_owned(),
            aggregation_length: length(
                "spec.aggregationLength",
                spec.aggregation_length,
                IpFamily::V4,
            )?,
            aggregation_length_v6: length(
                "spec.aggregationLengthV6",
                spec.aggregation_length_v6,
                IpFamily::V6,
            )?,
            local_pref: Some(spec.local_pref).filter(|preference| *preference != 0),
            communities: BTreeSet::new(),
            node_selectors: strictly_distinct_selectors(
                "spec.nodeSelectors",
                &spec.node_selectors,
            )?,
            service_selectors: strictly_distinct_selectors(
                "spec.serviceSelectors",
                &spec.service_selectors,
            )?,
            peers: Peers::named(peers.into_iter().map(str::to_owned).collect()),
            med: annotations.number(BGP_MED, &(0..=u32::MAX)),
            prepend: annotations
                .number(BGP_AS_PATH_PREPEND, &(0..=LONGEST_PREPEND))
                .unwrap_or_default(),
            link_bandwidth: annotations.flag(BGP_LINK_BANDWIDTH),
            local_host_routes: annotations.flag(BGP_LOCAL_HOST_ROUTES),
            max_nodes: annotations
                .number(BGP_MAX_NODES, &(1..=u32::MAX))
                .and_then(std::num::NonZeroU32::new),
        };
        let pools = PoolSelection::parse(&spec.ip_address_pools, &spec.ip_address_pool_selectors)?;
        let mut scopes = BTreeSet::new();
        for (pool, parsed) in pools.of(context.pools) {
            for (entry, cidrs) in &parsed.entries {
                covers(&advertisement, entry, cidrs)?;
                scopes.extend(cidrs.iter().map(|cidr| Scope {
                    pool: pool.clone(),
                    family: cidr.family(),
                    length: advertisement.length(cidr.family()),
                }));
            }
        }
        // Names may be defined later, so they are looked for last and hide nothing that is wrong.
        advertisement.communities = communities(spec, context.aliases)?;
        Ok(Self {
            pools,
            nodes: NodeSet::selected(&advertisement.node_selectors, context.nodes),
            scopes: scopes.into_iter().collect(),
            remarks: annotations.remarks(),
            advertisement,
        })
    }
}

fn communities(
    spec: &kinds::BGPAdvertisementSpec,
    aliases: &BTreeMap<String, Community>,
) -> Result<BTreeSet<Community>, Fault> {
    const FIELD: &str = "spec.communities";
    let communities = resolve(&distinct_names(FIELD, &spec.communities)?, aliases)?;
    if communities.len() > MOST_COMMUNITIES {
        let message = format!(
            "invalid number of communities {}: use at most {MOST_COMMUNITIES}",
            communities.len()
        );
        return Err(Fault::new(FIELD, message));
    }
    Ok(communities)
}

/// An error if every prefix of a pool's entry is longer than the routes would be. A range is all
/// right if its widest prefix is not.
fn covers(advertisement: &Advertisement, entry: &str, cidrs: &[Cidr]) -> Result<(), Fault> {
    let Some(widest) = cidrs.iter().min_by_key(|cidr| cidr.prefix_len()) else {
        return Ok(());
    };
    let length = advertisement.length(widest.family());
    if widest.prefix_len() <= length {
        return Ok(());
    }
    let field = match widest.family() {
        IpFamily::V4 => "spec.aggregationLength",
        IpFamily::V6 => "spec.aggregationLengthV6",
    };
    let message = format!(
        "invalid aggregation length {length}: prefix {} in this pool is more specific than the \
         aggregation length for addresses {entry}",
        widest.prefix_len()
    );
    Err(Fault::new(field, message))
}

/// A length of at least 1 for IPv4, as in the CRD, and of 0 for IPv6, where it has no limit.
fn length(field: &str, length: i32, family: IpFamily) -> Result<u8, Fault> {
    let shortest = match family {
        IpFamily::V4 => 1,
        IpFamily::V6 => 0,
    };
    let valid = u8::try_from(length).ok();
    let valid = valid.filter(|length| (shortest..=family.bits()).contains(length));
    valid.ok_or_else(|| {
        let longest = family.bits();
        let message = format!(
            "invalid aggregation length {length}: use {shortest} to {longest} for {family}"
        );
        Fault::new(field, message)
    })
}
