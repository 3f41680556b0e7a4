//! What the API server writes down of the requests of Herald's service accounts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::json;

use super::pki::User;
use crate::lab::Lab;

/// A request, when it was answered or, of a watch, when its answer began.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// What was to be done, as rights name it: `get`, `list`, `watch`, `create`, `update`, `patch`,
    /// `delete`.
    pub verb: String,
    #[serde(rename = "requestURI")]
    /// The path, with its query.
    pub uri: String,
    user: Requester,
    object_ref: Option<ObjectRef>,
    response_status: Option<Status>,
}

#[derive(Debug, Clone, Deserialize)]
struct Requester {
    username: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    api_group: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

impl Request {
    /// The group of the API; empty for the core group and for paths that are no resources.
    pub fn group(&self) -> &str {
        self.object().map_or("", |object| &object.api_group)
    }

    /// The resource as rights name it, e.g. `services/status`; empty for paths that are none.
    pub fn resource(&self) -> String {
        match self.object() {
            Some(object) if object.subresource.is_empty() => object.resource.clone(),
            Some(object) => format!("{}/{}", object.resource, object.subresource),
            None => String::new(),
        }
    }

    /// The namespace; empty for objects of the cluster, and where all are asked for.
    pub fn namespace(&self) -> &str {
        self.object().map_or("", |object| &object.namespace)
    }

    /// The object's name; empty if it was not in the path, nor chosen by a field selector.
    pub fn name(&self) -> &str {
        self.object().map_or("", |object| &object.name)
    }

    /// The status of the answer; 0 if it is not known.
    pub fn code(&self) -> u16 {
        self.response_status
            .as_ref()
            .map_or(0, |status| status.code)
    }

    fn object(&self) -> Option<&ObjectRef> {
        self.object_ref.as_ref()
    }
}

/// Writes the policy: of every request of Herald's accounts that it was there, and how it ended.
pub(crate) fn write_policy(dir: &Path) -> Result<PathBuf> {
    let file = dir.join("audit-policy.json");
    let users = [User::Controller.name(), User::Speaker.name()];
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": users}, {"level": "None"}],
    });
    fs::write(&file, policy.to_string())?;
    Ok(file)
}

/// Where the API server writes.
pub(crate) fn log(logs: &Path) -> PathBuf {
    logs.join("audit.log")
}

impl Lab {
    /// What `user`, the controller or the speaker, has asked of the API server so far; for labs that
    /// are [`audited`](crate::LabBuilder::audited). The API server writes before it answers.
    pub fn requests(&self, user: User) -> Result<Vec<Request>> {
        let file = log(&self.logs());
        let text = fs::read_to_string(&file)
            .with_context(|| format!("{}: is the lab audited?", file.display()))?;
        // The last line may be under way.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut requests = Vec::new();
        for line in whole.lines() {
            let request: Request = serde_json::from_str(line).with_context(|| line.to_owned())?;
            if request.user.username == user.name() {
                requests.push(request);
            }
        }
        Ok(requests)
    }
}
