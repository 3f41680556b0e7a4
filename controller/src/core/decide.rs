//! From what the API shows of a Service to what its status should say.

use herald_ipam::{Assignment, Notice, Outcome, Reason, Request};
use herald_model::ServiceKey;
use herald_runtime::events::Subject;

use super::{Core, Undone};
use crate::notes::{self, Note};
use crate::request::{self, Problem, Reading};
use crate::status::{self, Desired};

impl Core {
    /// Decides every Service that needs it.
    pub(crate) fn decide(&mut self) {
        if !self.acting {
            return;
        }
        while let Some(key) = self.dirty.pop_front() {
            let Some(entry) = self.services.get_mut(&key) else {
                continue;
            };
            if !std::mem::take(&mut entry.dirty) {
                continue;
            }
            self.decide_one(&key);
        }
    }

    fn decide_one(&mut self, key: &ServiceKey) {
        let Some(entry) = self.services.get(key) else {
            return;
        };
        let (desired, why, deprecated) = if request::is_ours(&entry.object, &self.class) {
            let reading = request::read(key, &entry.object);
            let deprecated = reading.deprecated.clone();
            let (desired, why) = self.desire(key, reading);
            (desired, why, deprecated)
        } else {
            let revisit = self.allocator.release(key);
            self.mark_all(revisit);
            (Desired::Released, None, Vec::new())
        };
        let Some(entry) = self.services.get_mut(key) else {
            return;
        };
        let news = entry.desired.as_ref() != Some(&desired);
        let differs = status::differs(&entry.object, &desired);
        if news && differs {
            let subject = Subject::of(&entry.object);
            let told = status::condition_changes(&entry.object, &desired);
            self.notes
                .extend(why.filter(|_| told).map(|note| (subject.clone(), note)));
            for annotation in deprecated {
                self.notes
                    .push((subject.clone(), notes::of_deprecated(annotation)));
            }
        }
        if news {
            // A new decision, not a fight about the last one.
            entry.undone = Undone::default();
        }
        entry.desired = Some(desired);
        if differs {
            self.enqueue(key);
        }
        self.update_leaving(key);
    }

    /// What the Service is to have, and the event that says why it is less than it asks for.
    fn desire(&mut self, key: &ServiceKey, reading: Reading) -> (Desired, Option<Note>) {
        if let Some(desired) = self.stranded(key, &reading) {
            let why = reading.problem.as_ref().and_then(notes::of_problem);
            return (desired, why);
        }
        match (reading.request, reading.problem) {
            (Some(request), None) => self.converge(key, &request),
            (Some(request), Some(problem)) if problem.keeps_addresses() => {
                self.keep(key, &request, &problem)
            }
            (_, Some(problem)) => self.refuse(key, &problem),
            // A reading without a request has a problem.
            (None, None) => self.refuse(key, &Problem::NoClusterIp),
        }
    }

    /// What a Service has of a pool that cannot be used, unless it asks for something else. The
    /// allocator holds it too as long as the Service is not converged, so that nobody else gets it
    /// when the pool is corrected.
    fn stranded(&self, key: &ServiceKey, reading: &Reading) -> Option<Desired> {
        let request = reading.request.as_ref()?;
        let pool = status::allocated_from(&self.services.get(key)?.object)?;
        let wants_other_pool = request.pool.as_deref().is_some_and(|wanted| wanted != pool);
        let wants_other_address = !request.addresses.is_empty()
            && (request.addresses.len() != request.current.len()
                || request
                    .addresses
                    .iter()
                    .any(|address| !request.current.contains(address)));
        if !self.unusable.contains(pool)
            || request.current.is_empty()
            || wants_other_pool
            || wants_other_address
            || self.allocator.assignment(key).is_some()
        {
            return None;
        }
        let remark = match &reading.problem {
            Some(problem) => (problem.name(), problem.to_string()),
            None => (status::UNUSABLE_POOL, notes::unusable_pool(pool)),
        };
        let assignment = Assignment {
            pool: pool.to_owned(),
            addresses: request.current.clone(),
        };
        Some(Desired::Assigned {
            assignment,
            remark: Some(remark),
        })
    }

    fn converge(&mut self, key: &ServiceKey, request: &Request) -> (Desired, Option<Note>) {
        let decision = self.allocator.converge(request);
        self.mark_all(decision.revisit);
        self.tell(key, &decision.notices);
        match decision.outcome {
            Outcome::Assigned(assignment) => {
                let remark = None;
                (Desired::Assigned { assignment, remark }, None)
            }
            Outcome::Pending(Reason::UnknownPool(pool)) if self.unusable.contains(&pool) => {
                let desired = Desired::Pending {
                    reason: status::UNUSABLE_POOL,
                    message: notes::unusable_pool(&pool),
                };
                (desired, Some(notes::of_unusable_pool(key, &pool)))
            }
            Outcome::Pending(reason) => {
                let entry = self.services.get(key);
                let cluster_ips = entry.and_then(|entry| entry.object.spec.cluster_ips.as_deref());
                let note = notes::of_reason(key, &reason, cluster_ips.unwrap_or_default());
                let desired = Desired::Pending {
                    reason: reason.name(),
                    message: reason.to_string(),
                };
                (desired, Some(note))
            }
        }
    }

    /// A Service that asks for something unreadable keeps what it has, and gets nothing new.
    fn keep(
        &mut self,
        key: &ServiceKey,
        request: &Request,
        problem: &Problem,
    ) -> (Desired, Option<Note>) {
        if self.allocator.assignment(key).is_none() && request.current.is_empty() {
            return self.refuse(key, problem);
        }
        let decision = self.allocator.converge(request);
        self.mark_all(decision.revisit);
        let given_anew = |notice: &Notice| matches!(notice, Notice::Allocated(_));
        match decision.outcome {
            Outcome::Assigned(assignment) if !decision.notices.iter().any(given_anew) => {
                self.tell(key, &decision.notices);
                let remark = Some((problem.name(), problem.to_string()));
                (
                    Desired::Assigned { assignment, remark },
                    notes::of_problem(problem),
                )
            }
            _ => {
                let cleared = decision.notices.into_iter().filter(|n| !given_anew(n));
                self.tell(key, &cleared.collect::<Vec<_>>());
                self.refuse(key, problem)
            }
        }
    }

    fn refuse(&mut self, key: &ServiceKey, problem: &Problem) -> (Desired, Option<Note>) {
        let revisit = self.allocator.release(key);
        self.mark_all(revisit);
        let desired = Desired::Pending {
            reason: problem.name(),
            message: problem.to_string(),
        };
        (desired, notes::of_problem(problem))
    }

    fn tell(&mut self, key: &ServiceKey, notices: &[Notice]) {
        let Some(entry) = self.services.get(key).filter(|_| !notices.is_empty()) else {
            return;
        };
        let subject = Subject::of(&entry.object);
        let notes = notices
            .iter()
            .map(|notice| (subject.clone(), notes::of_notice(key, notice)));
        self.notes.extend(notes);
    }
}
