//! The settings of an agent: flag over environment over file over default, checked before anything starts.

use std::io::{IsTerminal, stderr};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::{Config, Cookie, Cookies, GroupConfig, Limits, NodeName, TlsFiles};
use quorate_discovery::{Spec, nearest};
use quorate_env::PacedTcp;
use quorate_faults::Faults;
use quorate_http::code;
use toml::{Table, Value};
use tracing_subscriber::EnvFilter;

use super::Args;
use crate::fail::{Done, Fail};
use crate::wan::{self, Wan};
use crate::{args, secrets, span};

/// What the config file may say; the same as the long flags, but for the table `[drill]`.
const KEYS: [&str; 21] = [
    "name",
    "listen",
    "advertise",
    "http",
    "data",
    "join",
    "expect",
    "voters",
    "replace-after",
    "label",
    "lease",
    "cookie-file",
    "tls-cert",
    "tls-key",
    "tls-ca",
    "congestion",
    "data-connections",
    "api-token-file",
    "allow-exec",
    "drill",
    "log",
];

/// Everything that an agent starts from.
pub(crate) struct Settings {
    pub(crate) config: Config,
    /// Where the cookies were read, if they were named.
    pub(crate) cookie_file: Option<PathBuf>,
    pub(crate) http: String,
    pub(crate) token: Option<String>,
    pub(crate) allow_exec: bool,
    pub(crate) log: Log,
    pub(crate) wan: Option<Wan>,
    /// Whether this node lets itself be drilled.
    pub(crate) drill: Option<Drill>,
}

/// What a node has that lets itself be drilled.
pub(crate) struct Drill {
    pub(crate) faults: Faults,
    /// Whether what was not synced is lost with the process.
    pub(crate) forgetful: bool,
}

/// What is logged.
pub(crate) struct Log(EnvFilter);

impl Settings {
    /// Puts the settings together; clap has put flags over the environment.
    pub(crate) fn gather(mut args: Args) -> Result<Self, Fail> {
        if let Some(file) = args.config.take() {
            read_file(&mut args, &file)?;
        }
        let listen = args.listen.unwrap_or_else(|| "127.0.0.1:4747".to_owned());
        let http = args.http.unwrap_or_else(|| "127.0.0.1:4748".to_owned());
        let tls = tls_files(args.tls_cert, args.tls_key, args.tls_ca)?;
        let is_near = is_loopback("listen", &listen)?;
        let cookies = match &args.cookie_file {
            Some(file) => {
                let mut cookies = secrets::read_cookies(file)?.into_iter();
                let newest = cookies.next().ok_or_else(|| bad("the cookie file is empty"))?;
                Cookies::new(newest, cookies.next())
            }
            None if tls.is_some() => Cookies::none(),
            None if is_near => {
                let cookie = Cookie::new(secrets::own_cookie()?.0);
                cookie.map_err(|e| bad(e.to_string()))?.into()
            }
            None => {
                let why = format!(
                    "--listen {listen} is not loopback, and there is neither --cookie-file nor --tls-cert"
                );
                return Err(Fail::new(code::NO_SECRET, why));
            }
        };
        let token = args.api_token_file.as_deref().map(secrets::read).transpose()?;
        if token.is_none() && !is_loopback("http", &http)? {
            let why = format!("--http {http} is not loopback, and there is no --api-token-file");
            return Err(Fail::new(code::NO_SECRET, why));
        }
        let anywhere =
            resolve("listen", &listen)?.iter().any(|address| address.ip().is_unspecified());
        if anywhere && args.advertise.is_none() {
            let why =
                format!("--listen {listen} is every address of this machine, and none to dial");
            return Err(
                bad(why).next("add --advertise ADDR:PORT, the address that other nodes reach")
            );
        }
        let mut config = Config::new(node_name(args.name)?, cookies);
        // A cookie that is named for an address beyond loopback is the leave to be plain there.
        config.insecure = !is_near && tls.is_none();
        config.tls = tls;
        if let Some(control) = &args.congestion {
            PacedTcp::new(control).map_err(|e| bad(e.to_string()))?;
        }
        config.congestion = args.congestion;
        config.listen = listen;
        config.advertise = args.advertise;
        config.data = args.data.unwrap_or(config.data);
        config.join = addresses(&args.join.unwrap_or_default())?;
        config.expect = args.expect.unwrap_or(config.expect);
        config.voters = args.voters.unwrap_or(config.voters);
        config.replace_after = args.replace_after.unwrap_or(config.replace_after);
        config.labels = args.label.unwrap_or_default().into_iter().collect();
        if args.wan.is_some() {
            (config.group, config.limits) = (GroupConfig::wan(), Limits::wan());
            config.lease = wan::LEASE;
        }
        config.lease = args.lease.unwrap_or(config.lease);
        let connections = &mut config.limits.data_connections;
        *connections = args.data_connections.unwrap_or(*connections);
        config.validate().map_err(|e| bad(e.to_string()))?;
        let log = Log::new(args.log.as_deref().unwrap_or("info"))?;
        let allow_exec = args.allow_exec.unwrap_or(false);
        let drill = drill(args.allow_drill.unwrap_or(false), args.drill_forgetful)?;
        let (cookie_file, wan) = (args.cookie_file, args.wan);
        Ok(Self { config, cookie_file, http, token, allow_exec, log, wan, drill })
    }

    /// Says what follows from the settings.
    pub(crate) fn tell(&self) {
        let Config { lease, voters, expect, data, join, .. } = &self.config;
        tracing::info!(
            data = %data.display(), expect, voters, join = join.join(","), lease = ?lease,
            renews_every = ?(*lease / 5), answers_within = ?(*lease + Duration::from_secs(1)),
            "settings"
        );
        if self.config.insecure {
            tracing::warn!(
                "connections between nodes are plain: whoever can alter packets on the way can alter \
                 what they carry; `quorate ca` makes certificates for --tls-cert, --tls-key and --tls-ca"
            );
        }
        if let Some(Drill { forgetful, .. }) = self.drill {
            tracing::warn!(
                forgetful,
                "this node lets itself be drilled: whoever may write over HTTP may put its net, disk and \
                 clocks wrong for a while"
            );
        }
        if *expect == 0 && join.is_empty() {
            tracing::warn!(
                "no --join and no --expect: unless its data knows a cluster, this node waits to be found; \
                 a cluster of one begins with --expect 1"
            );
        }
    }
}

impl Log {
    fn new(level: &str) -> Result<Self, Fail> {
        // A plain level is meant for quorate; what other crates say at it would drown that.
        let plain = level.parse::<tracing::Level>().is_ok();
        let text = if plain { format!("warn,quorate={level}") } else { level.to_owned() };
        EnvFilter::try_new(&text).map(Self).map_err(|e| bad(format!("log is `{level}`: {e}")))
    }

    /// Begins to log to stderr.
    pub(crate) fn start(&self) -> Done {
        let colours =
            stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(self.0.to_string()))
            .with_writer(stderr)
            .with_ansi(colours)
            .try_init()
            .map_err(|e| bad(format!("logging: {e}")))
    }
}

/// Takes from the file what neither flag nor environment said.
fn read_file(args: &mut Args, file: &Path) -> Done {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(Fail::io(format!("reading {shown}")))?;
    let table: Table = text.parse().map_err(|e| bad(format!("{shown}: {e}")))?;
    for (key, value) in table {
        take(args, &key, &value).map_err(|why| match why {
            Wrong::Key => Fail::new(
                code::UNKNOWN_KEY,
                format!(
                    "{shown}: `{key}` is no key; the nearest is `{}`",
                    nearest(&key, &KEYS).unwrap_or(KEYS[0])
                ),
            ),
            Wrong::Value(why) => bad(format!("{shown}: `{key}`: {why}")),
        })?;
    }
    Ok(())
}

/// What does not fit about a key of the file.
enum Wrong {
    Key,
    Value(String),
}

fn take(args: &mut Args, key: &str, value: &Value) -> Result<(), Wrong> {
    match key {
        "name" => put(&mut args.name, || text(value)),
        "listen" => put(&mut args.listen, || text(value)),
        "advertise" => put(&mut args.advertise, || text(value)),
        "http" => put(&mut args.http, || text(value)),
        "data" => put(&mut args.data, || text(value).map(Into::into)),
        "join" => put(&mut args.join, || texts(value)),
        "expect" => put(&mut args.expect, || number(value)),
        "voters" => put(&mut args.voters, || number(value)),
        "replace-after" => put(&mut args.replace_after, || span::parse(&text(value)?)),
        "label" => put(&mut args.label, || labels(value)),
        "lease" => put(&mut args.lease, || span::parse(&text(value)?)),
        "cookie-file" => put(&mut args.cookie_file, || text(value).map(Into::into)),
        "tls-cert" => put(&mut args.tls_cert, || text(value).map(Into::into)),
        "tls-key" => put(&mut args.tls_key, || text(value).map(Into::into)),
        "tls-ca" => put(&mut args.tls_ca, || text(value).map(Into::into)),
        "congestion" => put(&mut args.congestion, || text(value)),
        "data-connections" => put(&mut args.data_connections, || number(value)),
        "api-token-file" => put(&mut args.api_token_file, || text(value).map(Into::into)),
        "allow-exec" => put(&mut args.allow_exec, || truth(value)),
        "drill" => take_drill(args, value),
        // A key that lets others harm this node is said in one way only.
        "allow-drill" => Err("it is said as `allow = true` below `[drill]`".to_owned()),
        "log" => put(&mut args.log, || text(value)),
        _ => return Err(Wrong::Key),
    }
    .map_err(Wrong::Value)
}

/// The table `[drill]`.
fn take_drill(args: &mut Args, value: &Value) -> Result<(), String> {
    let table =
        value.as_table().ok_or("it must be a table: `[drill]`, and below it `allow = true`")?;
    for (key, value) in table {
        match key.as_str() {
            "allow" => put(&mut args.allow_drill, || truth(value))?,
            _ => return Err(format!("`{key}` is no key of it; the nearest is `allow`")),
        }
    }
    Ok(())
}

/// Understands the value in any case, so that a file with a mistake is not one only on some days.
fn put<T>(place: &mut Option<T>, value: impl FnOnce() -> Result<T, String>) -> Result<(), String> {
    let value = value()?;
    place.get_or_insert(value);
    Ok(())
}

fn text(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| "it must be a string".to_owned())
}

fn truth(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "it must be true or false".to_owned())
}

fn number(value: &Value) -> Result<usize, String> {
    let number = value.as_integer().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| "it must be a number, 0 or more".to_owned())
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(list) => Ok(list.split(',').map(str::to_owned).collect()),
        Value::Array(list) => list.iter().map(text).collect(),
        _ => Err("it must be a string or a list of strings".to_owned()),
    }
}

fn labels(value: &Value) -> Result<Vec<(String, String)>, String> {
    match value {
        Value::Table(table) => {
            table.iter().map(|(key, value)| Ok((key.clone(), text(value)?))).collect()
        }
        value => texts(value)?.iter().map(|label| args::pair(label)).collect(),
    }
}

fn node_name(asked: Option<String>) -> Result<NodeName, Fail> {
    let host = || {
        let uname = rustix::system::uname();
        let host = uname.nodename().to_string_lossy().into_owned();
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        host.chars().map(|c| if fits(c) { c } else { '-' }).take(64).collect()
    };
    let name: String = asked.unwrap_or_else(host);
    NodeName::try_from(name.as_str()).map_err(|e| bad(format!("the name `{name}`: {e}")))
}

/// The switchboard of a node that lets itself be drilled; none where nobody may.
fn drill(is_allowed: bool, forgetful: bool) -> Result<Option<Drill>, Fail> {
    if forgetful && !is_allowed {
        return Err(bad("--drill-forgetful is for drills: it needs --allow-drill"));
    }
    Ok(is_allowed.then(|| Drill { faults: Faults::new(), forgetful }))
}

/// All three files of a certificate, or none.
fn tls_files(
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
) -> Result<Option<TlsFiles>, Fail> {
    match (cert, key, ca) {
        (None, None, None) => Ok(None),
        (Some(cert), Some(key), Some(ca)) => {
            secrets::guarded(&key)?;
            Ok(Some(TlsFiles { cert, key, ca }))
        }
        _ => Err(bad("--tls-cert, --tls-key and --tls-ca belong together, and not all are there")),
    }
}

/// Where to look for the others: addresses, and sources of addresses.
fn addresses(join: &[String]) -> Result<Vec<String>, Fail> {
    let entries = join.iter().map(|entry| entry.trim()).filter(|entry| !entry.is_empty());
    let understood = |entry: &str| match Spec::parse(entry) {
        Ok(_) => Ok(entry.to_owned()),
        Err(error) => Err(bad(format!("join: {error}"))),
    };
    entries.map(understood).collect()
}

fn is_loopback(what: &str, address: &str) -> Result<bool, Fail> {
    Ok(resolve(what, address)?.iter().all(|address| address.ip().is_loopback()))
}

fn resolve(what: &str, address: &str) -> Result<Vec<SocketAddr>, Fail> {
    let found: Vec<SocketAddr> = address
        .to_socket_addrs()
        .map_err(|e| {
            bad(format!("{what} is `{address}`, which is no ADDR:PORT of this machine: {e}"))
        })?
        .collect();
    match found.is_empty() {
        true => Err(bad(format!("{what} is `{address}`, which means no address"))),
        false => Ok(found),
    }
}

fn bad(why: impl Into<String>) -> Fail {
    Fail::new(code::BAD_SETTING, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(text: &str) -> Result<Args, Fail> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quorate.toml");
        std::fs::write(&path, text).unwrap();
        let mut args = Args { name: Some("flag".into()), ..Args::default() };
        read_file(&mut args, &path).map(|()| args)
    }

    #[test]
    fn the_file_gives_way_to_flags_and_knows_every_key() {
        let args = file(
            "name = \"file\"\nlisten = \"127.0.0.1:1\"\njoin = [\"a:1\", \"b:2\"]\nexpect = 3\nvoters = 5\n\
             lease = \"3s\"\nreplace-after = \"1h\"\nlabel = { zone = \"a\" }\ndata = \"/x\"\n\
             http = \"127.0.0.1:2\"\n\
             log = \"debug\"\n\
             advertise = \"c:3\"\ncookie-file = \"/c\"\n\
             tls-cert = \"/1\"\ntls-key = \"/2\"\ntls-ca = \"/3\"\n\
             congestion = \"reno\"\ndata-connections = 3\napi-token-file = \"/t\"\nallow-exec = true\n\
             [drill]\nallow = true\n",
        )
        .unwrap();
        assert_eq!(args.name.as_deref(), Some("flag"));
        assert_eq!(args.join, Some(vec!["a:1".to_owned(), "b:2".to_owned()]));
        assert_eq!((args.expect, args.voters), (Some(3), Some(5)));
        assert_eq!(args.lease, Some(Duration::from_secs(3)));
        assert_eq!(args.replace_after, Some(Duration::from_secs(3600)));
        assert_eq!(args.congestion.as_deref(), Some("reno"));
        assert_eq!((args.data_connections, args.allow_exec), (Some(3), Some(true)));
        assert_eq!(args.allow_drill, Some(true));
        assert_eq!(args.label, Some(vec![("zone".to_owned(), "a".to_owned())]));
    }

    #[test]
    fn what_the_file_says_wrongly_is_named() {
        let Err(Fail::Told(told)) = file("lisen = \"x\"") else { panic!("it was taken") };
        assert!(told.to_string().contains("the nearest is `listen`"), "{told}");
        for wrong in
            ["expect = -1", "expect = \"3\"", "lease = 2", "join = 7", "label = [\"zone\"]", "x ="]
        {
            assert!(file(wrong).is_err(), "{wrong}");
        }
        for (wrong, says) in [
            ("allow-drill = true", "`allow = true` below `[drill]`"),
            ("drill = true", "it must be a table"),
            ("[drill]\nalow = true", "the nearest is `allow`"),
            ("[drill]\nallow = \"yes\"", "true or false"),
        ] {
            let Err(Fail::Told(told)) = file(wrong) else { panic!("{wrong} was taken") };
            assert!(told.to_string().contains(says), "{told}");
        }
        // Also where a flag makes the value moot.
        assert!(file("name = 7").is_err());
    }

    #[test]
    fn a_congestion_control_that_the_kernel_lacks_is_refused_before_anything_starts() {
        let dir = tempfile::tempdir().unwrap();
        let cookie = dir.path().join("cookie");
        secrets::draw(&cookie).unwrap();
        let gather = |control: &str| {
            Settings::gather(Args {
                cookie_file: Some(cookie.clone()),
                congestion: Some(control.into()),
                ..Args::default()
            })
        };
        let config = gather("reno").unwrap().config;
        assert_eq!(config.congestion.as_deref(), Some("reno"));
        assert!(gather("no_such_one").map(drop).unwrap_err().is(code::BAD_SETTING));
    }

    #[test]
    fn a_node_is_drilled_only_by_leave_and_forgets_only_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let cookie = dir.path().join("cookie");
        secrets::draw(&cookie).unwrap();
        let gather = |allow_drill, drill_forgetful| {
            let cookie_file = Some(cookie.clone());
            Settings::gather(Args { cookie_file, allow_drill, drill_forgetful, ..Args::default() })
        };
        let drill = |allow, forgetful| gather(allow, forgetful).unwrap().drill;
        assert!(drill(None, false).is_none() && drill(Some(false), false).is_none());
        assert!(!drill(Some(true), false).unwrap().forgetful);
        assert!(drill(Some(true), true).unwrap().forgetful);
        assert!(gather(None, true).map(drop).unwrap_err().is(code::BAD_SETTING));
    }

    #[test]
    fn others_are_looked_for_at_addresses_and_where_sources_say() {
        let join = ["10.0.0.1:4747", " n4:1 ", "", "file:///nodes", "dns://nodes.local:4747"];
        let found = addresses(&join.map(str::to_owned));
        assert_eq!(
            found.unwrap(),
            ["10.0.0.1:4747", "n4:1", "file:///nodes", "dns://nodes.local:4747"]
        );
        for wrong in ["ftp://x", "dns+srv://", "n1", ":1", "n1:99999"] {
            assert!(addresses(&[wrong.into()]).unwrap_err().is(code::BAD_SETTING), "{wrong}");
        }
    }

    #[test]
    fn beyond_loopback_secrets_are_needed() {
        let gather = |listen: &str, http: &str, secret: Option<&Path>| {
            let args = Args {
                listen: Some(listen.into()),
                http: Some(http.into()),
                advertise: Some("10.0.0.1:4747".into()),
                cookie_file: secret.map(Path::to_owned),
                ..Args::default()
            };
            Settings::gather(args).map(|settings| settings.config)
        };
        let dir = tempfile::tempdir().unwrap();
        let cookie = dir.path().join("cookie");
        secrets::draw(&cookie).unwrap();
        assert!(gather("0.0.0.0:0", "127.0.0.1:0", None).unwrap_err().is(code::NO_SECRET));
        assert!(gather("127.0.0.1:0", "0.0.0.0:0", Some(&cookie)).unwrap_err().is(code::NO_SECRET));
        let plain = gather("0.0.0.0:0", "127.0.0.1:0", Some(&cookie)).unwrap();
        assert!(plain.labels.is_empty() && plain.insecure);
        assert!(!gather("127.0.0.1:0", "127.0.0.1:0", Some(&cookie)).unwrap().insecure);
    }

    #[test]
    fn a_certificate_stands_in_for_the_cookie_and_is_whole_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        secrets::write_whole(&key, "a key").unwrap();
        let gather = |parts: [bool; 3]| {
            let file = |at: usize| parts[at].then(|| key.clone());
            let args = Args {
                listen: Some("0.0.0.0:0".into()),
                advertise: Some("10.0.0.1:4747".into()),
                tls_cert: file(0),
                tls_key: file(1),
                tls_ca: file(2),
                ..Args::default()
            };
            Settings::gather(args).map(|settings| settings.config)
        };
        let config = gather([true; 3]).unwrap();
        assert!(config.tls.is_some() && config.cookies.is_empty() && !config.insecure);
        for parts in [[true, true, false], [false, true, true], [true, false, false]] {
            assert!(gather(parts).unwrap_err().is(code::BAD_SETTING));
        }
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o604)).unwrap();
        assert!(gather([true; 3]).unwrap_err().is(code::OPEN_SECRET));
    }
}
