//! Links on loopback that can fall silent, in one direction or both, without any rights.
//!
//! Each agent is found at a proxy of its own, which carries bytes between it and whoever dialled. While a
//! direction is cut, what comes that way is held, ends of connections too: the sender meets silence, as it
//! does when a kernel's packets are lost, and after that what the kernel would have sent again.
//!
//! Who dialled is not in what it sends. The system knows: the socket at the other end belongs to a process.

#![expect(clippy::disallowed_types, reason = "a proxy stands outside of every node")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::Builder;
use std::time::Duration;

use crate::world::{mentions, processes};

const MESH: u16 = 4747;
const HTTP: u16 = 4748;
/// How often one is looked for that has just dialled.
const LOOKS: usize = 100;
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The links between so many agents.
pub(crate) struct Proxies {
    shared: Arc<Shared>,
}

struct Shared {
    /// The first three numbers of all addresses; no other test has the same.
    net: [u8; 3],
    links: Mutex<Links>,
    healed: Condvar,
}

struct Links {
    count: usize,
    cut: BTreeSet<(usize, usize)>,
    is_over: bool,
}

impl Proxies {
    pub(crate) fn begin(count: usize) -> Self {
        let own = std::process::id().to_le_bytes();
        let mut nets = (0..=u8::MAX).map(|third| [127, 64 | (own[1] & 63), own[0] ^ third]);
        // A net that somebody else has is passed over: their proxies listen there.
        let found = nets.find_map(|net| Some((net, listeners(net, count)?)));
        let (net, listeners) = found.expect("loopback has room");
        let links = Links { count, cut: BTreeSet::new(), is_over: false };
        let shared = Shared { net, links: Mutex::new(links), healed: Condvar::new() };
        let shared = Arc::new(shared);
        for (node, listener) in listeners.into_iter().enumerate() {
            let shared = shared.clone();
            let serve = move || serve(&shared, node, &listener, agent(net, node));
            Builder::new().name(format!("proxy {node}")).spawn(serve).expect("room for a thread");
        }
        Self { shared }
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.links().count
    }

    pub(crate) fn addresses(&self, node: usize) -> [String; 3] {
        let agent = agent(self.shared.net, node);
        [agent, proxy(self.shared.net, node), SocketAddr::new(agent.ip(), HTTP)]
            .map(|at| at.to_string())
    }

    pub(crate) fn cut(&self, from: usize, to: usize) {
        self.shared.links().cut.insert((from, to));
    }

    pub(crate) fn heal(&self) {
        self.shared.links().cut.clear();
        self.shared.healed.notify_all();
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        self.shared.links().is_over = true;
        self.heal();
        for node in 0..self.count() {
            // Wakes whoever accepts, who then ends.
            drop(TcpStream::connect(proxy(self.shared.net, node)));
        }
    }
}

fn agent(net: [u8; 3], node: usize) -> SocketAddr {
    at(net, 1 + node)
}

fn proxy(net: [u8; 3], node: usize) -> SocketAddr {
    at(net, 101 + node)
}

fn at([a, b, c]: [u8; 3], last: usize) -> SocketAddr {
    let last = u8::try_from(last).expect("a handful of nodes");
    SocketAddrV4::new([a, b, c, last].into(), MESH).into()
}

fn listeners(net: [u8; 3], count: usize) -> Option<Vec<TcpListener>> {
    (0..count).map(|node| TcpListener::bind(proxy(net, node)).ok()).collect()
}

fn serve(shared: &Arc<Shared>, node: usize, listener: &TcpListener, agent: SocketAddr) {
    for near in listener.incoming() {
        if shared.links().is_over {
            return;
        }
        let (Ok(near), shared) = (near, shared.clone()) else { continue };
        let carry = move || {
            // Who is not found has gone again, and who is not there cannot be dialled.
            let Some(from) = shared.dialler(&near) else { return };
            let Ok(far) = TcpStream::connect(agent) else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let (Ok(back_from), Ok(back_to)) = (far.try_clone(), near.try_clone()) else { return };
            let back = shared.clone();
            let back = move || back.pump(back_from, back_to, (node, from));
            let started = Builder::new().name("proxy back".into()).spawn(back);
            started.expect("room for a thread");
            shared.pump(near, far, (from, node));
        };
        Builder::new().name("proxy there".into()).spawn(carry).expect("room for a thread");
    }
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().expect("nobody panics with it")
    }

    /// Carries one direction until an end of it is closed.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, way: (usize, usize)) {
        let mut bytes = vec![0; 16 << 10];
        loop {
            let read = from.read(&mut bytes).unwrap_or(0);
            let silent = |links: &mut Links| links.cut.contains(&way);
            drop(self.healed.wait_while(self.links(), silent).expect("nobody panics with it"));
            if read == 0 || to.write_all(&bytes[..read]).is_err() {
                // Its own direction ends here; that the other one does is up to who closed.
                let _ = to.shutdown(Shutdown::Write);
                let _ = from.shutdown(Shutdown::Read);
                return;
            }
        }
    }

    /// Whose agent, or its last word, has the other end of a connection.
    fn dialler(&self, near: &TcpStream) -> Option<usize> {
        let ends = (near.peer_addr().ok()?, near.local_addr().ok()?);
        let count = self.links().count;
        for _ in 0..LOOKS {
            let inode = inode_of(ends)?;
            let has = |node: &usize| {
                let advertised = format!("--advertise\0{}\0", proxy(self.net, *node));
                let mut its = processes().filter(|pid| mentions(*pid, "cmdline", &advertised));
                its.any(|pid| has_socket(pid, &inode))
            };
            if let Some(node) = (0..count).find(has) {
                return Some(node);
            }
            // It has just become another program.
            std::thread::sleep(LOOK_AGAIN);
        }
        None
    }
}

/// The number of the socket that has these ends, its own and the other, by the kernel's table.
fn inode_of((own, other): (SocketAddr, SocketAddr)) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let (own, other) = (shown(own)?, shown(other)?);
    let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.get(1..3) == Some(&[own.as_str(), other.as_str()]))?;
    row.get(9).map(|inode| format!("socket:[{inode}]"))
}

/// An address as that table has it.
fn shown(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let ip = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{ip:08X}:{:04X}", address.port()))
}

fn has_socket(pid: u32, socket: &str) -> bool {
    let Ok(mut open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.any(|fd| {
        let link = fd.ok().and_then(|fd| std::fs::read_link(fd.path()).ok());
        link.is_some_and(|link| link.as_os_str() == socket)
    })
}
