//! The objects of one kind as a watch tells them.

use std::collections::BTreeMap;

use kube::Resource;

/// The objects of one kind by name, readable or not. A malformed object is kept by its name, so
/// that it is told apart from a deleted one and its last good version stays in use.
#[derive(Debug, Clone)]
pub struct Objects<K> {
    by_name: BTreeMap<String, Result<K, String>>,
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Self {
            by_name: BTreeMap::new(),
        }
    }
}

impl<K: Resource> Objects<K> {
    /// Adds or replaces an object that can be read.
    pub fn apply(&mut self, object: K) {
        let name = object.meta().name.clone().unwrap_or_default();
        self.by_name.insert(name, Ok(object));
    }

    /// Notes that the object `name` is there and cannot be read, and why.
    pub fn malformed(&mut self, name: impl Into<String>, error: impl Into<String>) {
        self.by_name.insert(name.into(), Err(error.into()));
    }

    /// Removes the object `name`.
    pub fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// Removes all objects, as a watch does before it lists them anew.
    pub fn clear(&mut self) {
        self.by_name.clear();
    }

    /// The objects in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Result<&K, &str>)> {
        self.by_name
            .iter()
            .map(|(name, object)| (name.as_str(), object.as_ref().map_err(String::as_str)))
    }
}

impl<K: Resource> FromIterator<K> for Objects<K> {
    fn from_iter<I: IntoIterator<Item = K>>(objects: I) -> Self {
        let mut all = Self::default();
        objects.into_iter().for_each(|object| all.apply(object));
        all
    }
}
