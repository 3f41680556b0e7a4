//! What Helm makes of the chart.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use anyhow::{Context as _, Result, ensure};
use herald_chart::Helm;
use herald_chart::matrix::MATRIX;
use serde_json::{Value, json};

fn arguments(workload: &Value) -> Vec<&str> {
    let arguments = &workload["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments = arguments.as_array().map(Vec::as_slice).unwrap_or_default();
    arguments.iter().filter_map(Value::as_str).collect()
}

fn refused(helm: &Helm, values: &str, words: &[&str]) -> Result<()> {
    let error = helm.template(values).err();
    let error = error.with_context(|| format!("{values} is taken"))?;
    let error = format!("{error:#}");
    for word in words {
        ensure!(error.contains(word), "{values}: no {word:?} in: {error}");
    }
    Ok(())
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn helm_finds_no_fault_with_any_values() -> Result<()> {
    let helm = Helm::new()?;
    for (name, values) in MATRIX {
        let said = helm
            .with_chart(&["lint", "--strict"], values, &[])
            .with_context(|| format!("values {name:?}"))?;
        ensure!(!said.contains("[ERROR]"), "values {name:?}: {said}");
    }
    Ok(())
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn what_is_rendered_follows_the_values() -> Result<()> {
    let helm = Helm::new()?;
    let rendered: Vec<_> = MATRIX
        .iter()
        .map(|(name, values)| helm.template(values).with_context(|| (*name).to_owned()))
        .collect::<Result<_>>()?;
    let [defaults, everything, pods, alone, controller, speakers, _] = &rendered[..] else {
        anyhow::bail!("the matrix has another length");
    };

    let deployment = defaults.object("Deployment", "herald-controller")?;
    assert_eq!(deployment["spec"]["replicas"], 2);
    let pod = &deployment["spec"]["template"]["spec"];
    let image = concat!("localhost/herald:", env!("CARGO_PKG_VERSION"));
    assert_eq!(pod["containers"][0]["image"], image);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let profile = &pod["securityContext"]["seccompProfile"]["type"];
    assert_eq!(profile, "RuntimeDefault");
    let daemonset = defaults.object("DaemonSet", "herald-speaker")?;
    let pod = &daemonset["spec"]["template"]["spec"];
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!(pod["terminationGracePeriodSeconds"], 30);
    let rights = &pod["containers"][0]["securityContext"];
    let capabilities = json!({"drop": ["ALL"], "add": ["NET_RAW", "NET_BIND_SERVICE", "SYS_NICE"]});
    assert_eq!(rights["capabilities"], capabilities);
    assert_eq!(rights["readOnlyRootFilesystem"], true);
    let probe = &pod["containers"][0]["readinessProbe"]["httpGet"];
    assert_eq!(
        *probe,
        json!({"path": "/readyz", "port": 17472, "host": "127.0.0.1"})
    );
    defaults.object("PodDisruptionBudget", "herald-controller")?;

    let deployment = everything.object("Deployment", "lb-controller")?;
    let given = arguments(deployment);
    for argument in [
        "--port=9999",
        "--health-probe-port=8080",
        "--log-level=debug",
        "--lb-class=example.com/herald",
        "--tls-min-version=TLS12",
        "--metrics-cert-dir=/etc/herald/metrics-tls",
        "--webhook-mode=disabled",
    ] {
        ensure!(given.contains(&argument), "no {argument} in {given:?}");
    }
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "registry.example/herald:1.3");
    assert_eq!(pod["serviceAccountName"], "mine");
    let daemonset = everything.object("DaemonSet", "lb-speaker")?;
    let given = arguments(daemonset);
    for argument in [
        "--ml-wan-config",
        "--ignore-exclude-lb",
        "--gratuitous-arp-interval=5m",
    ] {
        ensure!(given.contains(&argument), "no {argument} in {given:?}");
    }
    let excluded = &everything.object("ConfigMap", "lb-excludel2")?["data"]["excludel2.yaml"];
    assert_eq!(*excluded, "announcedInterfacesToExclude:\n  - ^eth9$\n");
    everything.object("NetworkPolicy", "lb-default-deny")?;
    everything.object("ServiceMonitor", "lb-speaker")?;
    everything.object("Service", "lb-speaker-monitor-service")?;
    everything.object("Role", "lb-prometheus")?;

    pods.object("PodMonitor", "herald-controller")?;
    ensure!(!alone.names().iter().any(|name| name.contains("Role")));
    let daemonset = alone.object("DaemonSet", "herald-speaker")?;
    let environment = daemonset["spec"]["template"]["spec"]["containers"][0]["env"].to_string();
    ensure!(!environment.contains("METALLB_ML_"), "{environment}");
    ensure!(controller.object("DaemonSet", "herald-speaker").is_err());
    ensure!(speakers.object("Deployment", "herald-controller").is_err());
    Ok(())
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn the_webhooks_follow_their_mode_and_let_deletions_pass_when_nobody_answers() -> Result<()> {
    let helm = Helm::new()?;
    let name = "metallb-webhook-configuration";
    for policy in ["Fail", "Ignore"] {
        let values = format!("crds: {{validationFailurePolicy: {policy}}}");
        let rendered = helm.template(&values)?;
        let configuration = rendered.object("ValidatingWebhookConfiguration", name)?;
        let webhooks = configuration["webhooks"].as_array().context("a list")?;
        let mut names: Vec<_> = webhooks
            .iter()
            .filter_map(|it| it["name"].as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 12, "{names:?}");
        for webhook in webhooks {
            let client = &webhook["clientConfig"];
            assert_eq!(client["service"]["name"], "metallb-webhook-service");
            assert_eq!(client["caBundle"], Value::Null, "it is the controller's");
            let operations = webhook["rules"][0]["operations"].as_array();
            let deletes = operations.is_some_and(|all| all.contains(&json!("DELETE")));
            let expected = if deletes { "Ignore" } else { policy };
            assert_eq!(webhook["failurePolicy"], expected, "{webhook}");
        }
        rendered.object("Service", "metallb-webhook-service")?;
    }
    let disabled = helm.template("controller: {webhookMode: disabled}")?;
    ensure!(
        disabled
            .object("ValidatingWebhookConfiguration", name)
            .is_err()
    );
    let rights = disabled
        .object("ClusterRole", "herald-controller")?
        .to_string();
    ensure!(
        !rights.contains("validatingwebhookconfigurations"),
        "{rights}"
    );
    Ok(())
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn a_misspelt_key_is_refused_by_name() -> Result<()> {
    let helm = Helm::new()?;
    for (values, key) in [
        ("speaker: {logLevl: info}", "logLevl"),
        ("contoller: {}", "contoller"),
        ("speaker: {memberlist: {bindPort: 1}}", "bindPort"),
        ("prometheus: {prometheusRule: {noLeeder: {}}}", "noLeeder"),
        ("configInline: {}", "configInline"),
    ] {
        refused(&helm, values, &[key])?;
    }
    for (values, key) in [
        ("speaker: {logLevel: loud}", "logLevel"),
        ("prometheus: {metricsPort: 70000}", "metricsPort"),
        ("speaker: {handoverLimit: soon}", "handoverLimit"),
        ("controller: {replicas: two}", "replicas"),
    ] {
        refused(&helm, values, &[key])?;
    }
    Ok(())
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn values_that_cannot_work_together_are_refused_with_a_remedy() -> Result<()> {
    let helm = Helm::new()?;
    refused(
        &helm,
        "prometheus: {podMonitor: {enabled: true}, serviceMonitor: {enabled: true}}",
        &["podMonitor.enabled", "serviceMonitor.enabled"],
    )?;
    refused(
        &helm,
        "controller: {image: {repository: quay.io/metallb/controller}}",
        &["controller.image.repository", "MetalLB's image"],
    )?;
    refused(
        &helm,
        "speaker: {livenessProbe: {port: 1}}",
        &["speaker.livenessProbe.port"],
    )?;
    refused(
        &helm,
        "speaker: {memberlist: {enabled: false}, nodeSelector: {a: b}}",
        &["speaker.nodeSelector"],
    )?;
    refused(
        &helm,
        "speaker: {handoverLimit: 20s}",
        &["terminationGracePeriodSeconds", "37 at least"],
    )
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn values_without_effect_are_named_in_the_notes() -> Result<()> {
    let helm = Helm::new()?;
    let notes = |values: &str| {
        let more = ["--dry-run=client"];
        helm.with_chart(&["install", "herald"], values, &more)
    };
    let said = notes("speaker: {frr: {enabled: true}}\nfrr-k8s: {a: b}\ncrds: {enabled: false}")?;
    for name in ["speaker.frr", "frr-k8s", "crds.enabled"] {
        ensure!(said.contains(&format!("  {name}\n")) || said.contains(&format!("{name} is")));
    }
    ensure!(!said.contains("speaker.reloader"), "{said}");
    ensure!(!notes("{}")?.contains("without effect"));
    Ok(())
}
