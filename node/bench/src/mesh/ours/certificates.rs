//! Certificates for one game over TLS, from a CA that nobody has any more once both nodes have theirs.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use quorate::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};

use crate::error::BenchError;

/// Issues the certificates of both nodes into a directory.
pub(super) fn issue(dir: &Path) -> Result<(), BenchError> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = KeyPair::generate().and_then(|key| CertifiedIssuer::self_signed(params, key));
    let ca = ca.map_err(|error| failed(&error))?;
    ["near", "far"].into_iter().try_for_each(|node| {
        let files = files(dir, node);
        let (cert, key) = issued(&ca, node).map_err(|error| failed(&error))?;
        let all = [(&files.cert, cert), (&files.key, key), (&files.ca, ca.pem())];
        all.into_iter().try_for_each(|(path, pem)| {
            // A key that others can read would be refused.
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let written = file.and_then(|mut file| file.write_all(pem.as_bytes()));
            written.map_err(BenchError::system("writing certificates"))
        })
    })
}

/// Where those of a node lie.
pub(super) fn files(dir: &Path, node: &str) -> TlsFiles {
    let at = |end: &str| dir.join(format!("{node}.{end}"));
    TlsFiles { cert: at("crt"), key: at("key"), ca: at("ca") }
}

fn issued(ca: &CertifiedIssuer<'_, KeyPair>, node: &str) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(format!("quorate://bench/{node}").try_into()?)];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, ca)?.pem(), key.serialize_pem()))
}

fn failed(error: &rcgen::Error) -> BenchError {
    BenchError::NoNode { why: format!("its certificate could not be issued: {error}") }
}
