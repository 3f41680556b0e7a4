//! Keys, certificates, tokens and kubeconfig files of a lab.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use crate::net::address::{CONTROL_PLANE, Node};

/// Who may talk to the API server, with which groups. The tokens stand in for service account
/// tokens: same user names, same groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// `system:masters`: everything.
    Admin,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-proxy.
    Proxy,
    /// The service account `metallb-system/controller`.
    Controller,
    /// The service account `metallb-system/speaker`.
    Speaker,
}

impl User {
    pub(crate) const ALL: [Self; 5] = [
        Self::Admin,
        Self::ControllerManager,
        Self::Proxy,
        Self::Controller,
        Self::Speaker,
    ];

    fn file(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::ControllerManager => "kube-controller-manager",
            Self::Proxy => "kube-proxy",
            Self::Controller => "controller",
            Self::Speaker => "speaker",
        }
    }

    /// The user's name for RBAC.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::ControllerManager => "system:kube-controller-manager",
            Self::Proxy => "system:kube-proxy",
            Self::Controller => "system:serviceaccount:metallb-system:controller",
            Self::Speaker => "system:serviceaccount:metallb-system:speaker",
        }
    }

    fn groups(self) -> &'static str {
        match self {
            // The controller manager runs all its controllers under one name here.
            Self::Admin | Self::ControllerManager => "system:masters",
            Self::Proxy => "system:node-proxier",
            Self::Controller | Self::Speaker => {
                "system:serviceaccounts,system:serviceaccounts:metallb-system"
            }
        }
    }
}

/// The files in the lab's `pki` folder.
#[derive(Debug, Clone)]
pub(crate) struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Writes the certificate authority, the API server's certificate, the service account key,
    /// the token file and a kubeconfig for every user.
    pub(crate) fn create(dir: PathBuf, nodes: &[Node]) -> Result<Self> {
        fs::create_dir_all(&dir)?;
        let pki = Self { dir };
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "herald-lab");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::write(pki.ca(), authority.pem())?;

        let [v4, v6] = CONTROL_PLANE.both().map(|address| address.to_string());
        let names = [
            &v4,
            &v6,
            "127.0.0.1",
            "::1",
            "10.96.0.1",
            "fd96::1",
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
        ];
        let mut params = CertificateParams::new(names.map(String::from))?;
        params
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        fs::write(pki.server_cert(), params.signed_by(&key, &authority)?.pem())?;
        fs::write(pki.server_key(), key.serialize_pem())?;
        let key = KeyPair::generate()?;
        fs::write(pki.account_key(), key.serialize_pem())?;
        fs::write(pki.account_public_key(), key.public_key_pem())?;

        let tokens = User::ALL.map(|user| {
            format!(
                "{},{},{},\"{}\"\n",
                Self::token(user),
                user.name(),
                user.file(),
                user.groups()
            )
        });
        let kubelets = nodes.iter().map(|Node { name, .. }| {
            let token = Self::token_of(&kubelet(name));
            format!("{token},system:node:{name},{name},\"system:nodes\"\n")
        });
        fs::write(
            pki.tokens(),
            tokens.into_iter().chain(kubelets).collect::<String>(),
        )?;
        let server = format!("https://{v4}:6443");
        for user in User::ALL {
            pki.write_kubeconfig(&pki.kubeconfig(user), user, &server)?;
        }
        for node in nodes {
            let file = pki.kubelet_kubeconfig(node);
            pki.write_kubeconfig_of(&file, &kubelet(&node.name), &server)?;
        }
        Ok(pki)
    }

    pub(crate) fn write_kubeconfig(&self, file: &Path, user: User, server: &str) -> Result<()> {
        self.write_kubeconfig_of(file, user.file(), server)
    }

    fn write_kubeconfig_of(&self, file: &Path, user: &str, server: &str) -> Result<()> {
        let (ca, token) = (self.ca(), Self::token_of(user));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: lab\nclusters:\n- name: lab\n  \
             cluster:\n    server: {server}\n    certificate-authority: {}\ncontexts:\n- name: lab\n  \
             context:\n    cluster: lab\n    user: {user}\nusers:\n- name: {user}\n  user:\n    \
             token: {token}\n",
            ca.display(),
        );
        Ok(fs::write(file, text)?)
    }

    /// The labs' API servers are reachable from this machine's root only, so a fixed token does.
    pub(crate) fn token(user: User) -> String {
        Self::token_of(user.file())
    }

    fn token_of(file: &str) -> String {
        format!("herald-lab-{file}")
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    pub(crate) fn server_cert(&self) -> PathBuf {
        self.dir.join("apiserver.crt")
    }

    pub(crate) fn server_key(&self) -> PathBuf {
        self.dir.join("apiserver.key")
    }

    pub(crate) fn account_key(&self) -> PathBuf {
        self.dir.join("service-account.key")
    }

    pub(crate) fn account_public_key(&self) -> PathBuf {
        self.dir.join("service-account.pub")
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.dir.join("tokens.csv")
    }

    /// Valid inside the lab's namespaces that reach the management network.
    pub(crate) fn kubeconfig(&self, user: User) -> PathBuf {
        self.dir.join(format!("{}.kubeconfig", user.file()))
    }

    /// That of a node's kubelet, which may do what a kubelet may.
    pub(crate) fn kubelet_kubeconfig(&self, node: &Node) -> PathBuf {
        self.dir.join(format!("{}.kubeconfig", kubelet(&node.name)))
    }
}

fn kubelet(node: &str) -> String {
    format!("kubelet-{node}")
}
