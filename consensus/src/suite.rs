//! openraft's own storage test suite, over our log store and state machine.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use quorate_storage::{MemoryDisk, MemoryShelf};

use crate::apply::{Applier, Replica, Shared, State};
use crate::archive::{Doors, archive};
use crate::feed::Feed;
use crate::log::LogStore;
use crate::types::Types;

struct Builder;

impl StoreBuilder<Types, LogStore, Applier> for Builder {
    async fn build(&self) -> Result<((), LogStore, Applier), StorageError<Types>> {
        let (disk, shelf) = (MemoryDisk::new(), MemoryShelf::default());
        let doors = Doors::over(0, Arc::new(disk), Arc::new(shelf)).await;
        let log = doors.log.clone();
        let state = Shared::new(State::empty());
        let feed = Arc::new(Feed::new(state.read().index(), 16));
        let (archive, archivist) = archive(doors, state.clone());
        quorate_env::spawn(archivist.run());
        Ok(((), LogStore(log), Applier(Replica::new(state, feed, archive, 4))))
    }
}

#[tokio::test]
async fn openraft_s_own_suite_passes() {
    Suite::test_all(Builder).await.expect("the suite finds nothing");
}
