//! Whether a kept answer may still be handed out, when its links have lived for longer than links do.
//!
//! A hit never hands out a link that is known to be dead. While a file is kept, or the links are
//! younger than `media.link_lifetime`, nobody is asked. After that, at most once a minute:
//!
//! | | what is asked | what it says | what follows |
//! | --- | --- | --- | --- |
//! | a job | upstream, by a poll | other links | they are kept with their answer, and handed out |
//! | | | the same ones, or it no longer knows the job, or shows it failed | its links are looked at |
//! | | | 403, 429, 5xx, nothing | its links are looked at, and nothing is forgotten |
//! | an image | its links | | |
//! | links | their hosts | one is gone: 4xx, but 408, 425, 429 | the entry is forgotten, so that the request runs again |
//! | | | they are there, or nobody can tell | the kept answer is handed out |
//!
//! MONEY: who cannot be reached, or is in trouble, proves nothing, and nothing is paid for twice
//! because of it. Where a link is dead and upstream cannot say more, the answer to a submit, which names
//! no link, is handed out, and a poll is upstream's to answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::Proxy;
use super::shown;
use crate::generation::Fingerprint;
use crate::jobs::{PollAnswer, Polled, Question, dialect};
use crate::media::{Life, links, medium};
use crate::store::{Change, Entry, Payload, Record, StoreError};

/// For how long a verdict stands.
const STANDS: Duration = Duration::from_mins(1);
/// With so many verdicts, the old ones are swept.
const MANY: usize = 1024;
/// A host that takes longer has not said that a link is dead.
const PATIENCE: Duration = Duration::from_secs(20);
/// Links of one generation that are looked at.
const MOST_LINKS: usize = 8;

/// What may be done with a kept answer.
pub(super) enum Standing {
    /// It is handed out.
    Good(Arc<Entry>),
    /// Its links are dead, and it is not known whether the result is.
    Unsure(Arc<Entry>),
    /// It is forgotten.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Upstream has shown other links, which are kept.
    Renewed,
    Unsure,
    Dead,
}

/// The latest verdicts: one is reached at a time for each generation.
#[derive(Default)]
pub(super) struct Verdicts(Mutex<HashMap<Which, (Instant, Slot)>>);

/// A generation and when it was answered: what takes its place has a verdict of its own.
type Which = (Fingerprint, Timestamp);

type Slot = Arc<OnceCell<Verdict>>;

impl Verdicts {
    fn of(&self, which: Which) -> Slot {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= MANY {
            table.retain(|_, (since, _)| since.elapsed() < STANDS);
        }
        let now = Instant::now();
        let slot = table.entry(which).or_insert_with(|| (now, Arc::default()));
        if slot.0.elapsed() >= STANDS {
            *slot = (now, Arc::default());
        }
        slot.1.clone()
    }
}

impl Proxy {
    /// Whether somebody has to be asked before the answers of this record are handed out.
    pub(super) fn is_doubtful(&self, record: &Record) -> bool {
        let lifetime = self.config.media.link_lifetime;
        medium::is_finished(record) && medium::is_doubtful(record, self.clock.now(), lifetime)
    }

    /// Whether this entry may be handed out, or what is instead.
    ///
    /// # Errors
    /// When the store cannot say what is kept.
    pub(super) async fn standing(&self, entry: Arc<Entry>) -> Result<Standing, StoreError> {
        if !self.is_doubtful(&entry.record) {
            return Ok(Standing::Good(entry));
        }
        let key = entry.record.key;
        let slot = self.verdicts.of((key, entry.record.created_at));
        let verdict = Box::pin(slot.get_or_init(|| self.judge(&entry))).await;
        match verdict {
            Verdict::Good => Ok(Standing::Good(entry)),
            Verdict::Unsure => Ok(Standing::Unsure(entry)),
            Verdict::Renewed => Ok(match self.shelf.get(key).await? {
                Some(entry) => Standing::Good(entry),
                None => Standing::Gone,
            }),
            Verdict::Dead => {
                self.forget_dead(&entry).await?;
                Ok(Standing::Gone)
            }
        }
    }

    async fn judge(&self, entry: &Entry) -> Verdict {
        let known = match self.links_of(entry).await {
            Ok(known) if !known.is_empty() => known,
            Ok(_) => return Verdict::Good,
            Err(error) => {
                tracing::warn!(%error, "the links of a kept answer cannot be read");
                return Verdict::Good;
            }
        };
        let Some(task) = &entry.record.task else {
            return self.judge_links(&known, true).await;
        };
        let question = Question {
            key: entry.record.key,
            task_id: task.id.clone(),
            target: match dialect::poll_of(&entry.record.path, &task.id).parse() {
                Ok(target) => target,
                Err(_) => return Verdict::Good,
            },
            headers: HeaderMap::new(),
        };
        let Ok(Polled::Now(answer) | Polled::Before(answer, _)) = self.polls.ask(question).await
        else {
            return self.judge_links(&known, false).await;
        };
        let shown = match answer.about(&task.id) {
            Some(poll) if poll.state == dialect::State::Succeeded => links::find(&answer.body),
            Some(_) | None => Vec::new(),
        };
        let fresh: Vec<_> = shown
            .into_iter()
            .filter(|link| !known.contains(link))
            .collect();
        if fresh.is_empty() {
            return self.judge_links(&known, has_said(&answer, &task.id)).await;
        }
        match self.judge_links(&fresh, true).await {
            Verdict::Dead => Verdict::Dead,
            Verdict::Good | Verdict::Renewed | Verdict::Unsure => Verdict::Renewed,
        }
    }

    /// Looks at links; one that is dead is enough. `said`: upstream has nothing better to offer.
    async fn judge_links(&self, links: &[String], said: bool) -> Verdict {
        let looking = self.look_at_links(links, said);
        let verdict = tokio::time::timeout(PATIENCE, looking).await;
        verdict.unwrap_or(Verdict::Good)
    }

    async fn look_at_links(&self, links: &[String], said: bool) -> Verdict {
        for link in links.iter().take(MOST_LINKS) {
            match self.archive.life_of(link).await {
                Life::Alive | Life::Unknown => {}
                Life::Dead if said => return Verdict::Dead,
                Life::Dead => return Verdict::Unsure,
            }
        }
        Verdict::Good
    }

    /// Every link that the answers of this entry show.
    async fn links_of(&self, entry: &Entry) -> Result<Vec<String>, StoreError> {
        if !entry.record.media.is_empty() {
            let media = entry.record.media.iter();
            return Ok(media.map(|medium| medium.link.clone()).collect());
        }
        let mut known = Vec::new();
        for payload in medium::shown(entry) {
            let body = match payload {
                Payload::Blob { len, .. } if *len > links::LARGEST as u64 => continue,
                Payload::Bytes(_) | Payload::Blob { .. } => {
                    shown::read(&self.shelf, payload).await?
                }
            };
            known.extend(links::find(&body));
        }
        Ok(known)
    }

    /// Forgets a finished generation whose links are dead.
    ///
    /// MONEY: never one that has changed meanwhile, runs, or has a file that is kept.
    async fn forget_dead(&self, entry: &Entry) -> Result<(), StoreError> {
        let record = &entry.record;
        let (created, task) = (record.created_at, record.task.clone().map(|task| task.id));
        let decide = move |standing: &Entry| {
            let standing = &standing.record;
            let id = standing.task.as_ref().map(|task| &task.id);
            let same = standing.created_at == created && id == task.as_ref();
            if same && medium::is_finished(standing) && !medium::has_copy(standing) {
                tracing::warn!(
                    key = standing.key.short(),
                    "a kept result is forgotten: its links are dead and no file was kept; the next \
                     identical request runs again"
                );
                Change::Remove
            } else {
                Change::Nothing
            }
        };
        self.shelf.change(record.key, decide).await.map(drop)
    }
}

/// Whether upstream has said what it has to say about a job, so that nothing better is to come.
fn has_said(answer: &PollAnswer, task_id: &str) -> bool {
    if let Some(poll) = answer.about(task_id) {
        return poll.state.is_terminal();
    }
    match answer.status {
        StatusCode::NOT_FOUND | StatusCode::GONE => true,
        // The gateway's word for a job that it does not know.
        StatusCode::BAD_REQUEST => dialect::is_unknown_task(&answer.body),
        _ => false,
    }
}
