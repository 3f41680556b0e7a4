//! What the kinds of status objects differ in.

use std::fmt::{Debug, Display};
use std::hash::Hash;

use herald_model::NodeName;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A kind of objects by which each node says something of each of several things. An object is found
/// by its labels; its name is the API server's choice.
pub(crate) trait Kind: Debug + Clone + Default + Send + Sync + 'static {
    /// The object.
    type Object: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + Sync
        + 'static;
    /// What an object is about.
    type Subject: Clone + Debug + Display + Ord + Hash + Send + Sync + 'static;
    /// What is said of it.
    type Content: Clone + Debug + Eq + Send + Sync + 'static;

    /// The name of the kind.
    const KIND: &'static str;
    /// Its name in paths.
    const PLURAL: &'static str;
    /// The label that has the node.
    const NODE_LABEL: &'static str;
    /// True if one node at a time has something to say of a subject: it deletes what others said.
    const EXCLUSIVE: bool;

    /// A new object of the node `me`, which says nothing yet.
    fn object(me: &NodeName, subject: &Self::Subject) -> Self::Object;

    /// What an object is about; `None` if it is none of ours.
    fn read(object: &Self::Object) -> Option<Read<Self>>;

    /// The status as a merge patch.
    fn status(me: &NodeName, subject: &Self::Subject, content: &Self::Content) -> Value;
}

/// What an object has.
#[derive(Debug)]
pub(crate) struct Read<K: Kind> {
    pub(crate) subject: K::Subject,
    /// The node that it is of.
    pub(crate) node: String,
    pub(crate) said: Said<K::Content>,
}

/// What the status of an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said<C> {
    Nothing,
    This(C),
    /// Of another node or subject than the labels; that cannot be changed.
    Other,
}
