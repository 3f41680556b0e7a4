//! The Pod Security Standards that the chart's Pods meet, as `docs/security.md` has them.

use anyhow::{Result, ensure};
use herald_chart::Rendered;
use herald_lab::Lab;
use serde_json::{Value, json};

/// The API server takes the Pods where their standard is enforced, and a speaker nowhere else.
pub(crate) async fn meet_their_standards(lab: &Lab, rendered: &Rendered) -> Result<()> {
    let template = |kind: &str, name: &str| -> Result<Value> {
        Ok(rendered.object(kind, name)?["spec"]["template"].clone())
    };
    let controller = template("Deployment", "herald-controller")?;
    let speaker = template("DaemonSet", "herald-speaker")?;
    let refusal = refusal(lab, &controller, "restricted").await?;
    ensure!(refusal.is_none(), "controller: {refusal:?}");
    let refusal = self::refusal(lab, &speaker, "privileged").await?;
    ensure!(refusal.is_none(), "speaker: {refusal:?}");
    let refusal = self::refusal(lab, &speaker, "baseline").await?;
    ensure!(refusal.is_some(), "a speaker needs less than is documented");
    Ok(())
}

/// Why a Pod is not admitted to a namespace in which a standard is enforced.
async fn refusal(lab: &Lab, template: &Value, standard: &str) -> Result<Option<String>> {
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": standard,
            "labels": {"pod-security.kubernetes.io/enforce": standard},
        },
    });
    lab.apply_yaml(&namespace.to_string()).await?;
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "tried",
            "namespace": standard,
            "labels": template["metadata"]["labels"],
        },
        "spec": template["spec"],
    });
    let Err(error) = lab.apply_yaml(&pod.to_string()).await else {
        return Ok(None);
    };
    let why = format!("{error:#}");
    if why.contains("violates PodSecurity") {
        return Ok(Some(why));
    }
    Err(error)
}
