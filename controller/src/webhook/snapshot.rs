//! What is stored, read anew for every question: the watches may lag behind what the same user wrote a
//! moment ago, and replicas that do not lead need no memory for it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use herald_api::config::admission::{Change, Object};
use herald_api::config::{Objects, Resources};
use herald_api::kinds::{
    BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement,
};
use herald_api::slim::{self, Service};
use herald_model::Labels;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{Api, ListParams};
use kube::core::{DeserializeGuard, NamespaceResourceScope, ObjectMeta};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

const PAGE: u32 = 500;

/// The objects that an answer depends on.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// The configuration, with the labels of nodes and namespaces if they matter.
    pub(super) resources: Resources,
    /// The Services of type `LoadBalancer`, if the change may touch them.
    pub(super) services: Vec<Service>,
    /// The namespace is being deleted, and all that is in it.
    pub(super) ending: bool,
}

/// True if the change may take an address or an announcer from a Service.
pub(super) fn touches_services(change: &Change) -> bool {
    let announces = !matches!(
        change.object(),
        Object::BfdProfile(_) | Object::Community(_)
    );
    announces && !matches!(change, Change::Create(_))
}

/// Reads what the answer to a change depends on.
pub(super) async fn read(
    client: &Client,
    namespace: &str,
    change: &Change,
) -> kube::Result<Snapshot> {
    let services = touches_services(change);
    let nodes = services
        || matches!(
            change.object(),
            Object::BgpAdvertisement(_) | Object::BgpPeer(_)
        );
    let (pools, l2, bgp, peers, profiles, communities, nodes, namespaces, services) = futures::try_join!(
        objects::<IPAddressPool>(client, namespace),
        objects::<L2Advertisement>(client, namespace),
        objects::<BGPAdvertisement>(client, namespace),
        objects::<BGPPeer>(client, namespace),
        objects::<BFDProfile>(client, namespace),
        objects::<Community>(client, namespace),
        async {
            if !nodes {
                return Ok(Vec::new());
            }
            metadata::<Node>(client).await
        },
        async {
            if !services {
                return Ok(Vec::new());
            }
            metadata::<Namespace>(client).await
        },
        async {
            if !services {
                return Ok(Vec::new());
            }
            load_balancers(client).await
        },
    )?;
    let ending = namespaces.iter().any(|meta: &ObjectMeta| {
        meta.name.as_deref() == Some(namespace) && meta.deletion_timestamp.is_some()
    });
    let resources = Resources {
        pools,
        l2_advertisements: l2,
        bgp_advertisements: bgp,
        bgp_peers: peers,
        bfd_profiles: profiles,
        communities,
        password_secrets: BTreeMap::new(),
        namespaces: labels(namespaces),
        nodes: labels(nodes),
    };
    Ok(Snapshot {
        resources,
        services,
        ending,
    })
}

async fn objects<K>(client: &Client, namespace: &str) -> kube::Result<Objects<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + Debug,
{
    let api = Api::<DeserializeGuard<K>>::namespaced(client.clone(), namespace);
    let mut objects = Objects::default();
    for object in api.list(&ListParams::default()).await?.items {
        match object.0 {
            Ok(object) => objects.apply(object),
            Err(invalid) => {
                let name = invalid.metadata.name.unwrap_or_default();
                objects.malformed(name, invalid.error);
            }
        }
    }
    Ok(objects)
}

/// The metadata of all objects of a kind.
async fn metadata<K>(client: &Client) -> kube::Result<Vec<ObjectMeta>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let api = Api::<K>::all(client.clone());
    let mut params = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = api.list_metadata(&params).await?;
        all.extend(page.items.into_iter().map(|object| object.metadata));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

fn labels(objects: Vec<ObjectMeta>) -> BTreeMap<String, Labels> {
    let objects = objects.into_iter();
    let named = objects.filter_map(|meta| Some((meta.name?, meta.labels.unwrap_or_default())));
    named.collect()
}

/// One that cannot be read is left out: nothing can be said of it.
async fn load_balancers(client: &Client) -> kube::Result<Vec<Service>> {
    let api = Api::<DeserializeGuard<Service>>::all(client.clone());
    let mut params = ListParams::default()
        .fields("spec.type=LoadBalancer")
        .limit(PAGE);
    let mut services = Vec::new();
    loop {
        let page = api.list(&params).await?;
        let readable = page.items.into_iter().filter_map(|object| object.0.ok());
        services.extend(readable.map(|mut service| {
            slim::trim(&mut service);
            service
        }));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(services),
        }
    }
}
