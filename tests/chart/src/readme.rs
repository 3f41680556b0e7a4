//! The chart's README, made of the comments in `values.yaml`.

use std::path::PathBuf;

use anyhow::Result;

use crate::values::{self, Described};

/// How it is made anew.
pub const REMEDY: &str = "regenerate with: cargo run -p herald-chart --bin chart-readme";

const HEAD: &str = "\
# Chart herald

```
helm install herald charts/herald --namespace herald-system --create-namespace
```

[docs/install.md](../../docs/install.md) says what has to be there before, how to upgrade, and what each Pod
may do. The values of MetalLB's chart are taken, too; what is not in this table is refused, with the name of
the key. This page is made of the comments in `values.yaml`.

| value | default | meaning |
|---|---|---|
";

/// Where it is.
pub fn path() -> PathBuf {
    crate::chart().join("README.md")
}

/// What it should be.
pub fn page() -> Result<String> {
    let rows = values::described(&values::text()?)?;
    let rows = rows.iter().map(row);
    Ok(HEAD.to_owned() + &rows.collect::<String>())
}

fn row(value: &Described) -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    format!(
        "| `{}` | `{}` | {} |\n",
        value.path,
        cell(&value.default),
        cell(&value.meaning)
    )
}
