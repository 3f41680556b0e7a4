//! What nodes announce with BGP: tables in `cases`, and what holds of any cluster.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod properties;
