//! Rules and dashboard name what there is, and the rules do what they are for.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use herald_chart::{Helm, chart, metrics, root, tool};
use serde_json::{Value, json};

const RULES: &str = "prometheus: {prometheusRule: {enabled: true}}";

fn check_names(what: &str, text: &str) -> Result<usize> {
    let documented = metrics::documented()?;
    let named = metrics::names(text);
    for name in &named {
        let whole = metrics::histogram(name).is_some_and(|name| documented.contains(name));
        ensure!(
            whole || documented.contains(name),
            "{what} names {name}, docs/metrics.md does not"
        );
    }
    Ok(named.len())
}

fn groups() -> Result<Value> {
    let rendered = Helm::new()?.template(RULES)?;
    Ok(rendered.object("PrometheusRule", "herald")?["spec"].clone())
}

fn promtool(arguments: &[&str], file: &Path) -> Result<String> {
    let mut command = Command::new(tool("promtool", "HERALD_PROMTOOL")?);
    let output = command.args(arguments).arg(file).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "promtool: {said}");
    Ok(said)
}

#[test]
fn the_dashboard_names_metrics_that_there_are() -> Result<()> {
    let text = fs::read_to_string(chart().join("dashboards/herald.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut expressions = String::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().context("no targets")?;
        ensure!(!targets.is_empty(), "{} shows nothing", panel["title"]);
        for target in targets {
            expressions += target["expr"].as_str().context("no expression")?;
            expressions += "\n";
        }
    }
    ensure!(check_names("the dashboard", &expressions)? > 10);
    Ok(())
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn the_rules_name_metrics_that_there_are() -> Result<()> {
    let groups = groups()?;
    let rules = groups["groups"][0]["rules"]
        .as_array()
        .context("no rules")?;
    let expressions = rules.iter().filter_map(|rule| rule["expr"].as_str());
    let expressions: Vec<_> = expressions.collect();
    ensure!(check_names("a rule", &expressions.join("\n"))? > 8);
    Ok(())
}

#[test]
#[ignore = "needs Helm and promtool: run by make test"]
fn the_rules_fire_when_they_should() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let rules = folder.path().join("rules.yaml");
    let groups = groups()?;
    fs::write(&rules, groups.to_string())?;
    let said = promtool(&["check", "rules", "--lint=all", "--lint-fatal"], &rules)?;
    ensure!(said.contains("SUCCESS"), "{said}");

    let cases = fs::read_to_string(root().join("tests/chart/rules/cases.yaml"))?;
    let mut cases: Value = serde_saphyr::from_str(&cases)?;
    let tested: Vec<_> = cases["tests"]
        .as_array()
        .context("no tests")?
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten())
        .filter(|test| test["exp_alerts"].as_array().is_some_and(|a| !a.is_empty()))
        .map(|test| test["alertname"].clone())
        .collect();
    for rule in groups["groups"][0]["rules"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = &rule["alert"];
        ensure!(tested.contains(name), "no case in which {name} fires");
    }
    cases["rule_files"] = json!(["rules.yaml"]);
    let file = folder.path().join("cases.yaml");
    fs::write(&file, cases.to_string())?;
    promtool(&["test", "rules"], &file)?;
    Ok(())
}
