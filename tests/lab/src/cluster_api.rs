//! The lab's Kubernetes objects: manifests, pods, Services, nodes.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, PostParams};

use crate::builder::binding_of;
use crate::cluster::pki::User;
use crate::cluster::pod::{Pod, PodBuilder};
use crate::cluster::service::ServiceBuilder;
use crate::cluster::{apply, node};
use crate::lab::Lab;
use crate::wait::eventually;

/// For what is done within a second, on a machine that has more to do.
const PATIENCE: Duration = Duration::from_mins(1);

impl Lab {
    /// Applies (server-side, by force) every document of a YAML text, in order.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<Vec<DynamicObject>> {
        apply::apply(&self.client, yaml).await
    }

    /// Applies every `.yaml` file of a folder of CRDs, and waits until they are served.
    pub async fn apply_crds(&self, dir: &Path) -> Result<()> {
        apply::apply_crds(&self.client, dir).await
    }

    /// Takes the rights from Herald's service accounts that the lab gave them, and waits until they are
    /// gone: they have all until then, and from then on those of the bindings that tests make, as far
    /// as the API server [knows](Self::may) of them.
    pub async fn take_rights(&self) -> Result<()> {
        let bindings: Api<ClusterRoleBinding> = Api::all(self.client());
        for account in ["controller", "speaker"] {
            let params = DeleteParams::default();
            bindings.delete(&binding_of(account), &params).await?;
        }
        // Nobody gives it to them.
        let excess = ResourceAttributes {
            resource: Some("nodes".to_owned()),
            verb: Some("delete".to_owned()),
            ..ResourceAttributes::default()
        };
        for user in [User::Controller, User::Speaker] {
            let what = format!("{user:?} to have lost the rights of the lab");
            eventually(PATIENCE, &what, async || {
                let may = self.may(user, excess.clone()).await?;
                Ok((!may).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// True if the API server would let `user` do this. It learns of roles and bindings a moment after
    /// it has stored them.
    pub async fn may(&self, user: User, what: ResourceAttributes) -> Result<bool> {
        let question = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name().to_owned()),
                resource_attributes: Some(what),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client());
        let answer = reviews.create(&PostParams::default(), &question).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// A pod with a backend, to be created.
    pub fn pod(&self, name: &str) -> PodBuilder<'_> {
        PodBuilder::new(self, name)
    }

    /// Pods `<app>-0`, `<app>-1`, … of an app, one on each of the nodes named.
    pub async fn backends(&self, app: &str, nodes: &[&str]) -> Result<Vec<Pod>> {
        let pods = nodes
            .iter()
            .enumerate()
            .map(|(i, node)| self.pod(&format!("{app}-{i}")).app(app).on(node).create());
        try_join_all(pods).await
    }

    /// A Service to be created: `LoadBalancer`, port 80, pods with the label `app: <name>`.
    pub fn service(&self, name: &str) -> ServiceBuilder<'_> {
        ServiceBuilder::new(self, name)
    }

    /// Sets a condition of a Node object, e.g. `Ready` or `NetworkUnavailable`.
    pub async fn set_node_condition(&self, name: &str, kind: &str, status: bool) -> Result<()> {
        node::set_condition(&self.client, &self.node(name)?.name, kind, status).await
    }
}
