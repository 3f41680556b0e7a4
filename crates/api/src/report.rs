//! What a component says of its configuration in its `ConfigurationState` (compat.md 1.7).
//! No I/O, no clock.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::kinds::{ConfigurationResult, ConfigurationStateStatus};

/// The most that the message of a condition may have is 32,768 characters; the API server refuses
/// a longer one, and with it all that the status says.
const LONGEST_MESSAGE: usize = 30_000;

/// What a component found in its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is wrong with objects, one text each.
    pub problems: Vec<String>,
    /// What could not be looked at, one text each.
    pub unknown: Vec<String>,
}

/// One aspect of the state: a condition but for its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aspect {
    /// The type of the condition.
    pub kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// One word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// All that a component says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    result: ConfigurationResult,
    summary: String,
    aspects: Vec<Aspect>,
}

impl Report {
    /// What was found, in a condition of this type.
    pub fn new(kind: &'static str, findings: &Findings) -> Self {
        let Findings { problems, unknown } = findings;
        // What is wrong is told before what is not known, in case that not all of it fits.
        let summary = message(problems.iter().chain(unknown).map(String::as_str));
        let (result, status, reason) = if !problems.is_empty() {
            (ConfigurationResult::Invalid, "False", "ConfigurationError")
        } else if !unknown.is_empty() {
            (ConfigurationResult::Unknown, "Unknown", "UnknownError")
        } else {
            (ConfigurationResult::Valid, "True", "Reconciled")
        };
        let aspect = Aspect {
            kind,
            status,
            reason,
            message: summary.clone(),
        };
        Self {
            result,
            summary,
            aspects: vec![aspect],
        }
    }

    /// This, and what is not about the configuration.
    #[must_use]
    pub fn with(mut self, aspect: Aspect) -> Self {
        self.aspects.push(aspect);
        self
    }

    /// The status that says this; `None` if `shown` does, so that nothing is to be written. A
    /// condition whose status stays the same keeps the time of its last transition.
    pub fn status(
        &self,
        shown: Option<&ConfigurationStateStatus>,
        now: &Time,
    ) -> Option<ConfigurationStateStatus> {
        let shown_condition = |aspect: &Aspect| {
            let mut conditions = shown?.conditions.iter();
            conditions.find(|condition| condition.type_ == aspect.kind)
        };
        let is_shown = |aspect: &Aspect| {
            shown_condition(aspect).is_some_and(|shown| {
                (&*shown.status, &*shown.reason, &*shown.message)
                    == (aspect.status, aspect.reason, &*aspect.message)
            })
        };
        let same = shown.is_some_and(|shown| {
            shown.result == Some(self.result) && shown.error_summary == self.summary
        });
        if same && self.aspects.iter().all(is_shown) {
            return None;
        }
        let condition = |aspect: &Aspect| Condition {
            type_: aspect.kind.to_owned(),
            status: aspect.status.to_owned(),
            reason: aspect.reason.to_owned(),
            message: aspect.message.clone(),
            last_transition_time: shown_condition(aspect)
                .filter(|shown| shown.status == aspect.status)
                .map_or_else(|| now.clone(), |shown| shown.last_transition_time.clone()),
            observed_generation: None,
        };
        Some(ConfigurationStateStatus {
            result: Some(self.result),
            error_summary: self.summary.clone(),
            conditions: self.aspects.iter().map(condition).collect(),
        })
    }
}

/// The lines as the message of a condition; of too many the first ones, and how many more there are.
pub fn message<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    let mut lines = lines.into_iter();
    while let Some(line) = lines.next() {
        if text.len() + line.len() >= LONGEST_MESSAGE {
            let more = 1 + lines.count();
            text.extend(["\nand ", &more.to_string(), " more"]);
            break;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    const VALID: &str = "poolReconcilerValid";

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).expect("in range"))
    }

    fn report(problems: &[&str], unknown: &[&str]) -> Report {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let findings = Findings {
            problems: owned(problems),
            unknown: owned(unknown),
        };
        Report::new(VALID, &findings)
    }

    #[test]
    fn the_status_has_the_words_that_tools_know() {
        let cases = [
            (report(&[], &[]), "Valid", "True", "Reconciled", ""),
            (
                report(&["pool a", "pool b"], &[]),
                "Invalid",
                "False",
                "ConfigurationError",
                "pool a\npool b",
            ),
            (
                report(&[], &["no peers"]),
                "Unknown",
                "Unknown",
                "UnknownError",
                "no peers",
            ),
            (
                report(&["pool a"], &["no peers"]),
                "Invalid",
                "False",
                "ConfigurationError",
                "pool a\nno peers",
            ),
        ];
        for (report, result, status, reason, text) in cases {
            let said = report.status(None, &at(0)).expect("nothing is shown");
            let said = serde_json::to_value(said).expect("plain");
            assert_eq!(said["result"], result);
            assert_eq!(said["errorSummary"].as_str().unwrap_or_default(), text);
            let condition = &said["conditions"][0];
            assert_eq!(condition["type"], VALID);
            assert_eq!(condition["status"], status);
            assert_eq!(condition["reason"], reason);
            assert_eq!(condition["message"], text);
            assert_eq!(condition["lastTransitionTime"], "1970-01-01T00:00:00Z");
        }
    }

    #[test]
    fn what_is_shown_already_is_not_written_again() {
        let bad = report(&["pool a"], &[]);
        let shown = bad.status(None, &at(1)).expect("nothing is shown");
        assert_eq!(bad.status(Some(&shown), &at(2)), None);

        let worse = report(&["pool a", "pool b"], &[]);
        let more = worse.status(Some(&shown), &at(3)).expect("it differs");
        assert_eq!(more.conditions[0].last_transition_time, at(1));
        let good = report(&[], &[]);
        let healed = good.status(Some(&more), &at(4)).expect("it differs");
        assert_eq!(healed.conditions[0].last_transition_time, at(4));
        assert_eq!(good.status(Some(&healed), &at(5)), None);

        // Somebody else changed one of the three.
        let mut touched = healed.clone();
        touched.result = None;
        assert!(good.status(Some(&touched), &at(5)).is_some());
        let mut touched = healed.clone();
        touched.error_summary = "pool a".to_owned();
        assert!(good.status(Some(&touched), &at(5)).is_some());
        let mut touched = healed;
        touched.conditions.clear();
        assert!(good.status(Some(&touched), &at(5)).is_some());
    }

    #[test]
    fn an_aspect_beside_the_configuration_has_a_time_of_its_own() {
        let aspect = |status| Aspect {
            kind: "herald.io/AddressConflict",
            status,
            reason: "NoConflict",
            message: String::new(),
        };
        let quiet = report(&[], &[]).with(aspect("False"));
        let shown = quiet.status(None, &at(1)).expect("nothing is shown");
        assert_eq!(quiet.status(Some(&shown), &at(2)), None);
        let loud = report(&[], &[]).with(aspect("True"));
        let told = loud.status(Some(&shown), &at(2)).expect("it differs");
        assert_eq!(told.result, Some(ConfigurationResult::Valid));
        assert_eq!(told.conditions[0].last_transition_time, at(1));
        assert_eq!(told.conditions[1].last_transition_time, at(2));
    }

    #[test]
    fn a_message_is_never_longer_than_the_api_takes() {
        let lines: Vec<_> = (0..5000).map(|n| format!("problem number {n}")).collect();
        let text = message(lines.iter().map(String::as_str));
        assert!(text.len() <= 32_768, "{}", text.len());
        let (told, last) = text.rsplit_once('\n').expect("lines");
        let more = 5000 - told.lines().count();
        assert_eq!(last, format!("and {more} more"));
        let long = "x".repeat(40_000);
        assert_eq!(message([long.as_str()]), "\nand 1 more");
    }
}
