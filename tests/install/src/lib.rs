//! A cluster of nodes with kubelets, Herald's image on them, and its release by Helm.

mod cluster;
mod image;
mod left;

pub use cluster::{Cluster, PATIENCE, none_failed};
pub use image::{FIRST, NEXT};
pub use left::{nodes, objects};
