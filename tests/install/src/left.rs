//! What there is in a cluster and on its nodes, to compare it before and after.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;
use herald_lab::Lab;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams};
use kube::discovery::{Discovery, verbs};

/// Folders of a node that the container runtime and the kubelet keep for themselves.
const RUNTIME: [&str; 5] = [
    "run/containerd",
    "run/runc",
    "var/lib/containerd",
    "var/lib/kubelet",
    "var/log",
];

/// Namespace, kind and name of all objects of all kinds but events, which say what was and end by
/// themselves, and but what the control plane has in namespaces of its own.
pub async fn objects(lab: &Lab) -> Result<BTreeSet<String>> {
    let discovery = Discovery::new(lab.client()).run().await?;
    let mut names = BTreeSet::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if !capabilities.supports_operation(verbs::LIST) || resource.kind == "Event" {
                continue;
            }
            let api: Api<DynamicObject> = Api::all_with(lab.client(), &resource);
            for object in api.list(&ListParams::default()).await? {
                let namespace = object.namespace().unwrap_or_default();
                if namespace.starts_with("kube-") {
                    continue;
                }
                let (kind, name) = (&resource.kind, object.name_any());
                names.insert(format!("{namespace} {kind} {name}").trim().to_owned());
            }
        }
    }
    Ok(names)
}

/// Interfaces, addresses, routes, rules, tables of the packet filter, ports that somebody listens on, and
/// files of all nodes.
pub async fn nodes(lab: &Lab) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for node in lab.nodes() {
        let name = &node.name;
        // The command, and which words of its lines say what there is.
        for (command, words) in [
            ("ip -oneline link show", 1..2),
            ("ip -oneline address show", 1..4),
            ("ip -4 route show table all", 0..9),
            ("ip -6 route show table all", 0..9),
            ("ip -4 rule show", 0..9),
            ("ip -6 rule show", 0..9),
            ("nft list tables", 0..9),
            ("ss -Hlnt", 3..4),
            ("ss -Hlnu", 3..4),
        ] {
            let said = lab
                .exec(name, &command.split(' ').collect::<Vec<_>>())
                .await?;
            for line in said.lines() {
                let line: Vec<&str> = line.split_whitespace().collect();
                let end = words.end.min(line.len());
                let line = line.get(words.start..end).unwrap_or_default().join(" ");
                found.insert(format!("{name} {command}: {line}"));
            }
        }
        let root = lab.dir().join(name);
        for folder in ["run", "var"] {
            files(&root, &root.join(folder), &mut |path| {
                found.insert(format!("{name} /{path}"));
            });
        }
    }
    Ok(found)
}

/// Tells `keep` of all files and folders below a folder, by their paths from `root` on.
fn files(root: &Path, folder: &Path, keep: &mut impl FnMut(&str)) {
    // One that is gone meanwhile has nothing in it.
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        let below = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
        if RUNTIME.contains(&below.as_ref()) {
            continue;
        }
        keep(&below);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(root, &path, keep);
        }
    }
}
