//! Elections: a command that runs wherever its name is held, one place at a time, again and again.

use clap::Args;
use serde_json::json;
use ureq::http::Method;

use crate::agent::{self, Signals};
use crate::args::Reach;
use crate::charge::{End, Seat};
use crate::client::{Ask, Client, name_path};
use crate::fail::{Done, Fail};
use crate::lock::{Charge, failed, patiently};
use crate::output;

#[derive(Args)]
pub(crate) struct Elect {
    #[command(flatten)]
    reach: Reach,
    /// Which name; whoever holds it leads
    name: String,
    /// What to be known under the name while this one leads, such as its address
    #[arg(long, default_value = "")]
    value: String,
    #[command(flatten)]
    charge: Charge,
}

/// `quorate elect`: stands until the command ends by itself, also when the lead is lost and won again.
pub(crate) fn elect(wish: &Elect) -> Done {
    let standing = async {
        let client = Client::new(&wish.reach)?;
        let mut signals = Signals::new()?;
        loop {
            let mut seat =
                Seat::take(&client, &wish.name, &wish.charge, &mut signals, None).await?;
            if !wish.value.is_empty() {
                let body = json!({ "epoch": seat.epoch, "value": wish.value });
                let path = name_path(&wish.name);
                let ask = Ask::write(Method::PATCH, path, Some(&body), None);
                patiently(&client, || client.ask(&ask)).await?;
            }
            output::talk(&format!("leading {} under epoch {}", wish.name, seat.epoch));
            match seat.work(&client, &wish.charge, &mut signals).await? {
                End::Exited(code) => return Ok::<u8, Fail>(code),
                End::Lost => output::talk(&format!("standing for {} again", wish.name)),
            }
        }
    };
    let code = agent::small_runtime().and_then(|runtime| runtime.block_on(standing));
    match code.map_err(failed)? {
        0 => Ok(()),
        code => Err(Fail::Exit(code)),
    }
}
