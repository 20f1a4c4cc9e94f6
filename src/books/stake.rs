//! The money of one run.

use std::sync::Arc;

use uuid::Uuid;

use super::{Books, Claim, asked_at};
use crate::generation::Extent;
use crate::ledger::{LedgerError, Line, Outcome};
use crate::limits::Hold;
use crate::price::{Price, Usage, Usd, cost};

/// What is held for one run, and what its line will say.
///
/// MONEY: it is told how the run ended, in one of the ways below. One that is dropped without a word has
/// sent nothing, and its money is given back; or it has, and the outcome is unknown.
#[must_use = "what is held is given back when it is dropped"]
pub struct Stake {
    books: Arc<Books>,
    claim: Claim,
    run: Uuid,
    price: Option<Price>,
    expected: Usd,
    hold: Option<Hold>,
    sent: Option<Noted>,
}

/// Whether a durable note stands for a run that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    /// One does, so that what is held in doubt has somebody to resolve it.
    Durably,
    /// None does: what is held in doubt ends with the periods of its budget. Its line says how much.
    Nowhere,
}

impl Stake {
    pub(super) fn new(
        books: Arc<Books>,
        claim: Claim,
        (price, expected): (Option<Price>, Usd),
        hold: Hold,
    ) -> Self {
        Self {
            books,
            claim,
            run: hold.run(),
            price,
            expected,
            hold: Some(hold),
            sent: None,
        }
    }

    /// The run's name.
    pub fn run(&self) -> Uuid {
        self.run
    }

    /// What is asked for.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// What is held for it.
    pub fn expected(&self) -> Usd {
        self.expected
    }

    /// How much the request asks for.
    pub fn extent(&self) -> Extent {
        self.claim.extent
    }

    /// What it has cost, by what its answer says was used.
    pub fn cost(&self, usage: &Usage) -> Usd {
        let (kind, extent) = (self.claim.kind, &self.claim.extent);
        let price = self.price.as_ref();
        price.map_or(Usd::ZERO, |price| cost(price, kind, extent, usage))
    }

    /// An amount as a record has it: nothing where no price is known.
    pub fn recorded(&self, usd: Usd) -> Option<f64> {
        self.price.map(|_| usd.dollars())
    }

    /// From here on it may have been paid for, whatever happens; `noted` says whether a durable note
    /// stands for it.
    pub fn sent(&mut self, noted: bool) {
        self.sent = Some(if noted {
            Noted::Durably
        } else {
            Noted::Nowhere
        });
    }

    /// It ran, and cost `usd`. The line is durable when this returns `Ok`; the money is spent in any
    /// case.
    ///
    /// # Errors
    /// When the line is not durable: it waits for the disk, and a note that stands has to stay.
    pub async fn paid(self, usd: Usd) -> Result<(), LedgerError> {
        let (books, line) = self.spent(usd);
        books.ledger.commit(line).await
    }

    /// The same, for a thread that may block.
    ///
    /// # Errors
    /// As [`paid`](Self::paid).
    pub fn paid_blocking(self, usd: Usd) -> Result<(), LedgerError> {
        let (books, line) = self.spent(usd);
        books.ledger.commit_blocking(line)
    }

    /// The money is spent, and this is to be its line.
    ///
    /// MONEY: before anybody waits. Whoever is dropped while it waits has been paid for all the same,
    /// and its line is on the way.
    fn spent(mut self, usd: Usd) -> (Arc<Books>, Line) {
        let line = self.line(Outcome::Paid, usd);
        if let Some(hold) = self.hold.take() {
            hold.settle(usd);
        }
        (self.books.clone(), line)
    }

    /// It failed, and cost nothing.
    pub fn failed(mut self) {
        self.books
            .ledger
            .note(&self.line(Outcome::Failed, Usd::ZERO));
        self.hold = None;
    }

    /// Nobody knows whether it ran. What is held stays so while a note stands, or until the day and the
    /// month of its budget are over.
    pub async fn unknown(mut self) {
        let line = self.doubtful_line();
        self.let_go();
        if let Err(error) = self.books.ledger.commit(line).await {
            tracing::warn!(%error, "the line of an unknown outcome waits for the disk");
        }
    }

    /// It was answered with a job that another run has submitted, and pays for.
    pub fn joined(mut self) {
        self.books.ledger.note(&Line {
            usd_saved: self.expected,
            run: None,
            ..self.line(Outcome::Joined, Usd::ZERO)
        });
        self.hold = None;
    }

    /// It has submitted a job, which holds the money from now on, by the run's name.
    pub fn job(mut self) {
        if let Some(hold) = self.hold.take() {
            hold.keep();
        }
    }

    /// MONEY: it was sent, so it may have been paid for. Without a note, only what counts for a budget
    /// stays held: of that there is no more than the budget has.
    fn let_go(&mut self) {
        let Some(hold) = self.hold.take() else {
            return;
        };
        let stays = match self.sent {
            Some(Noted::Durably) => true,
            Some(Noted::Nowhere) => self.unresolvable() > Usd::ZERO,
            None => false,
        };
        if stays {
            hold.keep();
        }
    }

    /// What stays held although nobody can resolve it.
    fn unresolvable(&self) -> Usd {
        match self.sent {
            Some(Noted::Nowhere) => self.books.in_doubt(&self.claim.client, self.expected),
            Some(Noted::Durably) | None => Usd::ZERO,
        }
    }

    fn doubtful_line(&self) -> Line {
        Line {
            usd_held: self.unresolvable(),
            ..self.line(Outcome::Unknown, Usd::ZERO)
        }
    }

    fn line(&self, outcome: Outcome, usd: Usd) -> Line {
        let time = asked_at(self.run, self.books.clock.now());
        Line {
            usd_spent: usd,
            run: Some(self.run),
            unpriced: self.price.is_none(),
            ..self.claim.line(time, outcome)
        }
    }
}

impl Drop for Stake {
    /// A panic, or a client that left a call which ends with it.
    fn drop(&mut self) {
        if self.hold.is_some() && self.sent.is_some() {
            let line = self.doubtful_line();
            self.books.ledger.note(&line);
            self.let_go();
        }
    }
}
