//! JSON of which there is not too much: read into memory, small values take a hundred times as much
//! as their text.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Values in one object, each of some 600 bytes at most: ten times as many as a pool of 5,000 ranges
/// has.
pub(super) const MOST_VALUES: usize = 50_000;

/// An object of at most [`MOST_VALUES`] values.
#[derive(Debug)]
pub(super) struct Bounded(pub(super) Value);

impl<'de> Deserialize<'de> for Bounded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut left = MOST_VALUES;
        Counted(&mut left).deserialize(deserializer).map(Self)
    }
}

/// Reads a value as long as there are some left.
struct Counted<'a>(&'a mut usize);

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.0.checked_sub(1) else {
            let error = format!("an object has more than {MOST_VALUES} values");
            return Err(D::Error::custom(error));
        };
        *self.0 = left;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Counted(self.0))? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(field) = fields.next_key::<String>()? {
            values.insert(field, fields.next_value_seed(Counted(self.0))?);
        }
        Ok(values.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_within_the_bound_is_read_as_it_is() {
        let all =
            json!({ "a": [null, true, -1, u64::MAX, 1.5, "x", "\n\"", [], {}], "b": { "c": {} } });
        let Bounded(read) = serde_json::from_str(&all.to_string()).expect("JSON");
        assert_eq!(read, all);
        let most = vec![0; MOST_VALUES - 1];
        let Bounded(read) = serde_json::from_value(json!(most)).expect("not too many");
        assert_eq!(read.as_array().map(Vec::len), Some(MOST_VALUES - 1));
    }

    #[test]
    fn what_is_above_the_bound_is_refused_wherever_it_is() {
        for piece in ["0", "{}", "[]", "{\"\":{\"\":0}}", "\"\"", "[[[]]]"] {
            let text = format!("{{\"a\":[{}0]}}", format!("{piece},").repeat(MOST_VALUES));
            let error = serde_json::from_str::<Bounded>(&text).expect_err("too many");
            let error = error.to_string();
            assert!(error.contains("more than 50000 values"), "{piece}: {error}");
        }
        let fields: Vec<_> = (0..MOST_VALUES).map(|n| format!("\"{n}\":0")).collect();
        let text = format!("{{{}}}", fields.join(","));
        serde_json::from_str::<Bounded>(&text).expect_err("too many");
    }
}
