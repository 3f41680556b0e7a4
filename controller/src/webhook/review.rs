//! What the API server asks a webhook, and the answers: `AdmissionReview` of `admission.k8s.io/v1` and
//! `ConversionReview` of `apiextensions.k8s.io`, cut down to what is read and written.

mod bounded;
mod conversion;

use herald_api::config::admission::{Change, Object, Verdict};
use herald_api::conversion as peers;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use bounded::Bounded;
pub(super) use conversion::{Converted, convert};

const VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// The version of `BGPPeer` that is stored.
const STORED_PEER: &str = "metallb.io/v1beta2";
/// The API server drops what is more than some 4 KiB of warnings.
const MOST_WARNINGS: usize = 8;
/// Bytes of a text: one that names much of a large object is cut.
const LONGEST_TEXT: usize = 4 << 10;

/// Why a message is no question that can be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReviewError {
    /// Not JSON, or not of the form of the kind.
    #[error("cannot read the review: {0}")]
    Malformed(String),
    /// Another kind or version.
    #[error("this is {kind:?} of {version:?}: send {wanted_kind} of {wanted_version}")]
    Kind {
        /// Its kind.
        kind: String,
        /// Its version.
        version: String,
        /// The kind that is answered.
        wanted_kind: &'static str,
        /// The versions that are answered.
        wanted_version: String,
    },
    /// A review without a question is an answer.
    #[error("the review has no request")]
    NoRequest,
    /// An object that nobody here has rules for.
    #[error("there are no rules for {kind:?} of {group:?}: correct the rules of the webhook")]
    NoRules {
        /// Its kind.
        kind: String,
        /// Its group.
        group: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<R> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<R>,
}

/// The question of an `AdmissionReview`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Admission {
    /// Names the question in the answer.
    pub(super) uid: String,
    kind: GroupKind,
    operation: String,
    object: Option<Bounded>,
    old_object: Option<Bounded>,
}

#[derive(Debug, Deserialize)]
struct GroupKind {
    #[serde(default)]
    group: String,
    kind: String,
}

/// What an admission is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Question {
    /// This change.
    Change(Box<Change>),
    /// Nothing that there is a rule for.
    Nothing,
    /// An object that does not have the fields of its kind.
    Unreadable(String),
}

/// The question of a review of one of these versions, and which it is of.
fn read<R: DeserializeOwned>(
    body: &[u8],
    versions: &[&str],
    kind: &'static str,
) -> Result<(String, R), ReviewError> {
    let review: Review<R> =
        serde_json::from_slice(body).map_err(|error| ReviewError::Malformed(error.to_string()))?;
    if review.kind != kind || !versions.contains(&review.api_version.as_str()) {
        return Err(ReviewError::Kind {
            kind: review.kind,
            version: review.api_version,
            wanted_kind: kind,
            wanted_version: versions.join(" or "),
        });
    }
    let request = review.request.ok_or(ReviewError::NoRequest)?;
    Ok((review.api_version, request))
}

/// Reads an `AdmissionReview`.
pub(super) fn admission(body: &[u8]) -> Result<Admission, ReviewError> {
    read(body, &[VERSION], KIND).map(|(_, request)| request)
}

impl Admission {
    /// The kind of the object, as in `IPAddressPool`.
    pub(super) fn kind(&self) -> &str {
        &self.kind.kind
    }

    /// The change that is asked about.
    pub(super) fn question(self) -> Result<Question, ReviewError> {
        let GroupKind { group, kind } = self.kind;
        let read = |object: Option<Bounded>| match (group.as_str(), object) {
            ("metallb.io", Some(Bounded(object))) => object_of(&kind, object),
            ("metallb.io", None) => Some(Err("the review has no object".to_owned())),
            _ => None,
        };
        let no_rules = || ReviewError::NoRules {
            kind: kind.clone(),
            group: group.clone(),
        };
        let change = match self.operation.as_str() {
            "CREATE" => match read(self.object).ok_or_else(no_rules)? {
                Ok(new) => Change::Create(new),
                Err(error) => return Ok(Question::Unreadable(error)),
            },
            "UPDATE" => {
                let old = read(self.old_object).ok_or_else(no_rules)?;
                match (old, read(self.object).ok_or_else(no_rules)?) {
                    (Ok(old), Ok(new)) => {
                        let (old, new) = (Box::new(old), Box::new(new));
                        Change::Update { old, new }
                    }
                    // What was stored could not be used; what is to be is as good as new.
                    (Err(_), Ok(new)) => Change::Create(new),
                    (_, Err(error)) => return Ok(Question::Unreadable(error)),
                }
            }
            "DELETE" => match read(self.old_object).ok_or_else(no_rules)? {
                Ok(old) => Change::Delete(old),
                Err(_) => return Ok(Question::Nothing),
            },
            _ => return Ok(Question::Nothing),
        };
        Ok(Question::Change(Box::new(change)))
    }
}

/// The object of this kind; `None` for a kind without rules.
fn object_of(kind: &str, mut raw: Value) -> Option<Result<Object, String>> {
    fn typed<K: DeserializeOwned>(raw: Value, wrap: fn(K) -> Object) -> Result<Object, String> {
        let read = serde_json::from_value(raw).map(wrap);
        read.map_err(|error| format!("it does not have the fields of its kind: {error}"))
    }
    // Who set which field, and what was found: nothing is judged by it, and it may be much.
    if let Some(fields) = raw.as_object_mut() {
        fields.remove("status");
        let metadata = fields.get_mut("metadata").and_then(Value::as_object_mut);
        metadata.and_then(|metadata| metadata.remove("managedFields"));
    }
    Some(match kind {
        "IPAddressPool" => typed(raw, Object::Pool),
        "L2Advertisement" => typed(raw, Object::L2Advertisement),
        "BGPAdvertisement" => typed(raw, Object::BgpAdvertisement),
        // The old version, if the API server was not told to send the new one.
        "BGPPeer" => match peers::bgp_peer(raw, STORED_PEER) {
            Ok(raw) => typed(raw, |peer| Object::BgpPeer(Box::new(peer))),
            Err(error) => Err(error.to_string()),
        },
        "BFDProfile" => typed(raw, Object::BfdProfile),
        "Community" => typed(raw, Object::Community),
        _ => return None,
    })
}

/// The answer to the admission `uid`.
pub(super) fn answer(uid: &str, verdict: &Verdict) -> Value {
    let mut response = json!({ "uid": uid, "allowed": verdict.errors.is_empty() });
    if !verdict.errors.is_empty() {
        response["status"] = json!({
            "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": cut(&verdict.errors.join("; ")),
        });
    }
    if !verdict.warnings.is_empty() {
        let told = verdict.warnings.iter().take(MOST_WARNINGS);
        let mut warnings: Vec<_> = told.map(|text| cut(text)).collect();
        let more = verdict.warnings.len() - warnings.len();
        if more > 0 {
            warnings.push(format!("and {more} warnings more"));
        }
        response["warnings"] = json!(warnings);
    }
    json!({ "apiVersion": VERSION, "kind": KIND, "response": response })
}

/// The text, or as much of it as is sent.
fn cut(text: &str) -> String {
    if text.len() <= LONGEST_TEXT {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(LONGEST_TEXT);
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests;
