//! `quorate guard file`: a file that a script of a singleton replaces.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use quorate_guard::{Epoch, FileError, FileGuard, Name, NameError, Token};
use quorate_http::code;

use super::{epoch, not_kept};
use crate::charge::LOST;
use crate::fail::{Done, Fail};
use crate::output;
use crate::span;

/// What is written is held in memory, so that nobody is locked out while stdin is slow.
const BYTES_MAX: u64 = 256 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which file; its newest epoch is kept beside it, in FILE.quorate-epoch
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// The singleton that writes [default: what `singleton run`, `lock` or `elect` has set]
    #[arg(long, value_name = "NAME", env = "QUORATE_SINGLETON", value_parser = singleton)]
    name: Option<Name>,
    /// The epoch under which it writes
    #[arg(long, value_name = "E", env = "QUORATE_EPOCH", value_parser = epoch)]
    epoch: Epoch,
    /// Wait no longer than this for another writer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span::parse)]
    wait: Duration,
}

fn singleton(text: &str) -> Result<Name, NameError> {
    Name::new(text)
}

/// `quorate guard file`
pub(crate) fn run(args: &Args) -> Done {
    let token = Token { name: name(args)?, epoch: args.epoch };
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut bytes);
    let read = read.map_err(Fail::io("reading stdin"))?;
    if read as u64 > BYTES_MAX {
        let why = format!("stdin has more than {BYTES_MAX} bytes, which is the most");
        return Err(Fail::new(code::BAD_SETTING, why));
    }
    let guard = FileGuard::new(&args.path).patience(args.wait);
    match guard.write(&token, &bytes) {
        Ok(()) => Ok(()),
        Err(FileError::Stale(why)) => {
            // The exit code of what was lost, so that a script which runs under a name ends as if CMD had
            // been ended in time.
            let why = format!("{}: {} of {}", args.path.display(), why, token.name);
            if let Fail::Told(told) = Fail::new(code::STALE_OWNER, why) {
                output::talk(&told.to_string());
            }
            Err(Fail::Exit(LOST))
        }
        Err(FileError::Keep(error)) => Err(not_kept(&error)),
        Err(error @ FileError::OtherName { .. }) => {
            Err(Fail::new(code::OTHER_OWNER, error.to_string()))
        }
        Err(error) => Err(Fail::new(code::IO, error.to_string())),
    }
}

/// The singleton's name; under `lock` and `elect` it is the name that is held.
fn name(args: &Args) -> Result<Name, Fail> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let held = std::env::var_os("QUORATE_NAME");
    let held = held.as_ref().and_then(|name| name.to_str()).and_then(|name| Name::new(name).ok());
    held.ok_or_else(|| {
        let why = "--name is missing: neither QUORATE_SINGLETON nor QUORATE_NAME says a name";
        Fail::new(code::BAD_SETTING, why)
    })
}
