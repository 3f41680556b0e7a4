//! The image that `image/pack` makes, and the Dockerfile's.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use herald_chart::root;
use serde_json::{Value, json};
use tempfile::TempDir;

const NAME: &str = "localhost/herald:9.9.9";

fn run(program: &Path, arguments: &[&Path]) -> Result<Output> {
    let output = Command::new(program).args(arguments).output();
    output.with_context(|| format!("cannot run {}", program.display()))
}

fn succeeded(output: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(String::from_utf8(output.stdout.clone())?)
}

/// A static program that says "ready", as the image's binary is one.
fn program(folder: &TempDir, linking: &str) -> Result<PathBuf> {
    let (source, program) = (folder.path().join("main.rs"), folder.path().join("herald"));
    fs::write(&source, "fn main() { println!(\"ready\"); }\n")?;
    let mut rustc = Command::new("rustc");
    rustc.arg("-C").arg(format!("target-feature={linking}"));
    let output = rustc.arg("-o").arg(&program).arg(&source).output()?;
    succeeded(&output)?;
    Ok(program)
}

fn pack(program: &Path, image: &Path) -> Result<Output> {
    let script = root().join("image/pack");
    run(&script, &[program, Path::new(NAME), image])
}

fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let arguments = [
        "--extract".as_ref(),
        "--directory".as_ref(),
        folder,
        "--file".as_ref(),
        archive,
    ];
    succeeded(&run(Path::new("tar"), &arguments)?).map(drop)
}

fn json_of(file: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(file)?)?)
}

/// The file of a descriptor, after its digest and size are found to be right.
fn blob(layout: &Path, descriptor: &Value) -> Result<PathBuf> {
    let digest = descriptor["digest"].as_str().context("no digest")?;
    let sum = digest.strip_prefix("sha256:").context("another digest")?;
    let file = layout.join("blobs/sha256").join(sum);
    let said = succeeded(&run(Path::new("sha256sum"), &[&file])?)?;
    ensure!(said.starts_with(sum), "{digest} is of something else");
    assert_eq!(descriptor["size"], fs::metadata(&file)?.len());
    Ok(file)
}

#[test]
fn an_image_has_one_program_and_is_made_the_same_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = program(&folder, "+crt-static")?;
    let (one, two) = (folder.path().join("1.tar"), folder.path().join("2.tar"));
    succeeded(&pack(&program, &one)?)?;
    succeeded(&pack(&program, &two)?)?;
    ensure!(fs::read(&one)? == fs::read(&two)?, "the second differs");

    let layout = folder.path().join("layout");
    unpack(&one, &layout)?;
    assert_eq!(
        json_of(&layout.join("oci-layout"))?,
        json!({"imageLayoutVersion": "1.0.0"})
    );
    let index = json_of(&layout.join("index.json"))?;
    let entry = &index["manifests"][0];
    let name = &entry["annotations"]["io.containerd.image.name"];
    assert_eq!(*name, NAME);
    let manifest = json_of(&blob(&layout, entry)?)?;
    let config = json_of(&blob(&layout, &manifest["config"])?)?;
    assert_eq!(config["config"]["Entrypoint"], json!(["/herald"]));
    assert_eq!(config["config"]["User"], "65534:65534");
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
    let layer = blob(&layout, &manifest["layers"][0])?;
    let docker = json_of(&layout.join("manifest.json"))?;
    assert_eq!(docker[0]["RepoTags"], json!([NAME]));

    let files = folder.path().join("files");
    unpack(&layer, &files)?;
    let names: Vec<_> = fs::read_dir(&files)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    assert_eq!(names, ["herald"]);
    let said = succeeded(&run(&files.join("herald"), &[])?)?;
    assert_eq!(said, "ready\n");
    Ok(())
}

#[test]
fn a_program_that_needs_libraries_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = program(&folder, "-crt-static")?;
    let output = pack(&program, &folder.path().join("1.tar"))?;
    ensure!(!output.status.success());
    let said = String::from_utf8(output.stderr)?;
    ensure!(said.contains("is not static"), "{said}");
    Ok(())
}

/// What an instruction of the Dockerfile's last stage says, with lines that go on joined.
fn instructions(dockerfile: &str) -> Vec<(&str, String)> {
    let last = dockerfile.rfind("\nFROM ").unwrap_or_default();
    let joined = dockerfile[last..]
        .lines()
        .filter(|line| !line.starts_with('#'));
    let mut all: Vec<(&str, String)> = Vec::new();
    let mut goes_on = false;
    for line in joined {
        let text = line.trim_end_matches('\\').trim();
        match all.last_mut() {
            Some((_, said)) if goes_on => *said = format!("{said} {text}"),
            _ => all.extend(
                text.split_once(' ')
                    .map(|(name, said)| (name, said.to_owned())),
            ),
        }
        goes_on = line.ends_with('\\');
    }
    all
}

#[test]
fn the_dockerfile_says_the_same_of_its_image() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let image = folder.path().join("1.tar");
    let name = format!("localhost/herald:{}", env!("CARGO_PKG_VERSION"));
    let script = root().join("image/pack");
    let arguments = [&program(&folder, "+crt-static")?, Path::new(&name), &image];
    succeeded(&run(&script, &arguments)?)?;
    let layout = folder.path().join("layout");
    unpack(&image, &layout)?;
    let index = json_of(&layout.join("index.json"))?;
    let manifest = json_of(&blob(&layout, &index["manifests"][0])?)?;
    let packed = json_of(&blob(&layout, &manifest["config"])?)?["config"].take();

    let dockerfile = fs::read_to_string(root().join("image/Dockerfile"))?;
    let said = instructions(&dockerfile);
    let one = |name: &str| -> Result<&str> {
        let mut found = said.iter().filter(|(it, _)| *it == name);
        let (_, text) = found.next().with_context(|| format!("no {name}"))?;
        ensure!(found.next().is_none(), "several {name}");
        Ok(text)
    };
    assert_eq!(one("USER")?, packed["User"]);
    let entrypoint: Value = serde_json::from_str(one("ENTRYPOINT")?)?;
    assert_eq!(entrypoint, packed["Entrypoint"]);
    assert_eq!(one("COPY")?, "--from=build /herald /herald");
    let version = one("ARG")?.strip_prefix("VERSION=").context("no VERSION")?;
    let labels = one("LABEL")?.replace("$VERSION", version);
    let labels: serde_json::Map<String, Value> = labels
        .split_whitespace()
        .map(|label| {
            let (key, value) = label.split_once('=').context("no value")?;
            Ok((key.to_owned(), serde_json::from_str(value)?))
        })
        .collect::<Result<_>>()?;
    assert_eq!(Value::Object(labels), packed["Labels"]);
    Ok(())
}
