//! An event before it is one.

use std::fmt::Write as _;

use jiff::Timestamp;
use kube::{Resource, ResourceExt as _};
use ring::digest::{Context, SHA256};

use super::Kind;

/// The object that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// For example `v1`.
    pub api_version: String,
    /// For example `Service`.
    pub kind: String,
    /// `None` for an object of the cluster: its events are in `default`.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
    /// The object's uid; `kubectl describe` finds events by it.
    pub uid: Option<String>,
}

impl Subject {
    /// The subject that `object` is.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespace: object.namespace(),
            name: object.name_any(),
            uid: object.uid(),
        }
    }
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Note {
    pub(super) subject: Subject,
    pub(super) kind: Kind,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) occasion: Occasion,
}

/// Who else may send the same event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Occasion {
    /// Nobody.
    Own,
    /// All processes that see this version of the object.
    Common(Option<i64>),
}

impl Note {
    /// The name of the event's object.
    pub(super) fn name(&self, now: Timestamp) -> String {
        let Self {
            subject,
            reason,
            message,
            occasion,
            ..
        } = self;
        let name = &subject.name;
        let Occasion::Common(generation) = occasion else {
            return format!("{name}.{:x}", now.as_nanosecond());
        };
        let mut context = Context::new(&SHA256);
        let generation = generation.map(|number| number.to_string());
        let parts = [Some(subject.kind.as_str()), subject.uid.as_deref()];
        let rest = [generation.as_deref(), Some(reason), Some(message.as_str())];
        for part in parts.into_iter().chain(rest) {
            context.update(part.unwrap_or_default().as_bytes());
            // No part has it, so none runs into the next.
            context.update(&[0]);
        }
        let digest = context.finish();
        let bytes = digest.as_ref().iter().take(8);
        bytes.fold(format!("{name}."), |mut name, byte| {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
            name
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::note;

    #[test]
    fn what_all_tell_has_one_name_and_what_one_tells_its_own() {
        let common = |n, message: &str, generation| {
            let note = Note {
                message: message.to_owned(),
                occasion: Occasion::Common(generation),
                ..note(n)
            };
            (note.name(Timestamp::UNIX_EPOCH), note.name(Timestamp::MAX))
        };
        let (name, later) = common(1, "bad", Some(1));
        assert_eq!(name, later, "whenever and by whomever it is told");
        assert!(name.starts_with("s1.") && name.len() == 19, "{name}");
        for other in [
            (2, "bad", Some(1)),
            (1, "worse", Some(1)),
            (1, "bad", Some(2)),
        ] {
            let (number, message, generation) = other;
            assert_ne!(common(number, message, generation).0, name, "{other:?}");
        }
        let own = note(1);
        assert_ne!(own.name(Timestamp::UNIX_EPOCH), own.name(Timestamp::MAX));
    }
}
