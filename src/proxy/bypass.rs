//! A generation that has nothing to do with what is kept: `no-store`, or its kind is off.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, header};
use jiff::Timestamp;

use super::asked::Asked;
use super::directives::{self, Directives};
use super::forward::Passing;
use super::past::Submit;
use super::{Error, Proxy};
use crate::books::Claim;
use crate::generation::{Fingerprint, Kind, new_run};
use crate::message::{Body, body, peek};

/// The largest body that is looked at before it is passed by, in bytes, and how long its end is waited
/// for: a prompt comes at once.
const LOOKED_AT: u64 = 256 * 1024;
const LOOKING: Duration = Duration::from_millis(500);

impl Proxy {
    /// Passes a generation by what is kept: it is paid like any other, and nothing of it stays
    /// but the note that a job runs.
    ///
    /// # Errors
    /// When its client may not, or no answer's head came.
    pub(super) async fn bypass(
        self: &Arc<Self>,
        asked: Asked,
        body: Body,
        (why, wishes): (&'static str, &Directives),
    ) -> Result<Response<Body>, Error> {
        // MONEY: whoever wants only what is kept pays for nothing, whatever the reason to pass by.
        if wishes.freshness.only_if_cached {
            return Err(Error::NotCached);
        }
        let (claim, body) = self.claim_to_pass(&asked, wishes.take, body).await?;
        // MONEY: nothing is paid for that cannot be booked.
        let booking = self.books.check_writable().await;
        booking.map_err(|error| Error::StoreUnavailable(error.to_string()))?;
        let (admission, stake) = self.admit(&claim)?;
        let noted = self.passage(stake, &claim, &asked.parts).await;
        let mut passage = noted.map_err(|error| Error::StoreUnavailable(error.to_string()))?;
        let path = asked.parts.uri.path().to_owned();
        let Asked {
            kind,
            mut parts,
            target,
            ..
        } = asked;
        directives::strip(&mut parts.headers);
        let passing = Passing {
            why,
            kind: Some(kind),
        };
        passage.about_to_send();
        if kind == Kind::Video {
            let submit = Submit {
                parts: *parts,
                target,
                body,
                passing,
            };
            return self.submit_past(submit, (admission, passage)).await;
        }
        let answer = self.forward(*parts, target, body, passing).await;
        let answer = self.metered(answer, passage, (kind, path)).await?;
        Ok(admission.within(answer))
    }

    /// What a generation that is passed by asks for. Its body is read for that where there is a budget to
    /// hold it by; else as far as it can be looked at without holding it up.
    async fn claim_to_pass(
        &self,
        asked: &Asked,
        take: u32,
        body: Body,
    ) -> Result<(Claim, Body), Error> {
        let client = &asked.client.name;
        let (seen, body) = if self.books.is_bounded(client) {
            let whole = self.collect(&asked.parts.headers, body).await?;
            (Some(whole.clone()), body::full(whole))
        } else if asked.parts.headers.contains_key(header::EXPECT) {
            // Whoever waits for upstream's word sends nothing to look at.
            (None, body)
        } else {
            peek(body, LOOKED_AT, LOOKING).await
        };
        let is_seen = seen.is_some();
        let identity = self
            .identify(asked, take, &seen.unwrap_or_default())
            .await?;
        let mut claim = Claim::new(client, asked.kind, &identity);
        if !is_seen {
            // MONEY: nobody knows what it asks for, so it is the same as nothing else.
            claim.key = Fingerprint::from_bytes(unlike_any_other(self.clock.now()));
        }
        Ok((claim, body))
    }
}

/// The bytes of a key that no body gives, and no other call.
fn unlike_any_other(now: Timestamp) -> [u8; 32] {
    let name = new_run(now);
    blake3::derive_key("reprise 2026-11 a body that was not seen", name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_bodies_that_were_not_seen_are_the_same() {
        let now = Timestamp::now();
        assert_ne!(unlike_any_other(now), unlike_any_other(now));
    }
}
