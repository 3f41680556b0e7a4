//! What the API server can take at best: a client that does nothing but write statuses.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{LONG, REST};
use crate::args::{Part, Plan};
use crate::contestant::Contestant;
use crate::figures::Figures;
use crate::observer::Observer;
use crate::setup;

/// Measures the plain writer on a lab of its own, under the same eyes as the contestants.
pub(crate) async fn plain_writer(plan: &Plan, figures: &mut Figures) -> Result<()> {
    if !plan.has(Part::Allocation) {
        return Ok(());
    }
    let lab = Contestant::Herald.lab().await?;
    let mut observer = Observer::start(&lab);
    setup::services(&lab, 0..plan.services).await?;
    tokio::time::sleep(REST).await;

    let api: Api<Service> = Api::namespaced(lab.client(), "default");
    let start = Instant::now();
    stream::iter(0..plan.services)
        .map(|number| {
            let api = api.clone();
            async move {
                let address = Ipv4Addr::from(0xc0a8_4000 + u32::try_from(number)?);
                let ingress = json!([{"ip": address, "ipMode": "VIP"}]);
                let status = json!({"status": {"loadBalancer": {"ingress": ingress}}});
                let name = setup::name(number);
                api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
                    .await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(setup::AT_ONCE)
        .try_collect::<()>()
        .await?;
    let last = observer.all(plan.services, LONG).await?;
    let took = last.duration_since(start).as_secs_f64();
    figures.add_writer(f64::from(u32::try_from(plan.services)?) / took);
    lab.down().await
}
