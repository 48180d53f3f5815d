//! Who a node is, by certificate: three files, read at the start and again whenever they have changed.
//!
//! Files that do not fit together are refused at the start. Later the last ones that did stay in use, and the
//! log says why: a certificate that is copied before its key must not cut off a node.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use quorate_vocab::NodeName;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::trust::{Named, OfOurCa, named};

/// No file of certificates or of a key is longer.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What both sides have to want to speak, so that nothing else that trusts the same CA is talked to.
const PROTOCOL: &[u8] = b"quorate-mesh";

/// Where the certificate of a node lies. All in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The node's certificate, and those between it and the CA, if there are.
    pub cert: PathBuf,
    /// The certificate's private key. Only its owner may read it.
    pub key: PathBuf,
    /// Who may issue certificates of this mesh. More than one while a CA is exchanged for another.
    pub ca: PathBuf,
}

/// Why the files make no identity. At the start nothing was begun; later the former ones stay in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read. Worth retrying when it is there.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key that others than its owner can read is no secret. Take the rights away, better issue a new one.
    #[error("{} has mode {mode:04o}; a private key is for its owner only (0600)", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// A file does not hold what it should. Useless to retry without changing it.
    #[error("{} is not what it should be: {why}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong about it.
        why: String,
    },
    /// The certificate is for another node. Give each node its own.
    #[error("the certificate is for {found}, and this node is {node}")]
    OtherNode {
        /// Who this node is.
        node: NodeName,
        /// Who the certificate is for.
        found: NodeName,
    },
}

/// A node's identity. Clones are the same.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    files: TlsFiles,
    held: Mutex<Held>,
}

struct Held {
    sides: Arc<Sides>,
    /// What the files looked like when they were read last, in use or not.
    looked: [Look; 3],
}

/// Enough of a file to see that it was replaced.
type Look = Option<(SystemTime, u64, u64)>;

/// What is needed to open connections and to accept them.
pub(super) struct Sides {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
    pub(super) ours: Named,
}

impl Identity {
    /// Reads the files of a node. They have to fit together: the key to the certificate, and that to the
    /// node, to the CA and to now.
    pub fn load(files: TlsFiles, node: &NodeName) -> Result<Self, TlsError> {
        let looked = files.look();
        let sides = Arc::new(Sides::read(&files, node)?);
        Ok(Self(Arc::new(Inner { files, held: Mutex::new(Held { sides, looked }) })))
    }

    /// Reads the files again if they have changed; says whether they had. Connections that are open stay as
    /// they are. Every connection that begins does this by itself.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Inner { files, .. } = &*self.0;
        let mut held = self.held();
        // First the look, then the content: a change in between is seen as one at the next time.
        let looked = files.look();
        if looked == held.looked {
            return Ok(false);
        }
        held.looked = looked;
        held.sides = Arc::new(Sides::read(files, &held.sides.ours.node)?);
        Ok(true)
    }

    /// What is in use now.
    pub(super) fn present(&self) -> Arc<Sides> {
        match self.reload() {
            Ok(true) => tracing::info!("the certificate was replaced"),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "the certificate's files changed; the former ones stay");
            }
        }
        self.held().sides.clone()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.held.lock().expect("nothing panics while it reads certificates")
    }
}

impl TlsFiles {
    fn look(&self) -> [Look; 3] {
        [&self.cert, &self.key, &self.ca].map(|path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.modified().ok()?, meta.len(), inode(&meta)))
        })
    }
}

impl Sides {
    fn read(files: &TlsFiles, node: &NodeName) -> Result<Self, TlsError> {
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |why: String| TlsError::Content { path, why }
        };
        let chain = certificates(&files.cert)?;
        let key = key(&files.key)?;
        let mut roots = RootCertStore::empty();
        for root in certificates(&files.ca)? {
            roots.add(root).map_err(|e| wrong(&files.ca)(e.to_string()))?;
        }
        let provider = Arc::new(ring::default_provider());
        let ours = named(&chain[0]).ok_or_else(|| {
            wrong(&files.cert)("it names no node by exactly one quorate://MESH/NODE".into())
        })?;
        if ours.node != *node {
            return Err(TlsError::OtherNode { node: node.clone(), found: ours.node });
        }
        let trust = Arc::new(OfOurCa::new(roots.clone(), provider.clone()));
        // Whoever would be refused by all others had better know it at the start.
        trust.verify(&chain[0], &chain[1..], UnixTime::now()).map_err(|error| {
            wrong(&files.cert)(match error {
                rustls::Error::InvalidCertificate(why) => format!("{why}, judged by the CA's file"),
                error => error.to_string(),
            })
        })?;

        let tls13 = "the provider has suites of TLS 1.3";
        let diallers = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .map_err(|e| wrong(&files.ca)(e.to_string()))?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .expect(tls13)
            .with_client_cert_verifier(diallers)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|e| wrong(&files.key)(e.to_string()))?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![PROTOCOL.to_vec()];

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect(tls13)
            .dangerous()
            .with_custom_certificate_verifier(trust)
            .with_client_auth_cert(chain, key)
            .map_err(|e| wrong(&files.key)(e.to_string()))?;
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self { client: Arc::new(client), server: Arc::new(server), ours })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |why: String| TlsError::Content { path: path.to_owned(), why };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong("there is no certificate in it".into())),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let meta = std::fs::metadata(path).map_err(|source| unread(path, source))?;
    let mode = mode(&meta);
    if mode & 0o077 != 0 {
        return Err(TlsError::Open { path: path.to_owned(), mode });
    }
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| {
        // What is wrong is said, never what stands there.
        let why = match error {
            rustls::pki_types::pem::Error::NoItemsFound => "there is no private key in it",
            _ => "it does not read as a private key in PEM",
        };
        TlsError::Content { path: path.to_owned(), why: why.into() }
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let meta = std::fs::metadata(path).map_err(|source| unread(path, source))?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        let why = format!("it is no file of at most {FILE_BYTES_MAX} bytes");
        return Err(TlsError::Content { path: path.to_owned(), why });
    }
    std::fs::read(path).map_err(|source| unread(path, source))
}

fn unread(path: &Path, source: io::Error) -> TlsError {
    TlsError::Read { path: path.to_owned(), source }
}

#[cfg(unix)]
fn mode(meta: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(meta) & 0o777
}

#[cfg(unix)]
fn inode(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn mode(_: &std::fs::Metadata) -> u32 {
    0o600
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}
