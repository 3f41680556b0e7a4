//! A `ConversionReview`: its objects are read, converted and written one after the other, so that
//! only their text is there at one time.

use std::fmt;

use herald_api::conversion;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::bounded::Bounded;
use super::{ReviewError, read};

/// The versions that are answered, each in its own: they have the same fields.
const VERSIONS: [&str; 2] = ["apiextensions.k8s.io/v1", "apiextensions.k8s.io/v1beta1"];
const KIND: &str = "ConversionReview";
/// Of an answer: twice what a question may have.
const MOST_BYTES: usize = 32 << 20;
/// Where the objects of a review are.
const OBJECTS: [&str; 2] = ["request", "objects"];

/// The question, but for the objects.
#[derive(Deserialize)]
struct Request {
    uid: String,
    #[serde(rename = "desiredAPIVersion")]
    desired: String,
    #[serde(rename = "objects")]
    _objects: IgnoredAny,
}

/// An answer to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::webhook) struct Converted {
    /// JSON.
    pub(in crate::webhook) text: Vec<u8>,
    /// Why the objects were not converted; the answer says it too.
    pub(in crate::webhook) outcome: Result<(), String>,
}

/// The answer to a `ConversionReview`: all of its objects in the version it wants, or why not.
pub(in crate::webhook) fn convert(body: &[u8]) -> Result<Converted, ReviewError> {
    let (version, request) = read::<Request>(body, &VERSIONS, KIND)?;
    let head = |result: serde_json::Value| {
        let response = json!({ "uid": request.uid, "result": result });
        let answer = json!({ "apiVersion": version, "kind": KIND, "response": response });
        answer.to_string()
    };
    // The list goes in before the two brackets that end the answer.
    let success = head(json!({ "status": "Success" }));
    let success = success.strip_suffix("}}").unwrap_or_default();
    let mut text = success.as_bytes().to_vec();
    text.extend_from_slice(b",\"convertedObjects\":");
    let mut writer = Writer {
        to: &request.desired,
        text,
        failure: None,
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let done = At(&OBJECTS, &mut writer).deserialize(&mut json);
    if let Some(failure) = writer.failure {
        let failed = head(json!({ "status": "Failure", "message": failure }));
        return Ok(Converted {
            text: failed.into_bytes(),
            outcome: Err(failure),
        });
    }
    done.map_err(|error| ReviewError::Malformed(error.to_string()))?;
    writer.text.extend_from_slice(b"}}");
    Ok(Converted {
        text: writer.text,
        outcome: Ok(()),
    })
}

/// What was converted so far.
struct Writer<'a> {
    to: &'a str,
    text: Vec<u8>,
    failure: Option<String>,
}

impl Writer<'_> {
    /// Converts an object; `None` if it cannot be.
    fn write(&mut self, Bounded(object): Bounded) -> Option<()> {
        let converted = match conversion::bgp_peer(object, self.to) {
            Ok(converted) => converted,
            Err(error) => {
                self.failure = Some(error.to_string());
                return None;
            }
        };
        // Neither the memory nor the value says no.
        serde_json::to_writer(&mut self.text, &converted).ok()?;
        if self.text.len() > MOST_BYTES {
            self.failure = Some(format!(
                "the converted objects have more than {MOST_BYTES} bytes: list fewer at a time (limit)"
            ));
            return None;
        }
        Some(())
    }
}

/// Goes down these fields, to the objects.
struct At<'a, 'b>(&'a [&'static str], &'a mut Writer<'b>);

impl<'de> DeserializeSeed<'de> for At<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.0.is_empty() {
            return deserializer.deserialize_seq(self);
        }
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for At<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.first() {
            Some(field) => write!(formatter, "an object with the field {field:?}"),
            None => formatter.write_str("a list of objects"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let (wanted, below) = self.0.split_first().unwrap_or((&"", &[]));
        while let Some(field) = fields.next_key::<String>()? {
            if field == *wanted {
                fields.next_value_seed(At(below, self.1))?;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut objects: A) -> Result<(), A::Error> {
        self.1.text.push(b'[');
        let mut first = true;
        while let Some(object) = objects.next_element()? {
            if !std::mem::take(&mut first) {
                self.1.text.push(b',');
            }
            let written = self.1.write(object);
            written.ok_or_else(|| A::Error::custom("an object is not converted"))?;
        }
        self.1.text.push(b']');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn peer(version: &str) -> Value {
        json!({ "apiVersion": version, "kind": "BGPPeer", "metadata": { "name": "r" },
                "spec": { "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "peerPort": 179 } })
    }

    fn review(version: &str, objects: &Value) -> Vec<u8> {
        let review = json!({
            "apiVersion": version, "kind": KIND,
            "request": { "uid": "u", "desiredAPIVersion": "metallb.io/v1beta2", "objects": objects },
        });
        review.to_string().into_bytes()
    }

    fn answered(body: &[u8]) -> (Value, Result<(), String>) {
        let converted = convert(body).expect("a question");
        let answer = serde_json::from_slice(&converted.text).expect("JSON");
        (answer, converted.outcome)
    }

    #[test]
    fn a_conversion_is_of_all_objects_or_none() {
        let (old, new) = (peer("metallb.io/v1beta1"), peer("metallb.io/v1beta2"));
        let (answer, outcome) = answered(&review(VERSIONS[0], &json!([old, new])));
        assert_eq!(outcome, Ok(()));
        assert_eq!(
            answer["response"],
            json!({ "uid": "u", "result": { "status": "Success" }, "convertedObjects": [new, new] })
        );
        let bad = json!([old, { "kind": "Pod" }, new]);
        let (answer, outcome) = answered(&review(VERSIONS[0], &bad));
        assert!(outcome.expect_err("no peer").contains("\"Pod\""));
        assert_eq!(answer["response"]["result"]["status"], "Failure");
        assert_eq!(answer["response"]["convertedObjects"], Value::Null);
        let (answer, _) = answered(&review(VERSIONS[0], &json!([])));
        assert_eq!(answer["response"]["convertedObjects"], json!([]));
    }

    #[test]
    fn an_answer_is_of_the_version_of_its_question() {
        for version in VERSIONS {
            let objects = json!([peer("metallb.io/v1beta1")]);
            let (answer, _) = answered(&review(version, &objects));
            assert_eq!(answer["apiVersion"], version);
            assert_eq!(answer["kind"], KIND);
            assert_eq!(answer["response"]["result"]["status"], "Success");
        }
        let unknown = convert(&review("apiextensions.k8s.io/v2", &json!([])));
        let text = unknown.expect_err("an unknown version").to_string();
        assert!(text.contains("apiextensions.k8s.io/v1 or "), "{text}");
    }

    #[test]
    fn the_fields_may_come_in_any_order() {
        let body = format!(
            "{{\"request\": {{\"objects\": [{}], \"more\": [1], \"desiredAPIVersion\": \
             \"metallb.io/v1beta2\", \"uid\": \"u\"}}, \"kind\": \"{KIND}\", \"apiVersion\": \"{}\"}}",
            peer("metallb.io/v1beta1"),
            VERSIONS[0]
        );
        let (answer, _) = answered(body.as_bytes());
        let converted = &answer["response"]["convertedObjects"];
        assert_eq!(*converted, json!([peer("metallb.io/v1beta2")]));
    }

    #[test]
    fn what_is_no_question_is_an_error() {
        for objects in [json!(7), json!({}), Value::Null] {
            let error = convert(&review(VERSIONS[0], &objects)).expect_err("no list");
            assert!(error.to_string().contains("list of objects"), "{error}");
        }
        convert(b"{").expect_err("no JSON");
        let body = review(VERSIONS[0], &json!([]));
        convert(&body[..body.len() - 1]).expect_err("cut off");
    }

    #[test]
    fn objects_and_answers_that_are_too_large_are_refused() {
        let many = vec![json!({}); super::super::bounded::MOST_VALUES];
        let error = convert(&review(VERSIONS[0], &json!([many]))).expect_err("too many");
        assert!(
            error.to_string().contains("more than 50000 values"),
            "{error}"
        );

        let mut long = peer("metallb.io/v1beta1");
        long["spec"]["password"] = json!("x".repeat(MOST_BYTES / 3));
        let (answer, outcome) = answered(&review(VERSIONS[0], &json!([long, long, long, long])));
        assert!(
            outcome
                .expect_err("too long")
                .contains("list fewer at a time")
        );
        assert!(answer.to_string().len() < 1000);
    }
}
