//! What a node stands on: its identity, its disk, its shelf and its net. The simulator brings its own.

use std::sync::Arc;

use quorate_env::{Net, PacedTcp, Tcp};
use quorate_mesh::{Identity as Certificate, Tls};
use quorate_storage::{Disk, Home, RealDisk, Shelf, StorageError, open_or_replace_shelf};
use quorate_vocab::{Boot, ClusterId, NodeId};

use crate::config::Config;
use crate::error::StartError;
use crate::sentinel::{Fencer, Sentinel};

/// Who a node is, remembered beyond its life.
pub trait Identity: Send + Sync + 'static {
    /// Which node.
    fn node(&self) -> NodeId;
    /// Which life of it.
    fn boot(&self) -> Boot;
    /// Which cluster it belongs to, if it does.
    fn cluster(&self) -> Option<ClusterId>;
    /// Belongs to a cluster from now on, durably. Another one than before is refused.
    fn adopt(&self, cluster: ClusterId) -> Result<(), StorageError>;
}

/// The doors of one node.
pub struct Ground {
    /// Who it is.
    pub identity: Arc<dyn Identity>,
    /// Where the journal and the snapshots lie.
    pub disk: Arc<dyn Disk>,
    /// Where rows of the applied state lie.
    pub shelf: Arc<dyn Shelf>,
    /// What was wrong with the shelf, if it had to be replaced.
    pub shelf_replaced: Option<String>,
    /// The way to the other nodes.
    pub net: Arc<dyn Net>,
    /// Who ends this process when the node cannot; none where the node is trusted to.
    pub sentinel: Option<Arc<dyn Sentinel>>,
}

impl Ground {
    /// The system's own: the data directory of the config, and TCP, with TLS if the config has a certificate.
    pub fn real(config: &Config) -> Result<Self, StartError> {
        let net = net(config)?;
        let home = Home::open(&config.data)?;
        let disk = RealDisk::open(&home.raft_dir())?;
        let (shelf, shelf_replaced) = open_or_replace_shelf(&home.state_dir())?;
        let fencer = config.fencer.as_ref();
        let fencer = fencer.map(|it| Fencer::new(it, &config.data, config.patience()));
        let sentinel = fencer.map(|fencer| Arc::new(fencer) as Arc<dyn Sentinel>);
        Ok(Self {
            identity: Arc::new(home),
            disk: Arc::new(disk),
            shelf: Arc::new(shelf),
            shelf_replaced,
            net,
            sentinel,
        })
    }
}

/// TCP, with TLS if the config has a certificate.
pub(crate) fn net(config: &Config) -> Result<Arc<dyn Net>, StartError> {
    let mut net: Arc<dyn Net> = match &config.congestion {
        Some(control) => Arc::new(PacedTcp::new(control)?),
        None => Arc::new(Tcp),
    };
    if let Some(files) = &config.tls {
        let certificate = Certificate::load(files.clone(), &config.name)?;
        net = Arc::new(Tls::over(net, certificate));
    }
    Ok(net)
}

impl Identity for Home {
    fn node(&self) -> NodeId {
        Self::node(self)
    }

    fn boot(&self) -> Boot {
        Self::boot(self)
    }

    fn cluster(&self) -> Option<ClusterId> {
        Self::cluster(self)
    }

    fn adopt(&self, cluster: ClusterId) -> Result<(), StorageError> {
        Self::adopt(self, cluster)
    }
}
