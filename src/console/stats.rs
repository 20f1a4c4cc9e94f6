//! What is answered at `/api/stats`.

use http::Response;
use http::request::Parts;

use super::Console;
use super::api::json;
use super::refusal::Refusal;
use crate::ledger::Question;
use crate::message::Body;

impl Console {
    /// What was paid and avoided; what is noted and not yet written is written first.
    pub(super) async fn stats(&self, parts: &Parts) -> Result<Response<Body>, Refusal> {
        let query = parts.uri.query().unwrap_or_default();
        let question = Question::of_query(query, self.proxy.now()).map_err(Refusal::BadRequest)?;
        let _place = self.place()?;
        json(&self.ledger.statistics(question).await?)
    }
}
