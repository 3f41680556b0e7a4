//! Tells the API server whom to trust: the field `caBundle` of the webhooks and of the conversion; and
//! whom to ask for a conversion, if nobody has said it.
//!
//! Only these fields are applied, under a name of its own, so that whoever applies the rest of the
//! objects (Helm, Argo CD, Flux) neither sees them as theirs nor takes them away.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use herald_runtime::lease::Leadership;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    ServiceReference, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt as _};
use serde_json::{Value, json};

use super::keeper::in_time;
use crate::webhook::server::CONVERT;

/// Who has the field.
const MANAGER: &str = "herald-webhook-certificate";
/// The only kind with two versions.
const CRD: &str = "bgppeers.metallb.io";
/// The reviews that are understood.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];
const PORT: i32 = 443;

/// The objects that are to trust the certificate.
pub(in crate::webhook) struct Targets {
    pub(in crate::webhook) client: Client,
    /// The `ValidatingWebhookConfiguration`; `None`: somebody else looks after all that others made.
    pub(in crate::webhook) configuration: Option<String>,
    /// The names that the certificate is for: a client of another name is not ours.
    pub(in crate::webhook) names: Vec<String>,
    /// Namespace and name of the Service to convert by where nobody has said by whom; `None` leaves
    /// that to others, and takes back what was said before.
    pub(in crate::webhook) converter: Option<(String, String)>,
}

/// Whom a webhook or a conversion calls.
struct Callee<'a> {
    service: Option<(&'a str, &'a str)>,
    url: Option<&'a str>,
    bundle: Option<&'a [u8]>,
}

impl Targets {
    /// Has all that is there trust `bundle`. What is not there need not. True if one had to be told.
    pub(super) async fn trust(
        &self,
        bundle: &str,
        leadership: &Leadership,
    ) -> Result<bool, String> {
        let mut told = false;
        if let Some(name) = &self.configuration {
            let configurations = Api::<ValidatingWebhookConfiguration>::all(self.client.clone());
            let rights = "validatingwebhookconfigurations (get, patch)";
            let found = in_time(configurations.get_opt(name), rights).await?;
            if let Some(patch) = found.and_then(|found| webhooks(&found, &self.names, bundle)) {
                self.apply(&configurations, name, &patch, rights, leadership)
                    .await?;
                told = true;
            }
        }
        let crds = Api::<apiextensions::CustomResourceDefinition>::all(self.client.clone());
        let rights = "customresourcedefinitions (get, patch)";
        let found = in_time(crds.get_opt(CRD), rights).await?;
        if let Some(patch) = found.and_then(|found| self.conversion(&found, bundle)) {
            self.apply(&crds, CRD, &patch, rights, leadership).await?;
            told = true;
        }
        Ok(told)
    }

    async fn apply<K>(
        &self,
        api: &Api<K>,
        name: &str,
        patch: &Value,
        rights: &str,
        leadership: &Leadership,
    ) -> Result<(), String>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        if !leadership.is_leader() {
            return Err("another replica leads now".to_owned());
        }
        let params = PatchParams::apply(MANAGER).force();
        in_time(api.patch(name, &params, &Patch::Apply(patch)), rights).await?;
        tracing::info!(
            event = "certificateTrusted",
            kind = %K::kind(&()),
            name,
            "told the API server which authorities to trust"
        );
        Ok(())
    }
}

/// What to apply to the configuration; `None` if it is right.
fn webhooks(
    found: &ValidatingWebhookConfiguration,
    names: &[String],
    bundle: &str,
) -> Option<Value> {
    let webhooks = found.webhooks.iter().flatten();
    let ours: Vec<_> = webhooks
        .filter(|webhook| Callee::of_webhook(&webhook.client_config).is_ours(names))
        .collect();
    let right =
        |client: &WebhookClientConfig| Callee::of_webhook(client).bundle == Some(bundle.as_bytes());
    if ours.iter().all(|webhook| right(&webhook.client_config)) {
        return None;
    }
    let encoded = STANDARD.encode(bundle);
    // All of them: what the next apply leaves out is taken away.
    let webhooks: Vec<_> = ours
        .iter()
        .map(|webhook| json!({ "name": webhook.name, "clientConfig": { "caBundle": encoded } }))
        .collect();
    Some(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": found.name_any() },
        "webhooks": webhooks,
    }))
}

impl Targets {
    /// What to apply to the CRD; `None` if it is right, or others have it converted without us.
    fn conversion(
        &self,
        found: &apiextensions::CustomResourceDefinition,
        bundle: &str,
    ) -> Option<Value> {
        let encoded = STANDARD.encode(bundle);
        let applied = |spec: Value| {
            json!({
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": { "name": found.name_any() },
                "spec": spec,
            })
        };
        let conversion = found.spec.conversion.as_ref();
        let by_webhook = conversion.filter(|conversion| conversion.strategy == "Webhook");
        let nobodys = by_webhook.is_none() || is_of(found, MANAGER);
        match (&self.converter, by_webhook) {
            (Some((namespace, name)), _) if nobodys => {
                let wanted = apiextensions::CustomResourceConversion {
                    strategy: "Webhook".to_owned(),
                    webhook: Some(apiextensions::WebhookConversion {
                        client_config: Some(apiextensions::WebhookClientConfig {
                            ca_bundle: Some(ByteString(bundle.as_bytes().to_vec())),
                            service: Some(apiextensions::ServiceReference {
                                namespace: namespace.clone(),
                                name: name.clone(),
                                path: Some(CONVERT.to_owned()),
                                port: Some(PORT),
                            }),
                            url: None,
                        }),
                        conversion_review_versions: REVIEWS.map(str::to_owned).to_vec(),
                    }),
                };
                (conversion != Some(&wanted)).then(|| applied(json!({ "conversion": wanted })))
            }
            // Taken back: what is applied no more goes.
            (None, Some(_)) if nobodys => Some(applied(json!({}))),
            (_, Some(conversion)) if self.configuration.is_some() => {
                let client = conversion.webhook.as_ref()?.client_config.as_ref()?;
                let callee = Callee::of_conversion(client);
                if !callee.is_ours(&self.names) || callee.bundle == Some(bundle.as_bytes()) {
                    return None;
                }
                let client = json!({ "caBundle": encoded });
                Some(applied(
                    json!({ "conversion": { "webhook": { "clientConfig": client } } }),
                ))
            }
            _ => None,
        }
    }
}

/// True if this manager says how the objects are converted.
fn is_of(found: &apiextensions::CustomResourceDefinition, manager: &str) -> bool {
    let mut managers = found.metadata.managed_fields.iter().flatten();
    managers.any(|entry| {
        let fields = entry.fields_v1.as_ref();
        let strategy = "/f:spec/f:conversion/f:strategy";
        entry.manager.as_deref() == Some(manager)
            && fields.is_some_and(|fields| fields.0.pointer(strategy).is_some())
    })
}

impl<'a> Callee<'a> {
    fn of_webhook(client: &'a WebhookClientConfig) -> Self {
        let service =
            |service: &'a ServiceReference| (service.namespace.as_str(), service.name.as_str());
        Self {
            service: client.service.as_ref().map(service),
            url: client.url.as_deref(),
            bundle: client.ca_bundle.as_ref().map(|bytes| bytes.0.as_slice()),
        }
    }

    fn of_conversion(client: &'a apiextensions::WebhookClientConfig) -> Self {
        let service = client.service.as_ref();
        Self {
            service: service.map(|it| (it.namespace.as_str(), it.name.as_str())),
            url: client.url.as_deref(),
            bundle: client.ca_bundle.as_ref().map(|bytes| bytes.0.as_slice()),
        }
    }

    /// True if it is a server that has one of these names.
    fn is_ours(&self, names: &[String]) -> bool {
        let name = match (self.service, self.url) {
            (Some((namespace, name)), _) => format!("{name}.{namespace}.svc"),
            (None, Some(url)) => host(url).unwrap_or_default().to_owned(),
            (None, None) => return false,
        };
        names.contains(&name)
    }
}

/// The host of `https://host:port/path`.
fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://")?;
    let authority = rest.split('/').next()?;
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => authority.split(':').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUNDLE: &str = "authorities";

    fn names() -> Vec<String> {
        vec!["hooks.ns.svc".to_owned(), "localhost".to_owned()]
    }

    fn configuration(clients: &[Value]) -> ValidatingWebhookConfiguration {
        let webhooks = clients.iter().enumerate().map(|(number, client)| {
            json!({ "name": format!("w{number}.metallb.io"), "clientConfig": client,
                    "sideEffects": "None", "admissionReviewVersions": ["v1"] })
        });
        let webhooks: Vec<_> = webhooks.collect();
        serde_json::from_value(json!({ "metadata": { "name": "c" }, "webhooks": webhooks }))
            .expect("a configuration")
    }

    /// Has it converted by us, or leaves that to others.
    fn targets(converter: bool) -> Targets {
        let service = tower::service_fn(async |_: http::Request<kube::client::Body>| {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("not asked"))
        });
        Targets {
            client: Client::new(service, "ns"),
            configuration: Some("c".to_owned()),
            names: names(),
            converter: converter.then(|| ("ns".to_owned(), "hooks".to_owned())),
        }
    }

    fn conversion(crd: &apiextensions::CustomResourceDefinition, converter: bool) -> Option<Value> {
        targets(converter).conversion(crd, BUNDLE)
    }

    /// A definition, and what of its conversion is ours.
    fn crd(conversion: &Value, ours: &Value) -> apiextensions::CustomResourceDefinition {
        let managed = json!([
            { "manager": "helm", "fieldsV1": { "f:spec": { "f:group": {} } } },
            { "manager": MANAGER, "fieldsV1": { "f:spec": { "f:conversion": ours } } },
        ]);
        serde_json::from_value(json!({
            "metadata": { "name": CRD, "managedFields": managed },
            "spec": { "group": "metallb.io", "scope": "Namespaced", "versions": [],
                      "names": { "kind": "BGPPeer", "plural": "bgppeers" }, "conversion": conversion },
        }))
        .expect("a definition")
    }

    #[test]
    fn only_our_webhooks_get_the_bundle_and_nothing_else_is_applied() {
        let encoded = STANDARD.encode(BUNDLE);
        let service = |namespace: &str, bundle: &str| {
            json!({ "service": { "namespace": namespace, "name": "hooks", "path": "/x" },
                    "caBundle": bundle })
        };
        let url = json!({ "url": "https://localhost:9443/x" });
        let found = configuration(&[service("ns", ""), service("other", ""), url.clone()]);
        let patch = webhooks(&found, &names(), BUNDLE).expect("two are wrong");
        assert_eq!(
            patch["webhooks"],
            json!([
                { "name": "w0.metallb.io", "clientConfig": { "caBundle": encoded } },
                { "name": "w2.metallb.io", "clientConfig": { "caBundle": encoded } },
            ])
        );
        // One that is right is applied with the others, or it would be taken away.
        let found = configuration(&[service("ns", &encoded), url]);
        let patch = webhooks(&found, &names(), BUNDLE).expect("one is wrong");
        assert_eq!(patch["webhooks"].as_array().map(Vec::len), Some(2));
        let found = configuration(&[service("ns", &encoded), service("other", "")]);
        assert_eq!(webhooks(&found, &names(), BUNDLE), None);
        assert_eq!(webhooks(&configuration(&[]), &names(), BUNDLE), None);
    }

    #[tokio::test]
    async fn a_conversion_that_others_have_set_gets_the_bundle_if_it_is_by_us() {
        let encoded = STANDARD.encode(BUNDLE);
        let by = |namespace: &str, bundle: &str| {
            let conversion = json!({ "strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"],
                "clientConfig": { "caBundle": bundle,
                    "service": { "namespace": namespace, "name": "hooks", "path": "/convert" } },
            }});
            crd(
                &conversion,
                &json!({ "f:webhook": { "f:clientConfig": { "f:caBundle": {} } } }),
            )
        };
        for converter in [true, false] {
            let patch = conversion(&by("ns", ""), converter).expect("wrong");
            assert_eq!(
                patch["spec"],
                json!({ "conversion": { "webhook": { "clientConfig": { "caBundle": encoded } } } })
            );
            assert_eq!(conversion(&by("ns", &encoded), converter), None);
            assert_eq!(conversion(&by("other", ""), converter), None);
            // Where somebody else injects the bundle it is theirs.
            let mut targets = targets(converter);
            targets.configuration = None;
            assert_eq!(targets.conversion(&by("ns", ""), BUNDLE), None);
        }
    }

    #[tokio::test]
    async fn where_nobody_has_said_who_converts_it_is_us_until_that_is_taken_back() {
        let nothing = json!({});
        let none = json!({ "strategy": "None" });
        for unsaid in [&none, &Value::Null] {
            assert_eq!(conversion(&crd(unsaid, &nothing), false), None);
            let patch = conversion(&crd(unsaid, &nothing), true).expect("nobody has");
            let set = &patch["spec"]["conversion"];
            assert_eq!(set["strategy"], "Webhook");
            assert_eq!(
                set["webhook"]["conversionReviewVersions"],
                json!(["v1", "v1beta1"])
            );
            let service =
                json!({ "namespace": "ns", "name": "hooks", "path": "/convert", "port": 443 });
            assert_eq!(set["webhook"]["clientConfig"]["service"], service);

            // Then it is ours: right, wrong, or to be taken back.
            let ours = json!({ "f:strategy": {} });
            assert_eq!(conversion(&crd(set, &ours), true), None);
            let mut old = set.clone();
            old["webhook"]["clientConfig"]["caBundle"] = json!("");
            old["webhook"]["clientConfig"]["service"]["namespace"] = json!("before");
            assert_eq!(conversion(&crd(&old, &ours), true), Some(patch.clone()));
            let back = conversion(&crd(set, &ours), false).expect("ours");
            assert_eq!(back["spec"], nothing);
        }
    }

    #[test]
    fn the_host_of_an_url() {
        for (url, expected) in [
            ("https://localhost:9443/convert", Some("localhost")),
            ("https://hooks.ns.svc/convert", Some("hooks.ns.svc")),
            ("https://[::1]:9443/x", Some("::1")),
            ("http://localhost/", None),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
    }
}
