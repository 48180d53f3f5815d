//! Names over HTTP: take, reserve, confirm, amend, look up, list, give back.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use quorate::{Amendment, Bond, Claiming, Epoch, Found, Index, Keys, PageToken, Query, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::codes::named;
use crate::face::Shared;
use crate::parse::{self, Asked, NamePath};
use crate::problem::Problem;
use crate::sessions::judge_ttl;
use crate::shape;

/// The most that value and meta may weigh together; the registry would refuse more, but only after it has
/// been through the log.
const WEIGHT_BYTES_MAX: usize = 64 * 1024;

/// The most names in one answer, and how many there are when it was not said.
const LIST_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    session: Option<u64>,
    ttl_ms: Option<u64>,
    #[serde(default)]
    value: String,
    #[serde(default)]
    meta: BTreeMap<String, String>,
    replace_epoch: Option<u64>,
    #[serde(default)]
    reserve: bool,
    confirm_epoch: Option<u64>,
}

/// How sure a read is to be.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Consistency {
    /// What this node knows, at once.
    Local,
    /// Everything that was acknowledged before the question.
    #[default]
    Linearizable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    #[serde(default)]
    pub(crate) consistency: Consistency,
}

/// How one name is looked up. With a bound on its age the answer is local.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Glance {
    consistency: Option<Consistency>,
    max_stale_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    #[serde(default)]
    prefix: String,
    labels: Option<String>,
    after: Option<String>,
    page: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    consistency: Consistency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    epoch: u64,
    version: Option<u64>,
    value: Option<String>,
    meta: Option<BTreeMap<String, String>>,
}

/// What is to become of a name.
enum Way {
    Take(Option<Epoch>),
    Reserve,
    Confirm(Epoch),
}

impl Wish {
    fn bond(&self) -> Result<Bond, Problem> {
        match (self.session, self.ttl_ms) {
            (Some(_), Some(_)) => {
                let why = "a name is bound to a session or has a ttl_ms of its own, not both";
                Err(Problem::new(named::BAD_BODY, why))
            }
            (None, Some(ms)) => judge_ttl(ms).map(|()| Bond::Ttl { ms }),
            (session, None) => Ok(session.map(SessionId).into()),
        }
    }

    fn way(&self) -> Result<Way, Problem> {
        let wrong = |why| Err(Problem::new(named::BAD_BODY, why));
        match (self.reserve, self.confirm_epoch, self.replace_epoch) {
            (false, None, None) => Ok(Way::Take(None)),
            (false, None, Some(shown)) => {
                Ok(Way::Take(Some(parse::epoch("replace_epoch", shown)?)))
            }
            (false, Some(shown), None) => Ok(Way::Confirm(parse::epoch("confirm_epoch", shown)?)),
            (true, None, None) if self.value.is_empty() && self.meta.is_empty() => Ok(Way::Reserve),
            (true, None, None) => {
                wrong("nothing is said under a reservation; it is confirmed with it")
            }
            _ => wrong("reserve, confirm_epoch and replace_epoch exclude each other"),
        }
    }
}

pub(crate) fn judge_weight(value: &[u8], meta: &BTreeMap<String, String>) -> Result<(), Problem> {
    let weight = meta.iter().fold(value.len(), |sum, (k, v)| sum + k.len() + v.len());
    if weight > WEIGHT_BYTES_MAX {
        let detail = format!("they have {weight} bytes together");
        return Err(Problem::new(named::TOO_LARGE, detail));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    epoch: Option<u64>,
}

/// `PUT /v1/names/{name}`
pub(crate) async fn put(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let (wish, key): (Wish, _) = parse::wish(request).await?;
    let bond = wish.bond()?;
    let way = wish.way()?;
    judge_weight(wish.value.as_bytes(), &wish.meta)?;
    let names = inside.node.names();
    let claiming =
        Claiming { bond, value: wish.value.into_bytes(), meta: wish.meta, replace: None, key };
    let held = match way {
        Way::Take(replace) => names.claim(&name, Claiming { replace, ..claiming }).await?,
        Way::Reserve => names.reserve(&name, bond, key).await?,
        Way::Confirm(epoch) => names.confirm(&name, epoch, claiming).await?,
    };
    let (epoch, index) = (held.epoch, held.index);
    let mut body = json!({ "name": name.as_str(), "epoch": epoch.get(), "index": index.0 });
    if let Some(session) = held.session {
        body["session"] = session.0.into();
        body["ttl_ms"] = wish.ttl_ms.into();
    }
    Ok((StatusCode::CREATED, shape::made(epoch, index), Json(body)).into_response())
}

/// `PATCH /v1/names/{name}`
pub(crate) async fn patch(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let (change, key): (Change, _) = parse::wish(request).await?;
    let epoch = parse::epoch("epoch", change.epoch)?;
    let none = BTreeMap::new();
    let value = change.value.map(String::into_bytes);
    judge_weight(value.as_deref().unwrap_or_default(), change.meta.as_ref().unwrap_or(&none))?;
    let expected = change.version.map(Index);
    let amendment = Amendment { value, meta: change.meta, expected, key };
    let version = inside.node.names().amend(&name, epoch, amendment).await?;
    let body = json!({ "name": name.as_str(), "epoch": epoch.get(), "version": version.0 });
    Ok((shape::made(epoch, version), Json(body)).into_response())
}

/// `GET /v1/names/{name}`
pub(crate) async fn get(
    State(inside): State<Shared>,
    path: NamePath,
    glance: Asked<Glance>,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let names = inside.node.names();
    let glance = parse::asked(glance)?;
    let found: Found = match (glance.consistency, glance.max_stale_ms) {
        (Some(Consistency::Linearizable), Some(_)) => {
            let why = "a linearizable answer has no age; leave max_stale_ms out";
            return Err(Problem::new(named::BAD_PARAMETER, why));
        }
        (_, Some(age)) => names.recent(&name, Duration::from_millis(age))?,
        (Some(Consistency::Local), None) => names.peek(&name),
        (_, None) => names.find(&name).await?,
    };
    let mut headers = shape::age(found.index, found.stale);
    Ok(match &found.registration {
        Some(held) => {
            headers.insert(shape::EPOCH, HeaderValue::from(held.epoch.get()));
            (headers, Json(shape::registration(held))).into_response()
        }
        None => {
            let detail = format!("{name} is free at index {}", found.index);
            (headers, Problem::new(named::FREE, detail)).into_response()
        }
    })
}

/// `GET /v1/names`
pub(crate) async fn list(
    State(inside): State<Shared>,
    wanted: Asked<Wanted>,
) -> Result<Response, Problem> {
    let Wanted { prefix, labels, after, page, limit, consistency } = parse::asked(wanted)?;
    let limit = parse::limit(limit, LIST_MAX)?;
    let query = Query { keys: Keys::Under(prefix), labels: parse::labels(labels.as_deref())? };
    let names = inside.node.names();
    let from: Option<PageToken> = parse::page(page)?;
    if from.is_some() && after.is_some() {
        let why = "a page says by itself where it begins; leave `after` out";
        return Err(Problem::new(named::BAD_PARAMETER, why));
    }
    if consistency == Consistency::Linearizable && from.is_none() {
        // The round comes first: a place among the listings is not for waiting in.
        names.list_confirmed("", None, 0).await?;
    }
    let _place = inside.listings.acquire().await;
    let is_first = from.is_none();
    let page = match from {
        None => names.first_page(&query, after.as_deref(), limit),
        Some(from) => names.next_page(&query, &from, limit)?,
    };
    let stale = match consistency {
        Consistency::Linearizable if is_first => Duration::ZERO,
        _ => page.stale,
    };
    let shown: Vec<Value> = page.registrations.iter().map(shape::registration).collect();
    let next = page.next.map(|next| next.to_string());
    let body = json!({
        "index": page.index.0,
        "names": shown,
        "more": next.is_some(),
        "next": next,
    });
    Ok((shape::age(page.index, stale), Json(body)).into_response())
}

/// `DELETE /v1/names/{name}`
pub(crate) async fn delete(
    State(inside): State<Shared>,
    path: NamePath,
    release: Asked<Release>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let epoch = match parse::asked(release)?.epoch {
        Some(shown) => Some(parse::epoch("epoch", shown)?),
        None => None,
    };
    let key = parse::idempotency(&headers, &method, &uri, b"")?;
    let (epoch, index) = inside.node.names().release(&name, epoch, key).await?;
    Ok((StatusCode::NO_CONTENT, shape::made(epoch, index)).into_response())
}
