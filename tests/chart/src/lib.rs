//! The Helm chart as its tests see it: rendered by the real Helm, read as values and as text.

pub mod matrix;
pub mod metrics;
pub mod readme;
pub mod values;

mod helm;
mod kubectl;

use std::path::{Path, PathBuf};

pub use helm::{Helm, NAMESPACE, Rendered};
pub use kubectl::kubectl;

/// The folder of the chart.
pub fn chart() -> PathBuf {
    root().join("charts/herald")
}

/// The root of the source tree.
pub fn root() -> &'static Path {
    // Two up from this crate.
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.ancestors().nth(2).unwrap_or(tests)
}

/// A program that a build script of the tests put into the user's cache, or what `variable` names.
pub fn tool(name: &str, variable: &str) -> anyhow::Result<PathBuf> {
    let cache = || {
        let own = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        own.or_else(home)
            .map(|cache| cache.join("herald").join(name))
    };
    let path = std::env::var_os(variable).map(PathBuf::from).or_else(cache);
    let path = path.unwrap_or_default();
    anyhow::ensure!(
        path.is_file(),
        "{} is not there: run make {name}, or set {variable}",
        path.display()
    );
    Ok(path)
}
