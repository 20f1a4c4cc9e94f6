//! Everything that is kept, one line for each generation.

use std::cmp::Reverse;
use std::io::{self, Write};
use std::ops::ControlFlow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::generation::{Fingerprint, Kind};
use crate::store::{Kept, Store, StoreError};

/// One kept generation, as `reprise cache list --json` and `GET /api/cache` show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its key: 64 hexadecimal digits.
    pub key: Fingerprint,
    /// What it makes.
    pub kind: Kind,
    /// The path it was sent to.
    pub path: String,
    /// The model that the request named; null when it named none.
    pub model: Option<String>,
    /// The status of its answer.
    pub status: u16,
    /// Its size with its media, in bytes.
    pub bytes: u64,
    /// When its answer was complete, in UTC (RFC 3339).
    pub created_at: Timestamp,
    /// When it was last asked for; when it was made, if never.
    pub last_used_at: Timestamp,
}

impl From<Kept> for Listed {
    fn from(kept: Kept) -> Self {
        let Kept {
            key,
            kind,
            path,
            model,
            status,
            bytes,
            created_at,
            last_used_at,
            open: _,
            passed_by: _,
        } = kept;
        Self {
            key,
            kind,
            path,
            model,
            status,
            bytes,
            created_at,
            last_used_at,
        }
    }
}

/// What is to be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this kind.
    pub kind: Option<Kind>,
    /// Only this model.
    pub model: Option<String>,
    /// At most so many, the newest.
    pub limit: Option<usize>,
}

impl Filter {
    /// Reads the query of `GET /api/cache`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn of_query(query: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "kind" => {
                    let kind = value.parse().map_err(|error| format!("kind: {error}."))?;
                    filter.kind = Some(kind);
                }
                "model" => filter.model = Some(value.into_owned()),
                "limit" => {
                    let limit = value
                        .parse()
                        .map_err(|_| "limit: not a whole number.".to_owned())?;
                    filter.limit = Some(limit);
                }
                _ => {
                    return Err("What can be asked for here is kind, model and limit.".to_owned());
                }
            }
        }
        Ok(filter)
    }

    /// The same as a query, with its `?`; empty when everything is to be listed.
    pub fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::from("?"));
        if let Some(kind) = self.kind {
            query.append_pair("kind", kind.as_str());
        }
        if let Some(model) = &self.model {
            query.append_pair("model", model);
        }
        if let Some(limit) = self.limit {
            query.append_pair("limit", &limit.to_string());
        }
        let query = query.finish();
        if query == "?" { String::new() } else { query }
    }

    fn takes(&self, kept: &Kept) -> bool {
        let model = || self.model.as_deref();
        !kept.passed_by
            && self.kind.is_none_or(|kind| kind == kept.kind)
            && model().is_none_or(|model| kept.model.as_deref() == Some(model))
    }
}

/// Shows what is kept to `visit`, the newest first, until it breaks. Blocks.
///
/// Of each generation some 50 bytes are held meanwhile; one that comes or goes may be shown or not.
///
/// # Errors
/// When not all could be listed.
pub fn each(
    store: &dyn Store,
    filter: &Filter,
    visit: &mut dyn FnMut(Listed) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut order: Vec<(Reverse<Timestamp>, Fingerprint)> = Vec::new();
    store.list_kept(None, &mut |kept| {
        if filter.takes(&kept) {
            order.push((Reverse(kept.created_at), kept.key));
        }
        ControlFlow::Continue(())
    })?;
    order.sort_unstable();
    order.truncate(filter.limit.unwrap_or(usize::MAX));
    for (_, key) in order {
        let kept = store.glance(&key)?;
        if kept.is_some_and(|kept| visit(kept.into()).is_break()) {
            break;
        }
    }
    Ok(())
}

/// Writes what is kept to `to` as an array in JSON, one generation a line. Blocks.
///
/// # Errors
/// When not all could be listed: then what was written is no whole array. The inner error is that
/// of `to`.
pub fn write(
    store: &dyn Store,
    filter: &Filter,
    mut to: impl Write,
) -> Result<io::Result<()>, StoreError> {
    let mut written = to.write_all(b"[");
    let mut first = true;
    each(store, filter, &mut |listed| {
        let before: &[u8] = if first { b"" } else { b",\n" };
        first = false;
        written = (|| {
            to.write_all(before)?;
            serde_json::to_writer(&mut to, &listed)?;
            Ok(())
        })();
        if written.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(written
        .and_then(|()| to.write_all(b"]\n"))
        .and_then(|()| to.flush()))
}

impl Listed {
    /// Reads one line of what [`write()`] has written; `None` for the line of an empty array.
    ///
    /// # Errors
    /// When it is none.
    pub fn of_line(line: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        let line = line.strip_prefix(b"[").unwrap_or(line);
        let line = line.strip_suffix(b",").unwrap_or(line);
        let line = line.strip_suffix(b"]").unwrap_or(line);
        if line.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(line).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_comes_back_as_it_was() {
        let filter = Filter {
            kind: Some(Kind::Chat),
            model: Some("a b&c=ä".to_owned()),
            limit: Some(7),
        };
        for filter in [filter, Filter::default()] {
            let query = filter.query();
            let query = query.trim_start_matches('?');
            assert_eq!(Filter::of_query(query).unwrap(), filter, "{query}");
        }
        for wrong in ["kind=films", "limit=-1", "limit=", "order=size", "x"] {
            assert!(Filter::of_query(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_line_of_an_array_can_be_read() {
        let object = r#"{"key":"0000000000000000000000000000000000000000000000000000000000000000","kind":"chat","path":"/v1/responses","model":"m],","status":200,"bytes":1,"created_at":"2026-11-21T10:00:00Z","last_used_at":"2026-11-21T10:00:00Z"}"#;
        for line in [
            format!("[{object},"),
            format!("{object},"),
            format!("{object}]"),
            format!("[{object}]"),
        ] {
            let listed = Listed::of_line(line.as_bytes()).unwrap().unwrap();
            assert_eq!(serde_json::to_string(&listed).unwrap(), object);
        }
        assert_eq!(Listed::of_line(b"[]").unwrap(), None);
        assert!(Listed::of_line(b"[{]").is_err());
    }
}
