//! Writes the CRDs of all kinds into the chart, one file for each kind, and the reference of their
//! fields: `cargo run -p herald-api --example crdgen`.

use std::fs;
use std::path::Path;

#[path = "../tests/crd_yaml/mod.rs"]
mod crd_yaml;

fn main() -> std::io::Result<()> {
    let folder = Path::new(crd_yaml::FOLDER);
    fs::create_dir_all(folder)?;
    for (name, text) in crd_yaml::files() {
        fs::write(folder.join(name), text)?;
    }
    fs::write(crd_yaml::reference::PAGE, crd_yaml::reference::page())
}
