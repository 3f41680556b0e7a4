//! What the loop does with a new configuration.

use herald_api::config::Problem;
use herald_api::report::Findings;
use herald_runtime::events::{Kind, Subject};

use super::Loop;

impl Loop {
    pub(super) fn configure(&mut self) {
        let change = self.pools.update();
        for problem in &change.new_problems {
            self.metrics.client.update_errors.inc();
            tracing::error!(
                event = "configInvalid",
                kind = problem.kind,
                name = problem.name,
                field = problem.field,
                error = %problem,
                "failed to parse the configuration"
            );
        }
        if self.core.is_acting() {
            for problem in &change.new_problems {
                self.record_problem(problem, self.pools.subject(problem));
            }
        }
        let problems = self.pools.problems();
        let findings = Findings {
            problems: problems.map(|(problem, _)| problem.to_string()).collect(),
            unknown: Vec::new(),
        };
        self.findings.send_replace(Some(findings));
        self.core.set_unusable_pools(change.unusable);
        if let Some(pools) = change.pools {
            tracing::info!(event = "configLoaded", pools = pools.len(), "pools changed");
            self.core.set_pools(pools);
        }
        self.metrics
            .client
            .config_loaded
            .set(i64::from(self.pools.is_loaded()));
        self.metrics
            .client
            .config_stale
            .set(i64::from(change.stale));
    }

    pub(super) fn record_problem(&self, problem: &Problem, subject: Option<&Subject>) {
        if let Some(subject) = subject.cloned() {
            let message = problem.to_string();
            self.recorder
                .record(subject, Kind::Warning, "InvalidConfiguration", message);
        }
    }
}
