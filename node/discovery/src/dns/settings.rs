//! `/etc/resolv.conf` and `/etc/hosts`: which servers to ask, and what need not be asked.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::message::is_name;

/// As the C library has it.
const SERVERS_MAX: usize = 3;
const SUFFIXES_MAX: usize = 6;

/// How names are looked up on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) servers: Vec<SocketAddr>,
    /// What is put behind a short name.
    pub(crate) suffixes: Vec<String>,
    /// A name with as many dots is tried as it is before anything is put behind it.
    pub(crate) dots: usize,
    pub(crate) attempts: u32,
    /// For each attempt.
    pub(crate) patience: Duration,
}

impl Settings {
    /// Asks these servers for names as they are.
    pub(crate) fn of(servers: Vec<SocketAddr>) -> Self {
        let patience = Duration::from_secs(2);
        Self { servers, suffixes: Vec::new(), dots: 1, attempts: 2, patience }
    }

    /// Understands the text of a `resolv.conf`; what it does not know it skips, as everyone's does.
    pub(crate) fn read(text: &str) -> Self {
        let mut settings = Self::of(Vec::new());
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let ip = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    let ip = ip.filter(|_| settings.servers.len() < SERVERS_MAX);
                    settings.servers.extend(ip.map(|ip| SocketAddr::new(ip, 53)));
                }
                Some("search" | "domain") => {
                    let names = words.filter(|word| is_name(word)).take(SUFFIXES_MAX);
                    settings.suffixes = names.map(str::to_owned).collect();
                }
                Some("options") => words.for_each(|word| settings.option(word)),
                _ => {}
            }
        }
        if settings.servers.is_empty() {
            settings.servers.push(SocketAddr::from(([127, 0, 0, 1], 53)));
        }
        settings
    }

    fn option(&mut self, word: &str) {
        let Some((key, value)) = word.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match key {
            "ndots" => self.dots = value.min(15) as usize,
            "attempts" => self.attempts = value.clamp(1, 3),
            "timeout" => self.patience = Duration::from_secs(u64::from(value.clamp(1, 5))),
            _ => {}
        }
    }

    /// The full names that a name may stand for, in the order in which they are tried.
    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let with = self.suffixes.iter().map(|suffix| format!("{name}.{suffix}"));
        let mut names: Vec<String> = with.filter(|name| is_name(name)).collect();
        let is_full = name.matches('.').count() >= self.dots;
        names.insert(if is_full { 0 } else { names.len() }, name.to_owned());
        names
    }
}

/// What `/etc/hosts` says of a name.
pub(crate) fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let line = |line: &str| -> Option<IpAddr> {
        let mut words = line.split('#').next()?.split_whitespace();
        let ip = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(ip)
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_system_are_understood() {
        let settings = Settings::read(
            "# by hand\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\nnameserver ::1\n\
             search default.svc.cluster.local svc.cluster.local\n\
             options ndots:5 timeout:99 rotate attempts:0\n",
        );
        let servers: Vec<String> = settings.servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["10.0.0.53:53", "[::1]:53"]);
        assert_eq!((settings.dots, settings.attempts), (5, 1));
        assert_eq!(settings.patience, Duration::from_secs(5));
        let names = settings.names("q.default");
        assert_eq!(names[0], "q.default.default.svc.cluster.local");
        assert_eq!(names.last().unwrap(), "q.default");
        assert_eq!(settings.names("q.example."), ["q.example."]);
        assert_eq!(Settings::read("").servers, ["127.0.0.1:53".parse().unwrap()]);
        let hosts = "127.0.0.1 localhost\n::1 Localhost # x\n10.0.0.1 a b # c\nbad line\n";
        assert_eq!(in_hosts(hosts, "LOCALHOST.").len(), 2);
        assert_eq!(in_hosts(hosts, "b"), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(in_hosts(hosts, "c").is_empty());
    }
}
