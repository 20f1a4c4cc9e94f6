//! What a submit's callback address comes to: who is noted for a call, and what upstream sees.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use tokio::task::JoinHandle;

use super::generate::Asked;
use super::{Error, Proxy};
use crate::callbacks::{By, Caller, request};
use crate::config::Deliver;
use crate::egress::Destination;
use crate::generation::Kind;
use crate::once::{Ending, Flight, Stage};
use crate::store::Entry;

/// The longest address that is called, in bytes.
const LONGEST: usize = 2048;

impl Proxy {
    /// The caller whom the proxy is to note, and the body as upstream is to see it.
    ///
    /// With `deliver = "all"` upstream calls nobody: the address is taken out of the body.
    ///
    /// # Errors
    /// With `deliver = "all"`, when the address cannot be called. Otherwise upstream judges it.
    pub(super) fn caller(
        &self,
        asked: &mut Asked,
        body: Bytes,
    ) -> Result<(Option<Caller>, Bytes), Error> {
        let deliver = self.config.callbacks.deliver;
        let (Kind::Video, Some(callbacks)) = (asked.kind, &self.callbacks) else {
            return Ok((None, body));
        };
        let Some(said) = request::asked(&asked.parts.headers, &body) else {
            return Ok((None, body));
        };
        let checked = match deliver {
            Deliver::Off => return Ok((None, body)),
            Deliver::Joined => read(&said.address).map(drop),
            Deliver::All => read(&said.address).and_then(|to| {
                let letters = callbacks.check_letters(&to);
                letters.map_err(|refusal| refusal.to_string())
            }),
        };
        if let Err(why) = checked {
            if deliver == Deliver::All {
                return Err(Error::InvalidCallback(why));
            }
            tracing::debug!(why, "no callback is made to an address of this form");
            return Ok((None, body));
        }
        let caller = Caller {
            address: said.address,
            client: asked.client.name.clone(),
            base: self.base(&asked.parts),
        };
        if deliver == Deliver::Joined {
            return Ok((Some(caller), body));
        }
        let headers = &mut asked.parts.headers;
        if headers.contains_key(header::CONTENT_LENGTH) {
            let length = HeaderValue::from(said.body_without.len());
            headers.insert(header::CONTENT_LENGTH, length);
        }
        Ok((Some(caller), said.body_without))
    }

    /// Notes a caller whose job is known, before it has its answer; also when it does not wait.
    pub(super) async fn note_caller(&self, entry: &Arc<Entry>, caller: Option<&Caller>) {
        if let (Some(callbacks), Some(caller)) = (&self.callbacks, caller) {
            let (callbacks, entry, caller) = (callbacks.clone(), entry.clone(), caller.clone());
            let noting = async move { callbacks.register(entry, caller, By::Us).await };
            // It only fails by a panic, which is reported by itself.
            let _ = self.tasks.spawn(noting).await;
        }
    }

    /// Notes a caller as soon as the flight has a job, also when the caller leaves before.
    ///
    /// `leads`: the run is this caller's. Where upstream was given its address, upstream calls it.
    pub(super) fn note_after(
        &self,
        flight: &Arc<Flight>,
        caller: Option<&Caller>,
        leads: bool,
    ) -> Option<JoinHandle<()>> {
        let callbacks = self.callbacks.clone()?;
        let caller = caller?.clone();
        let flight = flight.clone();
        let by = match self.config.callbacks.deliver {
            Deliver::Joined if leads => By::Upstream,
            Deliver::Joined | Deliver::All | Deliver::Off => By::Us,
        };
        Some(self.tasks.spawn(async move {
            if let Stage::Ended(Ending::Kept { entry, .. }) = flight.answer().await {
                callbacks.register(entry, caller, by).await;
            }
        }))
    }
}

fn read(address: &str) -> Result<Destination, String> {
    if address.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    Destination::parse(address).map_err(|refusal| refusal.to_string())
}
