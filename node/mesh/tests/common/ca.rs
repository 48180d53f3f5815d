//! Certificates for tests, drawn anew for each run: a CA that issues what it is asked for, good or bad.

#![allow(dead_code, unreachable_pub, reason = "each test file uses another part")]

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use quorate_env::{Net, Tcp};
use quorate_mesh::{Identity, Tls, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use tempfile::TempDir;

/// A CA and a folder for what it issues.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Ca {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, dir: tempfile::tempdir().unwrap() }
    }

    /// A certificate like any other of the mesh `tests`, for one node.
    pub fn usual(node: &str) -> CertificateParams {
        Self::naming(&[&format!("quorate://tests/{node}")])
    }

    /// A usual certificate, but for what is changed about it.
    pub fn but(node: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
        let mut params = Self::usual(node);
        change(&mut params);
        params
    }

    /// A certificate with these URIs.
    pub fn naming(uris: &[&str]) -> CertificateParams {
        let mut params = CertificateParams::default();
        let uri = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
        params.subject_alt_names = uris.iter().map(uri).collect();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params
    }

    /// Issues a certificate into the files of a node, over those that may be there.
    pub fn issue(&self, node: &str, params: &CertificateParams) -> TlsFiles {
        let files = self.files(node);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        write(&files.key, &key.serialize_pem());
        write(&files.cert, &certificate.pem());
        write(&files.ca, &self.pem());
        files
    }

    pub fn files(&self, node: &str) -> TlsFiles {
        let at = |end: &str| self.dir.path().join(format!("{node}.{end}"));
        TlsFiles { cert: at("crt"), key: at("key"), ca: at("ca") }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn identity(&self, node: &str) -> Identity {
        let files = self.issue(node, &Self::usual(node));
        Identity::load(files, &node.try_into().unwrap()).unwrap()
    }

    /// The system's TCP, secured for a node.
    pub fn net(&self, node: &str) -> Arc<dyn Net> {
        Arc::new(Tls::over(Arc::new(Tcp), self.identity(node)))
    }
}

/// Writes a file anew, so that it is seen to be another.
pub fn write(path: &Path, text: &str) {
    use std::io::Write;
    let part = path.with_extension("part");
    let mut open = std::fs::OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(&part).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    drop(file);
    std::fs::rename(part, path).unwrap();
}
