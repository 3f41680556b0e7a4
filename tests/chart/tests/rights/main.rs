//! The rights that the chart gives are enough for everything that controller and speakers do, and no
//! more than that; and they are documented.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

mod cert_manager;
mod deeds;
mod documented;
mod granted;
mod modes;
mod pods;
mod release;
mod webhooks;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use granted::Right;
use herald_chart::Helm;
use herald_chart::matrix::MATRIX;
use herald_lab::NAMESPACE;

/// The service accounts of the lab's processes.
const VALUES: &str = r"
controller: {serviceAccount: {name: controller}}
speaker: {serviceAccount: {name: speaker}}
";

/// For what is done within seconds, on a machine that has more to do.
const PATIENCE: Duration = Duration::from_mins(2);

#[test]
#[ignore = "needs Helm: run by make test"]
fn no_values_give_more_rights_than_those_that_are_tried() -> Result<()> {
    let helm = Helm::new()?;
    let all = |values: &str, accounts: [&str; 2]| -> Result<BTreeSet<_>> {
        let rendered = helm.template(values)?;
        let rights = accounts
            .iter()
            .flat_map(|it| granted::rights(&rendered, it));
        Ok(rights.map(Right::of_any_name).collect())
    };
    let tried = all(VALUES, ["controller", "speaker"])?;
    ensure!(tried.len() > 50, "{tried:?}");
    for (name, values) in MATRIX {
        for accounts in [
            ["herald-controller", "herald-speaker"],
            // Of the values that name accounts or the release otherwise.
            ["mine", "lb-speaker"],
        ] {
            let given = all(values, accounts)?;
            let more: Vec<_> = given.difference(&tried).map(ToString::to_string).collect();
            ensure!(more.is_empty(), "{name}: {more:?} is tried by no test");
        }
    }
    Ok(())
}

/// What both parts of a controller need, the one that allocates and the one that judges.
const OF_BOTH: [&str; 10] = [
    "create leases.coordination.k8s.io in metallb-system",
    "create secrets in metallb-system",
    "create subjectaccessreviews.authorization.k8s.io",
    "create tokenreviews.authentication.k8s.io",
    "get deployments.apps herald-controller in metallb-system",
    "list bgppeers.metallb.io in metallb-system",
    "list ipaddresspools.metallb.io in metallb-system",
    "list namespaces",
    "list nodes",
    "list services",
];

#[test]
#[ignore = "needs Helm: run by make test"]
fn a_controller_without_webhooks_has_none_of_their_rights() -> Result<()> {
    let helm = Helm::new()?;
    let of = |mode: &str| -> Result<BTreeSet<String>> {
        let account = "serviceAccount: {name: controller}";
        let values = format!("controller: {{webhookMode: {mode}, {account}}}");
        let rendered = helm.template_in(NAMESPACE, &values)?;
        let rights = granted::rights(&rendered, "controller");
        Ok(rights.iter().map(ToString::to_string).collect())
    };
    let (all, without, only) = (of("enabled")?, of("disabled")?, of("onlywebhook")?);
    let both: Vec<_> = without.intersection(&only).collect();
    assert_eq!(both, OF_BOTH);
    // Those of both modes together are all, but for the Lease.
    let more = |than: &BTreeSet<String>, rights: &BTreeSet<String>| -> Vec<String> {
        let more = rights.difference(than);
        let more = more.filter(|right| !right.contains(" herald-webhook "));
        more.cloned().collect()
    };
    let together: BTreeSet<_> = without.union(&only).cloned().collect();
    assert_eq!(more(&all, &together), [""; 0]);
    assert_eq!(more(&together, &all), [""; 0]);
    Ok(())
}
