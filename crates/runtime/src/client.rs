//! The client of the Kubernetes API.

mod token;

use std::path::Path;
use std::time::{Duration, Instant};

use kube::client::ClientBuilder;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::util::MapRequestLayer;

use crate::args::CommonArgs;
use crate::writes::ApiWrites;
use token::TokenFile;

const SERVICE_ACCOUNT_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one request that is not a watch may take before it counts as failed.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig file cannot be used.
    #[error("cannot use kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file as given.
        path: String,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
    },
    /// Neither a kubeconfig nor a service account.
    #[error("not in a cluster ({0}): give --kubeconfig")]
    NotInCluster(#[from] kube::config::InClusterError),
    /// There is no token where the configuration has it.
    #[error("cannot read the token for the Kubernetes API from {path}: {source}")]
    Token {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// The configuration gives no working client.
    #[error("cannot make a Kubernetes client: {0}")]
    Client(#[from] kube::Error),
    /// No namespace known.
    #[error(
        "no namespace: give --namespace, or METALLB_NAMESPACE, or run with a service account \
         ({SERVICE_ACCOUNT_NAMESPACE})"
    )]
    NoNamespace,
}

/// A client from `--kubeconfig`, else from the pod's service account, whose writes are counted.
/// Connects only with the first request.
pub async fn connect(args: &CommonArgs, writes: &ApiWrites) -> Result<Client, ClientError> {
    let kubeconfig = args
        .kubeconfig
        .as_deref()
        .filter(|path| !path.as_os_str().is_empty());
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::incluster()?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    // Each caller retries in its own way; retries hidden below would double their patience.
    config.default_retry = false;
    client(config, writes)
}

fn client(mut config: Config, writes: &ApiWrites) -> Result<Client, ClientError> {
    let token = take_token_file(&mut config.auth_info)?;
    let builder = ClientBuilder::try_from(config)?.with_layer(writes);
    Ok(match token {
        Some(token) => {
            let layer = MapRequestLayer::new(move |request| token.authorize(request));
            builder.with_layer(&layer).build()
        }
        None => builder.build(),
    })
}

/// The file that the token comes from, if it does: then kube need not care for it.
fn take_token_file(auth: &mut AuthInfo) -> Result<Option<TokenFile>, ClientError> {
    let other = auth.auth_provider.is_some()
        || auth.token.is_some()
        || auth.username.is_some() && auth.password.is_some();
    let Some(path) = auth.token_file.take_if(|_| !other) else {
        return Ok(None);
    };
    let token = TokenFile::new(Path::new(&path), Instant::now());
    token
        .map(Some)
        .map_err(|source| ClientError::Token { path, source })
}

async fn from_file(path: &Path) -> Result<Config, ClientError> {
    let problem = |source| ClientError::Kubeconfig {
        path: path.display().to_string(),
        source,
    };
    let file = Kubeconfig::read_from(path).map_err(problem)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(problem)
}

/// The namespace that Herald runs in: `--namespace`, else the service account's.
pub fn namespace(args: &CommonArgs) -> Result<String, ClientError> {
    args.namespace
        .clone()
        .or_else(|| std::fs::read_to_string(SERVICE_ACCOUNT_NAMESPACE).ok())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .ok_or(ClientError::NoNamespace)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn requests_have_the_token_of_the_file_unless_there_is_another() {
        crate::install_crypto_provider();
        let name = format!("herald-client-token-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "of-the-file").expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        for (other, expected) in [(None, "of-the-file"), (Some("given"), "given")] {
            let url = format!("http://{address}").parse().expect("a URL");
            let mut config = Config::new(url);
            config.auth_info.token_file = Some(path.display().to_string());
            config.auth_info.token = other.map(|token| token.to_owned().into());
            let client = client(config, &ApiWrites::default()).expect("a client");
            let request = tokio::spawn(async move { client.apiserver_version().await });
            let (mut server, _) = listener.accept().await.expect("a connection");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(server.read_u8().await.expect("a request"));
            }
            request.abort();
            let head = String::from_utf8(head).expect("text");
            let line = format!("authorization: Bearer {expected}\r\n");
            assert_eq!(head.matches("authorization:").count(), 1, "{head}");
            assert!(head.contains(&line), "{head}");
        }
        std::fs::remove_file(&path).expect("removed");
    }
}
