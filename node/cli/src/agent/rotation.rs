//! A cookie that is exchanged while the agent runs: the file is looked at every few seconds, and what it says
//! holds for every connection that begins after that.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::Cookies;
use quorate_env::sleep;

use crate::secrets;

/// How long a new cookie may lie there unseen.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Follows the file for as long as the agent runs. While it cannot be read, what was valid stays valid.
pub(super) async fn follow(file: PathBuf, cookies: Cookies) {
    let mut looked = look(&file);
    loop {
        sleep(LOOK_EVERY).await;
        let now = look(&file);
        if now == looked {
            continue;
        }
        looked = now;
        match secrets::read_cookies(&file).map(Vec::into_iter) {
            Ok(mut found) => {
                let Some(newest) = found.next() else { continue };
                let older = found.next();
                tracing::info!(
                    valid = 1 + usize::from(older.is_some()),
                    "the cookies were replaced"
                );
                cookies.rotate(newest, older);
            }
            Err(error) => {
                tracing::error!(
                    why = error.detail(),
                    "the cookie file changed; the former cookies stay"
                );
            }
        }
    }
}

/// Enough of a file to see that it was replaced.
fn look(file: &Path) -> Option<(i64, i64, u64, u64, u32)> {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.mtime(), meta.mtime_nsec(), meta.len(), meta.ino(), meta.mode()))
}
