//! What Herald's annotations say. One that cannot be understood must not take addresses off the
//! network: it is told, and the object is used without it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use kube::{Resource, ResourceExt as _};

use super::problem::Fault;

/// The annotations of an object while they are read.
pub(super) struct Annotations<'a> {
    values: &'a BTreeMap<String, String>,
    remarks: Vec<Fault>,
}

impl<'a> Annotations<'a> {
    pub(super) fn of<K: Resource>(object: &'a K) -> Self {
        Self {
            values: object.annotations(),
            remarks: Vec::new(),
        }
    }

    /// What was wrong with those that were read.
    pub(super) fn remarks(self) -> Vec<Fault> {
        self.remarks
    }

    /// The value of an annotation, if it is there and `parse` understands it.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(self.values.get(key)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.ignore(key, message);
                None
            }
        }
    }

    /// Tells why what an annotation says is not used.
    pub(super) fn ignore(&mut self, key: &str, message: impl Into<String>) {
        let field = format!("metadata.annotations[{key}]");
        self.remarks.push(Fault::new(field, message));
    }

    /// A whole number within a range, in decimal digits only.
    pub(super) fn number<T>(&mut self, key: &str, range: &RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        self.parsed(key, |text| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| text.parse().ok()).flatten();
            number
                .filter(|number| range.contains(number))
                .ok_or_else(|| {
                    let (first, last) = (range.start(), range.end());
                    format!("invalid number {text:?}: use {first} to {last}")
                })
        })
    }

    /// `true` or `false`; absent is false.
    pub(super) fn flag(&mut self, key: &str) -> bool {
        let flag = self.parsed(key, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("invalid value {text:?}: use true or false")),
        });
        flag.unwrap_or_default()
    }
}
