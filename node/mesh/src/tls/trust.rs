//! Whom to trust, and who that is: chains to the mesh's CA, and the node that a certificate is for.
//!
//! A certificate names its node by one URI, `quorate://MESH/NODE`. `MESH` keeps apart the meshes of one CA,
//! say of a company: certificates of staging open nothing in production. Host names and addresses in a
//! certificate are for others to look at.

use std::sync::Arc;

use quorate_vocab::NodeName;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerIncompatible, RootCertStore,
    SignatureScheme,
};

const SCHEME: &str = "quorate://";

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) mesh: String,
    pub(super) node: NodeName,
}

/// Reads it; `None` unless exactly one node is named.
pub(super) fn named(certificate: &CertificateDer<'_>) -> Option<Named> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut names = certificate.valid_uri_names().filter_map(|uri| uri.strip_prefix(SCHEME));
    let (Some(name), None) = (names.next(), names.next()) else {
        return None;
    };
    let (mesh, node) = name.split_once('/')?;
    let node = NodeName::try_from(node).ok()?;
    (!mesh.is_empty()).then(|| Named { mesh: mesh.to_owned(), node })
}

/// How a dialler checks an acceptor: as any server is checked, but for its host's name. Who it is, the
/// handshake compares after that. (An acceptor checks diallers by rustls' own verifier, as that looks at no
/// name.)
#[derive(Debug)]
pub(super) struct OfOurCa {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl OfOurCa {
    pub(super) fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Self {
        Self { roots, provider }
    }

    pub(super) fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, between, now, algorithms)?;
        named(certificate).map(drop).ok_or(CertificateError::NotValidForName.into())
    }
}

impl ServerCertVerifier for OfOurCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
