//! A CA in a directory: its key, its certificate, and what it has issued.
//!
//! ```text
//! DIR/ca.key      0600, the secret                 DIR/ca.crt         for every node
//! DIR/ca.toml     mesh, subject, when it ends      DIR/nodes/N.toml   addresses, serial, when it ends
//! ```

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use quorate::NodeName;
use quorate_http::code;
use rand::TryRng;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::fail::{Done, Fail};
use crate::secrets;

/// Certificates begin a little in the past, for nodes whose clocks are behind.
const BEGINS_BEFORE: Duration = Duration::from_secs(3600);

const DAY: Duration = Duration::from_secs(86_400);

/// A CA.
pub(super) struct Authority {
    dir: PathBuf,
    about: About,
    key: KeyPair,
}

/// What is known of a CA besides its key.
#[derive(Serialize, Deserialize)]
struct About {
    /// Nodes let in only certificates of the same mesh.
    mesh: String,
    /// What the CA is called in certificates; another one for each CA, so that two can be told apart.
    subject: String,
    /// When it ends, in seconds of the calendar.
    ends: i64,
}

/// What is known of a node's certificate.
#[derive(Serialize, Deserialize)]
struct Record {
    addresses: Vec<String>,
    serial: String,
    ends: i64,
}

/// What was issued.
pub(super) struct Issued {
    pub(super) node: NodeName,
    /// The day.
    pub(super) ends: String,
    /// The folder of the three files.
    pub(super) out: PathBuf,
    /// Whether it ends sooner than was asked, with the CA.
    pub(super) was_cut: bool,
}

impl Authority {
    /// Makes one. What is there already stays as it is.
    pub(super) fn make(dir: &Path, mesh: &str, days: u32) -> Result<Self, Fail> {
        let mesh = name("--name", mesh)?;
        let doing = || format!("making a CA in {}", dir.display());
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(Fail::io(doing()))?;
        let key = KeyPair::generate().map_err(failed)?;
        let [mark, _] = serial().map(|half| format!("{half:016x}"));
        let about = About {
            subject: format!("quorate mesh {mesh} {mark}"),
            mesh: mesh.into(),
            ends: later(days),
        };
        let mut params = about.params();
        params.not_before = moment(calendar() - BEGINS_BEFORE.as_secs() as i64)?;
        params.not_after = moment(about.ends)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        // The key first, and never over another: of two that run at once, one is refused here.
        write_new(&dir.join("ca.key"), &key.serialize_pem())?;
        secrets::write_whole(&dir.join("ca.crt"), &certificate.pem())?;
        write_toml(&dir.join("ca.toml"), &about)?;
        Ok(Self { dir: dir.to_owned(), about, key })
    }

    /// Opens one.
    pub(super) fn open(dir: &Path) -> Result<Self, Fail> {
        let file = dir.join("ca.key");
        if !file.exists() {
            return Err(Fail::new(code::NO_CA, format!("{} does not exist", file.display())));
        }
        let key = KeyPair::from_pem(&secrets::read(&file)?);
        let key = key.map_err(|_| unreadable(&file))?;
        let about = read_toml(&dir.join("ca.toml"))?;
        Ok(Self { dir: dir.to_owned(), about, key })
    }

    pub(super) fn mesh(&self) -> &str {
        &self.about.mesh
    }

    pub(super) fn ends(&self) -> String {
        day(self.about.ends)
    }

    /// Issues a node its first certificate.
    pub(super) fn issue(
        &self,
        node: &str,
        addresses: &[String],
        days: u32,
        out: Option<&Path>,
    ) -> Result<Issued, Fail> {
        let node = name("--node", node)?;
        let record = self.record(&node);
        if record.exists() {
            let why = format!("{} says that {node} has one", record.display());
            return Err(Fail::new(code::IS_THERE, why));
        }
        self.sign(node, addresses.to_vec(), days, out)
    }

    /// Issues a node's certificate anew.
    pub(super) fn renew(&self, node: &str, days: u32, out: Option<&Path>) -> Result<Issued, Fail> {
        let node = name("--node", node)?;
        let file = self.record(&node);
        if !file.exists() {
            let why = format!("{node} was never issued a certificate here");
            return Err(Fail::new(code::NO_CA, why));
        }
        let record: Record = read_toml(&file)?;
        self.sign(node, record.addresses, days, out)
    }

    fn record(&self, node: &NodeName) -> PathBuf {
        self.dir.join("nodes").join(format!("{node}.toml"))
    }

    fn sign(
        &self,
        node: NodeName,
        addresses: Vec<String>,
        days: u32,
        out: Option<&Path>,
    ) -> Result<Issued, Fail> {
        let asked = later(days);
        let ends = asked.min(self.about.ends);
        if ends <= calendar() {
            return Err(Fail::new(code::NO_CA, format!("this CA ended on {}", self.ends())).next(
                "make another with `quorate ca init`, and exchange them as its --help says",
            ));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, node.as_str());
        params.subject_alt_names = alternatives(&self.about.mesh, &node, &addresses)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = moment(calendar() - BEGINS_BEFORE.as_secs() as i64)?;
        params.not_after = moment(ends)?;
        let [high, low] = serial();
        let bytes = [high.to_be_bytes(), low.to_be_bytes()].concat();
        params.serial_number = Some(SerialNumber::from_slice(&bytes));
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = Issuer::new(self.about.params(), &self.key);
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;

        let out = out.map_or_else(|| self.dir.join("issued").join(node.as_str()), Path::to_owned);
        for folder in [&out, &self.dir.join("nodes")] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(Fail::io(format!("making {}", folder.display())))?;
        }
        let ca = fs::read_to_string(self.dir.join("ca.crt")).map_err(Fail::io("reading ca.crt"))?;
        secrets::write_whole(&out.join("ca.crt"), &ca)?;
        secrets::write_whole(&out.join("node.key"), &key.serialize_pem())?;
        secrets::write_whole(&out.join("node.crt"), &certificate.pem())?;
        let record = Record { addresses, serial: format!("{high:016x}{low:016x}"), ends };
        write_toml(&self.record(&node), &record)?;
        Ok(Issued { node, ends: day(ends), out, was_cut: ends < asked })
    }
}

impl About {
    /// What its own certificate says, and what issuing needs of that.
    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, self.subject.as_str());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }
}

/// Who the certificate is for: the one URI that nodes look at, and addresses for others.
fn alternatives(mesh: &str, node: &NodeName, hosts: &[String]) -> Result<Vec<SanType>, Fail> {
    let uri = format!("quorate://{mesh}/{node}");
    let mut names = vec![SanType::URI(uri.try_into().map_err(failed)?)];
    for host in hosts {
        names.push(match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if is_host(host) => SanType::DnsName(host.as_str().try_into().map_err(failed)?),
            Err(_) => {
                let why = format!("--address {host} is no host's name and no address");
                return Err(Fail::new(code::BAD_SETTING, why).next("leave the port away"));
            }
        });
    }
    Ok(names)
}

fn is_host(host: &str) -> bool {
    let fits = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    host.len() <= 253 && host.split('.').all(fits)
}

/// A mesh and a node are called alike: by what fits into a URI as it is, and into a file's name.
fn name(what: &str, text: &str) -> Result<NodeName, Fail> {
    let wrong = |why: String| Fail::new(code::BAD_SETTING, format!("{what} `{text}`: {why}"));
    if text.starts_with('.') {
        return Err(wrong("it begins with a dot".to_owned()));
    }
    NodeName::try_from(text).map_err(|error| wrong(error.to_string()))
}

/// 127 random bits that are not zero.
fn serial() -> [u64; 2] {
    let mut dice = quorate_env::dice();
    let mut half = || {
        let Ok(half) = dice.try_next_u64();
        half
    };
    [half() >> 1 | 1, half()]
}

/// Seconds of the calendar.
#[expect(
    clippy::disallowed_methods,
    reason = "certificates are bound to the calendar, by their nature"
)]
fn calendar() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn later(days: u32) -> i64 {
    calendar() + i64::from(days) * DAY.as_secs() as i64
}

fn moment(seconds: i64) -> Result<OffsetDateTime, Fail> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(failed)
}

fn day(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).map_or_else(
        |_| "a day that no calendar knows".to_owned(),
        |at| format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day()),
    )
}

fn failed(error: impl std::fmt::Display) -> Fail {
    Fail::new(code::IO, format!("making a certificate: {error}"))
}

fn unreadable(file: &Path) -> Fail {
    Fail::new(code::BAD_SETTING, format!("{} does not read as it should", file.display()))
}

/// Writes a secret where nothing is.
fn write_new(file: &Path, text: &str) -> Done {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut open = opened.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Fail::new(code::IS_THERE, file.display().to_string()),
        _ => Fail::io(format!("writing {}", file.display()))(error),
    })?;
    let written = open.write_all(text.as_bytes()).and_then(|()| open.sync_all());
    written.map_err(Fail::io(format!("writing {}", file.display())))
}

fn write_toml(file: &Path, what: &impl Serialize) -> Done {
    secrets::write_whole(file, &toml::to_string(what).map_err(failed)?)
}

fn read_toml<T: for<'a> Deserialize<'a>>(file: &Path) -> Result<T, Fail> {
    let text = fs::read_to_string(file);
    let text = text.map_err(Fail::io(format!("reading {}", file.display())))?;
    toml::from_str(&text).map_err(|_| unreadable(file))
}
