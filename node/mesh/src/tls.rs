//! TLS 1.3, both ways: a [`Net`] around another one, whose every connection is secret, and whose both ends
//! have shown a certificate of the mesh's CA.
//!
//! What the certificate says and what only the two ends know (RFC 9266) goes along as
//! [`Secured`], and the [handshake](crate::handshake) binds itself to it: the name of a hello has to be the
//! certificate's, and a proof fits the one connection that it was made for.
//!
//! Deliberately few choices: no older version, no resumption (a certificate is checked each time), no early
//! data (it can be replayed), no look at host names (a node is who it is wherever it runs).
//!
//! Not here: deadlines and limits. Whoever calls [`Net::secure`] and [`Net::connect`] holds them, as for any
//! stranger. Nor withdrawn certificates: they end soon instead, and are replaced while the mesh runs.

mod identity;
mod trust;

use std::io;
use std::sync::Arc;

use quorate_env::{BoxFuture, Listener, Net, Secured, Stream};
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, CertificateError, ConnectionCommon, Error, InvalidMessage, SideData,
};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::Reason;
use crate::handshake::Failure;

pub use identity::{Identity, TlsError, TlsFiles};

/// How much is read from the connection below at once: two full records.
const READ_BYTES: usize = 32 * 1024;

/// The label of RFC 9266.
const EXPORTER: &[u8] = b"EXPORTER-Channel-Binding";

/// A net whose connections are secured.
pub struct Tls {
    inner: Arc<dyn Net>,
    identity: Identity,
}

impl Tls {
    /// Secures what another net carries.
    pub fn over(inner: Arc<dyn Net>, identity: Identity) -> Self {
        Self { inner, identity }
    }
}

impl Net for Tls {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.inner.listen(address)
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = self.inner.connect(address).await?;
            let sides = self.identity.present();
            // It has to be something, is not sent, and is not looked at: see `trust`.
            let name = ServerName::try_from("quorate").expect("it is a name");
            let connector = TlsConnector::from(sides.client.clone());
            let open = connector.connect(name, joined(stream)).await?;
            let secured = secured(open.get_ref().1, &sides.ours.mesh)?;
            Ok(apart(open, secured))
        })
    }

    fn secure(&self, stream: Stream) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let sides = self.identity.present();
            let acceptor = TlsAcceptor::from(sides.server.clone());
            let open = acceptor.accept(joined(stream)).await?;
            let secured = secured(open.get_ref().1, &sides.ours.mesh)?;
            Ok(apart(open, secured))
        })
    }
}

fn joined(stream: Stream) -> impl AsyncRead + AsyncWrite + Send + Unpin {
    tokio::io::join(BufReader::with_capacity(READ_BYTES, stream.reader), stream.writer)
}

fn apart(open: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, secured: Secured) -> Stream {
    let (reader, writer) = tokio::io::split(open);
    Stream { secured: Some(secured), ..Stream::plain(reader, writer) }
}

/// What an open connection shows of its other end.
fn secured<D: SideData>(open: &ConnectionCommon<D>, mesh: &str) -> io::Result<Secured> {
    let shown = open.peer_certificates().and_then(<[_]>::first);
    let named = shown.and_then(trust::named).filter(|named| named.mesh == mesh);
    let named = named.ok_or_else(|| {
        let error = CertificateError::NotValidForName;
        io::Error::new(io::ErrorKind::InvalidData, Error::InvalidCertificate(error))
    })?;
    let exporter = open.export_keying_material([0; 32], EXPORTER, None);
    let exporter = exporter.map_err(io::Error::other)?;
    Ok(Secured { node: named.node, exporter })
}

/// Why a connection failed while it was secured, or at the first read after that: a certificate that an
/// acceptor does not like is told to the dialler only then.
pub(crate) fn failure(error: &io::Error) -> Failure {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    let Some(cause) = cause else {
        return Reason::Gone.into();
    };
    tracing::debug!(%cause, "a connection could not be secured");
    match cause {
        Error::AlertReceived(alert) => Failure { reason: Reason::Refused, told: told(*alert) },
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => Reason::Expired.into(),
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Reason::Untrusted.into(),
        Error::InvalidMessage(
            InvalidMessage::MessageTooLarge
            | InvalidMessage::HandshakePayloadTooLarge
            | InvalidMessage::CertificatePayloadTooLarge,
        ) => Reason::TooLong.into(),
        Error::InvalidMessage(_) => Reason::HalfSecured.into(),
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Reason::NoCommonVersion.into(),
        Error::PeerSentOversizedRecord => Reason::TooLong.into(),
        _ => Reason::Malformed.into(),
    }
}

/// What an alert says, in the words of a refusal.
fn told(alert: AlertDescription) -> Option<u8> {
    use AlertDescription as Alert;
    let reason = match alert {
        Alert::CertificateExpired => Reason::Expired,
        Alert::BadCertificate
        | Alert::CertificateRequired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::UnsupportedCertificate => Reason::Untrusted,
        Alert::ProtocolVersion | Alert::NoApplicationProtocol => Reason::NoCommonVersion,
        _ => return None,
    };
    Some(reason.code())
}
