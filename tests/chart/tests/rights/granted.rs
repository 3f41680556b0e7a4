//! What a service account may do, and what of that was done.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, ensure};
use herald_chart::Rendered;
use herald_lab::{Lab, Request, User, eventually};
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use serde_json::Value;

use crate::PATIENCE;

/// One verb for one resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    /// Only there, if there is one.
    namespace: Option<String>,
    group: String,
    resource: String,
    /// Only the object of this name, if there is one.
    name: Option<String>,
    verb: String,
}

/// As `kubectl auth can-i` takes it, but for the name and the namespace.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resource, subresource) = self.parts();
        write!(f, "{} {resource}", self.verb)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !subresource.is_empty() {
            write!(f, "/{subresource}")?;
        }
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

impl Right {
    /// The same for all names and in all namespaces.
    pub(crate) fn of_any_name(self) -> Self {
        Self {
            name: None,
            namespace: None,
            ..self
        }
    }

    fn parts(&self) -> (&str, &str) {
        let whole = self.resource.as_str();
        whole.split_once('/').unwrap_or((whole, ""))
    }

    fn to_attributes(&self) -> ResourceAttributes {
        let (resource, subresource) = self.parts();
        ResourceAttributes {
            namespace: self.namespace.clone(),
            group: Some(self.group.clone()),
            resource: Some(resource.to_owned()),
            subresource: Some(subresource.to_owned()),
            name: self.name.clone(),
            verb: Some(self.verb.clone()),
            ..ResourceAttributes::default()
        }
    }

    /// Whether the request, which was not denied, needed it.
    fn is_used_by(&self, request: &Request) -> bool {
        // What makes an object in passing needs both verbs, and is logged with one.
        let makes = ["patch", "update"].contains(&&*request.verb) && request.code() == 201;
        let verb = request.verb == self.verb || makes && self.verb == "create";
        let matches = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        verb && self.group == request.group()
            && self.resource == request.resource()
            && matches(&self.namespace, request.namespace())
            && matches(&self.name, request.name())
    }
}

/// The rights that the chart gives to a service account of its release.
pub(crate) fn rights(rendered: &Rendered, account: &str) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for binding in &rendered.objects {
        let kind = text(&binding["kind"]);
        if !kind.ends_with("RoleBinding") {
            continue;
        }
        let mut subjects = list(&binding["subjects"]);
        if !subjects.any(|subject| subject["name"] == account) {
            continue;
        }
        let namespace = (kind == "RoleBinding").then(|| text(&binding["metadata"]["namespace"]));
        let referred = |role: &&Value| {
            role["kind"] == binding["roleRef"]["kind"]
                && role["metadata"]["name"] == binding["roleRef"]["name"]
        };
        let roles = rendered.objects.iter().filter(referred);
        for rule in roles.flat_map(|role| list(&role["rules"])) {
            expand(rule, namespace.as_deref(), &mut all);
        }
    }
    all
}

fn expand(rule: &Value, namespace: Option<&str>, all: &mut BTreeSet<Right>) {
    let names: Vec<_> = list(&rule["resourceNames"])
        .map(|it| Some(text(it)))
        .collect();
    let names = if names.is_empty() { vec![None] } else { names };
    for group in list(&rule["apiGroups"]) {
        for resource in list(&rule["resources"]) {
            for verb in list(&rule["verbs"]) {
                all.extend(names.iter().map(|name| Right {
                    namespace: namespace.map(str::to_owned),
                    group: text(group),
                    resource: text(resource),
                    name: name.clone(),
                    verb: text(verb),
                }));
            }
        }
    }
}

/// Waits until the API server, which learns of roles a moment later than it stores them, grants the
/// rights.
pub(crate) async fn in_force(lab: &Lab, user: User, rights: &BTreeSet<Right>) -> Result<()> {
    for right in rights {
        let what = format!("{user:?} to have the right to {right}");
        eventually(PATIENCE, &what, async || {
            Ok(lab.may(user, right.to_attributes()).await?.then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Nothing was denied, and all rights were used.
pub(crate) fn check(user: User, rights: &BTreeSet<Right>, requests: &[Request]) -> Result<()> {
    ensure!(!rights.is_empty(), "{user:?} has no rights");
    let denied = denied(requests);
    ensure!(denied.is_empty(), "{user:?} was denied {denied:#?}");
    let unused: Vec<_> = rights
        .iter()
        .filter(|right| !requests.iter().any(|request| right.is_used_by(request)))
        .map(ToString::to_string)
        .collect();
    ensure!(
        unused.is_empty(),
        "of {} rights of {user:?} nothing has used {unused:#?}",
        rights.len()
    );
    Ok(())
}

/// What was not allowed.
pub(crate) fn denied(requests: &[Request]) -> Vec<String> {
    let denied = requests.iter().filter(|request| request.code() == 403);
    denied
        .map(|request| format!("{} {}", request.verb, request.uri))
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
