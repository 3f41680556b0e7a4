//! Requests from a part of the lab.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::http::{HttpAnswer, get};
use crate::cluster::pod::Answer;
use crate::lab::Lab;

impl Lab {
    /// GETs a path from inside a part.
    pub async fn http_get(
        &self,
        part: &str,
        address: IpAddr,
        port: u16,
        path: &str,
        timeout: Duration,
    ) -> Result<HttpAnswer> {
        let (to, path) = (SocketAddr::new(address, port), path.to_owned());
        let answer = self
            .netns(part)
            .run_async(move || get(to, &path, timeout))
            .await?;
        answer.with_context(|| format!("GET http://{to} from {part}"))
    }

    /// Asks a backend by HTTP, with a timeout of one second: which one answered, and what it saw.
    pub async fn ask(&self, part: &str, address: IpAddr, port: u16) -> Result<Answer> {
        let answer = self
            .http_get(part, address, port, "/", Duration::from_secs(1))
            .await?;
        Ok(serde_json::from_str(&answer.body)?)
    }
}
