//! A peer as it shows itself, shared by the table, which writes, and the peer's links, which read.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use crate::Peer;
use crate::hello::Hello;

/// A peer as it is now.
#[derive(Debug)]
pub(crate) struct Face(Mutex<Arc<Peer>>);

/// What of a peer outlives its links.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) face: Arc<Face>,
    pub(super) permits: [Arc<Semaphore>; 2],
}

impl Shown {
    pub(super) fn new(hello: &Hello, calls_max: usize) -> Self {
        let peer = Peer {
            id: hello.node,
            name: hello.name.clone(),
            boot: hello.boot,
            address: hello.address.clone(),
            control_up: false,
            data_up: false,
            cluster: hello.cluster,
        };
        let permits = || Arc::new(Semaphore::new(calls_max));
        Self { face: Arc::new(Face(Mutex::new(Arc::new(peer)))), permits: [permits(), permits()] }
    }
}

impl Face {
    pub(crate) fn peer(&self) -> Arc<Peer> {
        self.0.lock().expect("nothing panics while it holds a face").clone()
    }

    pub(super) fn edit(&self, edit: impl FnOnce(&mut Peer)) {
        edit(Arc::make_mut(&mut *self.0.lock().expect("nothing panics while it holds a face")));
    }
}
