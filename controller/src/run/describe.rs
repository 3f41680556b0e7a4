//! All of the state, for `/debug/state`.

use serde_json::{Value, json};

use super::Loop;

impl Loop {
    /// The core, and what the loop does for it.
    pub(super) fn describe(&self) -> Value {
        let mut state = self.core.describe();
        state["leader"] = self.leadership.is_leader().into();
        state["synced"] = json!({
            "services": self.synced.services.is_none(),
            "pools": self.synced.pools.is_none(),
            "namespaces": self.synced.namespaces.is_none(),
        });
        let problems = self.pools.problems();
        let problems = problems.map(|(problem, _)| problem.to_string());
        state["problems"] = problems.collect();
        state["writesUnderWay"] = self.writing.into();
        state
    }
}
