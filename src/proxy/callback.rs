//! What a submit's callback address comes to: who is noted for a call, and what upstream sees.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use tokio::task::JoinHandle;

use super::asked::{Asked, Wanted};
use super::{Error, Proxy};
use crate::callbacks::{By, Callbacks, Caller, request};
use crate::config::Deliver;
use crate::egress::Destination;
use crate::message::coding;
use crate::once::{Ending, Flight, Stage};
use crate::store::Entry;

/// The longest address that is called, in bytes.
const LONGEST: usize = 2048;

impl Proxy {
    /// The caller whom the proxy is to note about a video; the body becomes what upstream is to see.
    ///
    /// With `deliver = "all"` upstream calls nobody: the address is taken out of the body.
    ///
    /// # Errors
    /// With `deliver = "all"`, when the address cannot be called, or there may be one that only
    /// upstream finds. Otherwise upstream judges it.
    pub(super) async fn caller(&self, wanted: &mut Wanted) -> Result<Option<Caller>, Error> {
        let (asked, body) = (&mut wanted.asked, &mut wanted.body);
        let deliver = self.config.callbacks.deliver;
        if deliver == Deliver::Off {
            return Ok(None);
        }
        let read = (asked.parts.headers.clone(), body.clone());
        let said = self
            .reading(&asked.parts.headers, body.len(), move || {
                request::said(&read.0, &read.1)
            })
            .await?;
        if deliver == Deliver::All && !said.is_sure {
            let why = "it can be read in different ways, or not at all";
            return Err(Error::InvalidCallback(why.to_owned()));
        }
        let Some(address) = said.address else {
            return Ok(None);
        };
        if let Err(why) = check(&self.callbacks, deliver, &address) {
            if deliver == Deliver::All {
                return Err(Error::InvalidCallback(why));
            }
            tracing::debug!(why, "no callback is made to an address of this form");
            return Ok(None);
        }
        let caller = Caller {
            address,
            client: asked.client.name.to_string(),
            base: self.base(&asked.parts),
        };
        match deliver {
            Deliver::Off | Deliver::Joined => {}
            Deliver::All => *body = self.without(asked, body.clone()).await?,
        }
        Ok(Some(caller))
    }

    /// The body as upstream is to see it when it calls nobody: plain, if it came in a content coding.
    async fn without(&self, asked: &mut Asked, body: Bytes) -> Result<Bytes, Error> {
        let read = (asked.parts.headers.clone(), body.clone());
        let left = self
            .reading(&asked.parts.headers, body.len(), move || {
                request::without(&read.0, &read.1)
            })
            .await?;
        let Some(left) = left.map(Bytes::from) else {
            return Ok(body);
        };
        let headers = &mut asked.parts.headers;
        let has_length = headers.contains_key(header::CONTENT_LENGTH);
        if coding::is_coded(headers) {
            coding::forget_coding(headers);
        }
        if has_length {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(left.len()));
        }
        Ok(left)
    }

    /// Notes a caller whose job is known, before it has its answer; also when it does not wait.
    pub(super) async fn note_caller(&self, entry: &Arc<Entry>, caller: Option<&Caller>) {
        if let Some(caller) = caller {
            let (callbacks, entry, caller) =
                (self.callbacks.clone(), entry.clone(), caller.clone());
            let noting = async move { callbacks.register(entry, caller, By::Us).await };
            // It only fails by a panic, which is reported by itself.
            let _ = self.tasks.spawn(noting).await;
        }
    }

    /// Notes a caller as soon as the flight has a job, also when the caller leaves before.
    ///
    /// `leads`: the run is this caller's. Whom upstream calls is noted by the run.
    pub(super) fn note_after(
        &self,
        flight: &Arc<Flight>,
        caller: Option<&Caller>,
        leads: bool,
    ) -> Option<JoinHandle<()>> {
        let caller = caller?.clone();
        let (callbacks, flight) = (self.callbacks.clone(), flight.clone());
        if leads && self.upstreams(Some(&caller)).is_some() {
            return None;
        }
        Some(self.tasks.spawn(async move {
            if let Stage::Ended(Ending::Kept { entry, .. }) = flight.answer().await {
                callbacks.register(entry, caller, By::Us).await;
            }
        }))
    }

    /// The caller, if upstream calls it when the run is its.
    pub(super) fn upstreams(&self, caller: Option<&Caller>) -> Option<Caller> {
        let is_upstreams = self.config.callbacks.deliver == Deliver::Joined;
        caller.filter(|_| is_upstreams).cloned()
    }

    /// Notes whom upstream calls about this job.
    pub(super) async fn note_upstreams(&self, entry: &Arc<Entry>, caller: Option<Caller>) {
        if let Some(caller) = caller {
            self.callbacks
                .register(entry.clone(), caller, By::Upstream)
                .await;
        }
    }
}

/// Whether an address may be called, as far as it tells itself.
fn check(callbacks: &Callbacks, deliver: Deliver, address: &str) -> Result<(), String> {
    if address.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let to = Destination::parse(address).map_err(|refusal| refusal.to_string())?;
    if deliver == Deliver::All {
        let letters = callbacks.check_letters(&to);
        letters.map_err(|refusal| refusal.to_string())?;
    }
    Ok(())
}
