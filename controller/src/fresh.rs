//! A complete and current list of the Services, for a leader that begins.
//!
//! A watch may lag behind what the last leader wrote; this list does not. It also finds Services
//! that stopped being load balancers while no controller ran: the watch does not show those.

use std::collections::HashSet;

use herald_api::slim::{self, Service};
use herald_model::ServiceKey;
use kube::Client;
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;

use crate::{request, status};

const PAGE: u32 = 500;

/// The Services that are load balancers or bear a trace of ours, and the version of the list.
#[derive(Debug)]
pub(crate) struct Fresh {
    /// The Services.
    pub(crate) services: Vec<Service>,
    /// Those that cannot be read.
    pub(crate) malformed: HashSet<ServiceKey>,
    /// The resource version of the list.
    pub(crate) version: String,
}

/// Lists the Services page by page.
pub(crate) async fn list(client: &Client) -> kube::Result<Fresh> {
    let api = Api::<DeserializeGuard<Service>>::all(client.clone());
    let mut params = ListParams::default().limit(PAGE);
    let mut fresh = Fresh {
        services: Vec::new(),
        malformed: HashSet::new(),
        version: String::new(),
    };
    loop {
        let page = api.list(&params).await?;
        if fresh.version.is_empty() {
            fresh.version = page.metadata.resource_version.unwrap_or_default();
        }
        for object in page.items {
            match object.0 {
                Ok(mut service) => {
                    if request::is_load_balancer(&service) || status::is_marked(&service) {
                        slim::trim(&mut service);
                        fresh.services.push(service);
                    }
                }
                Err(invalid) => {
                    let (namespace, name) = (invalid.metadata.namespace, invalid.metadata.name);
                    tracing::warn!(
                        event = "malformedService",
                        namespace,
                        name,
                        error = invalid.error,
                        "the service cannot be read: it keeps what it has until it is corrected"
                    );
                    if let (Some(namespace), Some(name)) = (namespace, name) {
                        fresh.malformed.insert(ServiceKey::new(namespace, name));
                    }
                }
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(fresh),
        }
    }
}
