//! What Helm makes of the chart.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use anyhow::{Context as _, Result, ensure};
use herald_chart::matrix::{self, MATRIX};
use herald_chart::{Helm, Rendered};
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
fn who_may_read_the_metrics_has_the_rights_and_the_token_for_it() -> Result<()> {
    let helm = Helm::new()?;
    let monitored = "prometheus: {podMonitor: {enabled: true}}";
    let plain = "prometheus: {security: none, podMonitor: {enabled: true}}";
    let [monitored, plain] = [helm.template(monitored)?, helm.template(plain)?];
    let token = json!({"name": "herald-metrics-reader", "key": "token"});
    for name in ["herald-controller", "herald-speaker"] {
        let rules = |rendered: &Rendered| {
            let role = rendered.object("ClusterRole", name)?;
            anyhow::Ok(role["rules"].to_string())
        };
        let endpoint = |rendered: &Rendered| {
            let monitor = rendered.object("PodMonitor", name)?;
            anyhow::Ok(monitor["spec"]["podMetricsEndpoints"][0].clone())
        };
        ensure!(rules(&monitored)?.contains("subjectaccessreviews"));
        let secure = endpoint(&monitored)?;
        assert_eq!(secure["scheme"], "https");
        assert_eq!(secure["authorization"]["credentials"], token);
        ensure!(!rules(&plain)?.contains("reviews"));
        let open = endpoint(&plain)?;
        assert_eq!(open["scheme"], "http");
        ensure!(open["authorization"].is_null() && open["tlsConfig"].is_null());
    }
    for kind in ["Secret", "ServiceAccount", "ClusterRole"] {
        monitored.object(kind, "herald-metrics-reader")?;
        ensure!(plain.object(kind, "herald-metrics-reader").is_err());
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
    let [defaults, everything, pods, alone, controller, speakers, ..] = &rendered[..] else {
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
        "--metrics-security=authorized",
        "--debug-bind-address=127.0.0.1:6060",
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
        "image: {repository: quay.io/metallb/controller}",
        &["image.repository", "MetalLB's image"],
    )?;
    refused(
        &helm,
        "speaker: {image: {tag: v0.14.9}}",
        &["speaker.image.tag", "version of MetalLB"],
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
    Ok(())
}

/// All that the flags take, with 15 s for the rest and 2 s for `bgpShutdownWait` to be added.
#[test]
#[ignore = "needs Helm: run by make test"]
fn the_grace_period_is_compared_with_durations_of_every_form() -> Result<()> {
    let helm = Helm::new()?;
    for (limit, least) in [
        ("20", 37),
        ("20s", 37),
        ("+20s", 37),
        ("\"20\"", 37),
        ("1m", 77),
        ("1m30s", 107),
        ("1.5m", 107),
        ("0.01h", 53),
        ("13001ms", 31),
        ("13000001us", 31),
        ("13000001\u{b5}s", 31),
        ("13000001\u{3bc}s", 31),
        ("13s1ns", 31),
    ] {
        let values = format!("speaker: {{handoverLimit: {limit}}}");
        let least = format!("{least} at least");
        refused(&helm, &values, &["terminationGracePeriodSeconds", &least])?;
    }
    let values = "speaker: {bgpShutdownWait: 1m}";
    refused(&helm, values, &["bgpShutdownWait", "80 at least"])?;
    for limit in [
        "0",
        "13",
        "13s",
        "13000ms",
        "13000000us",
        "+.2m",
        "1.s",
        "0h0m12.999s",
    ] {
        helm.template(&format!("speaker: {{handoverLimit: {limit}}}"))
            .with_context(|| limit.to_owned())?;
    }
    for limit in ["-1s", "s", "1 s", "1d", "."] {
        let values = format!("speaker: {{handoverLimit: \"{limit}\"}}");
        refused(&helm, &values, &["handoverLimit"])?;
    }
    Ok(())
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn a_certificate_of_cert_manager_is_mounted_and_is_nobody_elses() -> Result<()> {
    let helm = Helm::new()?;
    let own = helm.template("controller: {certManager: {enabled: true}}")?;
    let deployment = own.object("Deployment", "herald-controller")?;
    let given = arguments(deployment);
    ensure!(given.contains(&"--disable-cert-rotation"), "{given:?}");
    ensure!(
        given.contains(&"--cert-dir=/etc/herald/webhook-tls"),
        "{given:?}"
    );
    let pod = &deployment["spec"]["template"]["spec"];
    let mounted = &pod["containers"][0]["volumeMounts"][0]["mountPath"];
    assert_eq!(*mounted, "/etc/herald/webhook-tls");
    let certificate = own.object("Certificate", "herald-webhook")?;
    let secret = &certificate["spec"]["secretName"];
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], *secret);
    let names = &certificate["spec"]["dnsNames"];
    assert_eq!(names[0], "metallb-webhook-service.herald-system.svc");
    assert_eq!(
        certificate["spec"]["issuerRef"]["name"],
        "herald-webhook-ca"
    );
    let issuer = own.object("Issuer", "herald-webhook-ca")?;
    let authority = own.object("Certificate", "herald-webhook-ca")?;
    assert_eq!(
        issuer["spec"]["ca"],
        json!({"secretName": authority["spec"]["secretName"]})
    );
    assert_eq!(authority["spec"]["isCA"], true);
    let self_signed = authority["spec"]["issuerRef"]["name"].as_str();
    own.object("Issuer", self_signed.context("a name")?)?;
    let name = "metallb-webhook-configuration";
    let configuration = own.object("ValidatingWebhookConfiguration", name)?;
    let from = &configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
    assert_eq!(*from, "herald-system/herald-webhook");
    // Neither the Secret nor rights on it, nor on what the injector writes.
    ensure!(own.object("Secret", "metallb-webhook-cert").is_err());
    for kind in ["ClusterRole", "Role"] {
        let rights = own.object(kind, "herald-controller")?.to_string();
        for word in ["metallb-webhook-cert", "validatingwebhookconfigurations"] {
            ensure!(!rights.contains(word), "{word}: {rights}");
        }
    }

    let theirs =
        "controller: {certManager: {enabled: true, issuerRef: {name: x, kind: ClusterIssuer}}}";
    let theirs = helm.template(theirs)?;
    let certificate = theirs.object("Certificate", "herald-webhook")?;
    let issuer = json!({"name": "x", "kind": "ClusterIssuer", "group": "cert-manager.io"});
    assert_eq!(certificate["spec"]["issuerRef"], issuer);
    ensure!(!theirs.names().iter().any(|name| name.contains("Issuer ")));
    refused(
        &helm,
        "controller: {certManager: {enabled: true, issuerRef: {nam: x}}}",
        &["nam"],
    )?;
    let without =
        helm.template("controller: {webhookMode: disabled, certManager: {enabled: true}}")?;
    ensure!(without.object("Certificate", "herald-webhook").is_err());
    Ok(())
}

/// What the notes of an installation with these values say.
fn notes(helm: &Helm, values: &str) -> Result<String> {
    let said = helm.with_chart(&["install", "herald"], values, &["--dry-run=client"])?;
    let (_, notes) = said.split_once("NOTES:").context("no notes")?;
    Ok(notes.to_owned())
}

/// The values that the notes name, in their order.
fn without_effect(notes: &str) -> Vec<&str> {
    let (_, list) = notes.split_once("without effect:\n").unwrap_or_default();
    let named = list.lines().filter_map(|line| line.trim().split_once(": "));
    named.map(|(name, _)| name).collect()
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn values_without_effect_are_named_in_the_notes() -> Result<()> {
    let helm = Helm::new()?;
    let said = notes(
        &helm,
        "speaker: {frr: {enabled: true}}\nfrr-k8s: {a: b}\ncrds: {enabled: false}",
    )?;
    let named = without_effect(&said);
    assert_eq!(named, ["speaker.frr", "frr-k8s", "crds.enabled"]);
    ensure!(said.contains("--skip-crds"), "{said}");
    let said = notes(&helm, "speaker: {bgpDebounceTimeout: 0}")?;
    assert_eq!(without_effect(&said), ["speaker.bgpDebounceTimeout"]);
    ensure!(!notes(&helm, "{}")?.contains("without effect"));
    Ok(())
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn the_defaults_of_metallb_give_what_ours_give() -> Result<()> {
    let helm = Helm::new()?;
    let [ours, theirs] = ["{}", matrix::METALLB].map(|values| helm.template(values));
    let (ours, theirs) = (ours?, theirs?);
    assert_eq!(ours.names(), theirs.names());
    for (kind, name) in [
        ("Deployment", "herald-controller"),
        ("DaemonSet", "herald-speaker"),
    ] {
        let [ours, theirs] = [&ours, &theirs].map(|rendered| {
            let mut object = rendered.object(kind, name)?.clone();
            let pod = &mut object["spec"]["template"]["spec"];
            // These two are MetalLB's own, and do what they say.
            pod["priorityClassName"].take();
            pod["containers"][0]["readinessProbe"]["initialDelaySeconds"].take();
            anyhow::Ok(object)
        });
        assert_eq!(ours?, theirs?);
    }
    let notes = notes(&helm, matrix::METALLB)?;
    let named = without_effect(&notes);
    let expected = [
        "controller.image",
        "speaker.image",
        "speaker.frr",
        "speaker.reloader",
        "speaker.frrMetrics",
        "speaker.initContainers",
        "frrk8s",
        "frr-k8s",
    ];
    assert_eq!(named, expected);
    ensure!(
        notes.contains("this runs localhost/herald:0.1.0"),
        "{notes}"
    );
    Ok(())
}

#[test]
#[ignore = "needs Helm: run by make test"]
fn an_image_of_metallb_is_never_run_with_its_tag() -> Result<()> {
    let helm = Helm::new()?;
    let image = |values: &str| {
        let rendered = helm.template(values)?;
        let daemonset = rendered.object("DaemonSet", "herald-speaker")?;
        anyhow::Ok(daemonset["spec"]["template"]["spec"]["containers"][0].clone())
    };
    let base = "image: {repository: registry.example/herald, tag: \"7\"}\nspeaker: {image: ";
    for repository in [
        "quay.io/metallb/speaker",
        "mirror.example/quay.io/metallb/speaker",
        "docker.io/rancher/mirrored-metallb-speaker",
    ] {
        let values = format!("repository: {repository}, tag: v0.15.3, pullPolicy: Always");
        let container = image(&format!("{base}{{{values}}}}}"))?;
        assert_eq!(container["image"], "registry.example/herald:7");
        assert_eq!(container["imagePullPolicy"], "Always");
    }
    // Somebody's own, whatever it is called.
    let own = image(&format!(
        "{base}{{repository: registry.example/not-metallb, tag: v0.15.3}}}}"
    ))?;
    assert_eq!(own["image"], "registry.example/not-metallb:v0.15.3");
    Ok(())
}
