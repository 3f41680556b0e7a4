//! Random pools, Services and histories, from a universe that is small enough for conflicts.

use std::net::IpAddr;

use herald_ipam::{Backend, FamilyPolicy, Pool, Port, Protocol, Request, ServiceAllocation};
use herald_model::{Cidr, IpFamily, LabelSelector, Labels, ServiceKey, parse_addresses};
use proptest::prelude::*;
use proptest::sample::select;

/// What pools are cut from. The first has a .255 and a .0 in its middle.
const BLOCKS: [&str; 6] = [
    "10.0.0.254-10.0.1.1",
    "10.0.2.0/30",
    "10.0.3.8/31",
    "2001:db8::/126",
    "2001:db8:1::/127",
    "10.0.4.255/32",
];
const POOLS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// The pools are replaced and everything is converged, before and after.
    Pools(Vec<Pool>),
    /// The pools are replaced, whatever is still to be converged.
    Edit(Vec<Pool>),
    Update(Box<Request>),
    Release(ServiceKey),
    /// Converge one of those that are to be converged again.
    Revisit(prop::sample::Index),
    Restart(prop::sample::Index),
}

pub(crate) fn pools() -> impl Strategy<Value = Vec<Pool>> {
    let owners = prop::collection::vec(0_usize..=POOLS.len(), BLOCKS.len());
    let settings = prop::collection::vec(
        (
            prop::bool::weighted(0.8),
            prop::bool::weighted(0.3),
            prop::option::weighted(0.4, allocation()),
        ),
        POOLS.len(),
    );
    (owners, settings).prop_map(|(owners, settings)| {
        let all = POOLS.iter().zip(settings).enumerate();
        all.filter_map(
            |(index, (name, (auto_assign, avoid_buggy_ips, allocation)))| {
                let cidrs: Vec<Cidr> = BLOCKS
                    .iter()
                    .zip(&owners)
                    .filter(|&(_, &owner)| owner == index)
                    .flat_map(|(block, _)| parse_addresses(block).expect("a block"))
                    .collect();
                (!cidrs.is_empty()).then(|| Pool {
                    name: (*name).to_owned(),
                    cidrs,
                    auto_assign,
                    avoid_buggy_ips,
                    allocation,
                })
            },
        )
        .collect()
    })
}

fn allocation() -> impl Strategy<Value = ServiceAllocation> {
    let namespaces = prop::option::of(select(vec![vec!["x"], vec!["x", "y"], vec![]]));
    (0..3, namespaces, any::<bool>()).prop_map(|(priority, namespaces, selects)| {
        let web = Labels::from([("app".to_owned(), "web".to_owned())]);
        let selector = LabelSelector::new(web, Vec::new());
        ServiceAllocation {
            priority,
            namespaces: namespaces.map(|names| names.into_iter().map(str::to_owned).collect()),
            service_selectors: selects.then_some(selector).into_iter().collect(),
        }
    })
}

pub(crate) fn key() -> impl Strategy<Value = ServiceKey> {
    (
        select(vec!["x", "y"]),
        select(vec!["p", "q", "r", "s", "t"]),
    )
        .prop_map(|(namespace, name)| ServiceKey::new(namespace, name))
}

fn families() -> impl Strategy<Value = (Vec<IpFamily>, FamilyPolicy)> {
    use FamilyPolicy::{PreferDualStack, RequireDualStack, SingleStack};
    use IpFamily::{V4, V6};
    select(vec![
        (vec![V4], SingleStack),
        (vec![V4], SingleStack),
        (vec![V6], SingleStack),
        (vec![V4], PreferDualStack),
        (vec![V4], RequireDualStack),
        (vec![V4, V6], PreferDualStack),
        (vec![V6, V4], PreferDualStack),
        (vec![V4, V6], RequireDualStack),
    ])
}

fn wishes() -> impl Strategy<Value = (Vec<IpAddr>, Option<String>)> {
    let addresses = select(vec![
        vec!["10.0.1.1"],
        vec!["10.0.1.0"],
        vec!["10.0.2.2"],
        vec!["2001:db8::1"],
        vec!["2001:db8::1", "10.0.2.2"],
        vec!["10.0.3.8", "2001:db8:1::1"],
        vec!["192.0.2.1"],
    ])
    .prop_map(|texts| texts.iter().map(|t| t.parse().expect("address")).collect());
    let pool = select(vec!["a", "b", "nowhere"]).prop_map(str::to_owned);
    (
        prop_oneof![4 => Just(Vec::new()), 1 => addresses],
        prop::option::weighted(0.15, pool),
    )
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let backend = select(vec![
        Backend::Cluster,
        Backend::Cluster,
        Backend::LocalSelector("app=a".to_owned()),
        Backend::LocalWithoutSelector,
    ]);
    let sharing = prop::option::of(select(vec!["k", "k", "l"]).prop_map(str::to_owned));
    let ports = prop::collection::btree_set(select(vec![80_u16, 443, 53]), 1..=2);
    (
        key(),
        any::<bool>(),
        families(),
        wishes(),
        sharing,
        backend,
        ports,
    )
        .prop_map(
            |(
                service,
                web,
                (families, family_policy),
                (addresses, pool),
                sharing_key,
                backend,
                ports,
            )| {
                let port = |number| Port {
                    protocol: Protocol::Tcp,
                    number,
                };
                let label = web.then(|| ("app".to_owned(), "web".to_owned()));
                Request {
                    service,
                    labels: label.into_iter().collect(),
                    families,
                    family_policy,
                    addresses,
                    pool,
                    sharing_key,
                    backend,
                    ports: ports.into_iter().map(port).collect(),
                    current: Vec::new(),
                }
            },
        )
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => pools().prop_map(Step::Pools),
        1 => pools().prop_map(Step::Edit),
        12 => request().prop_map(|request| Step::Update(Box::new(request))),
        4 => key().prop_map(Step::Release),
        6 => any::<prop::sample::Index>().prop_map(Step::Revisit),
        1 => any::<prop::sample::Index>().prop_map(Step::Restart),
    ]
}

/// What statuses may claim.
pub(crate) fn claims() -> impl Strategy<Value = Vec<IpAddr>> {
    let v4 = select(vec!["10.0.0.254", "10.0.1.0", "10.0.2.1", "192.0.2.9"]);
    let v6 = select(vec!["2001:db8::", "2001:db8::1"]);
    (prop::option::of(v4), prop::option::of(v6)).prop_map(|(v4, v6)| {
        let texts = v4.into_iter().chain(v6);
        texts.map(|text| text.parse().expect("address")).collect()
    })
}
