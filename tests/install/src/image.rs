//! The image, packed as `make image` does it, of the binary that other tests run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use herald_chart::root;
use herald_lab::herald_bin;

/// What the chart asks for without values.
pub const FIRST: &str = env!("CARGO_PKG_VERSION");
/// The tag of what comes after it.
pub const NEXT: &str = "next";

/// The image's name with a tag.
pub(crate) fn name(tag: &str) -> String {
    format!("localhost/herald:{tag}")
}

/// Packs the image twice, as its version and as the next one; the archives are in `folder`.
pub(crate) fn pack(folder: &Path) -> Result<Vec<PathBuf>> {
    // Like that of an image for users it has nothing for debuggers. Its name becomes the entry point's.
    let program = folder.join("herald");
    run(Command::new("strip")
        .arg("-o")
        .arg(&program)
        .arg(herald_bin()?))?;
    let pack = |tag: &str| {
        let archive = folder.join(format!("{tag}.tar"));
        run(Command::new(root().join("image/pack"))
            .arg(&program)
            .arg(name(tag))
            .arg(&archive))?;
        Ok(archive)
    };
    let archives = [FIRST, NEXT].map(pack).into_iter().collect();
    fs::remove_file(&program)?;
    archives
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
