//! The task that fetches files, a few at a time, until the proxy stops.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::archive::{Archive, wanted};
use super::fetch::{Fetched, Missed};
use super::medium;
use super::queue::{Due, pause};
use crate::egress::Destination;
use crate::generation::Fingerprint;
use crate::store::{Change, Entry, MediumState, Payload, StoreError};

/// Files that are fetched at once.
const AT_ONCE: usize = 4;

/// When something is tried again that the store could not do.
const AFTER_A_BAD_DISK: Duration = Duration::from_mins(1);

impl Archive {
    /// Fetches files until `stop`; what is wanted then is taken up by the next process.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut fetches = FuturesUnordered::new();
        let mut taking_up = Box::pin(self.take_up(stop.clone()));
        loop {
            while fetches.len() < AT_ONCE {
                let Some(due) = self.queue().take() else {
                    break;
                };
                fetches.push(self.attend(due));
            }
            let next = self.queue().next_at().filter(|_| fetches.len() < AT_ONCE);
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.changed.notified() => {}
                () = until(next) => {}
                () = &mut taking_up => break,
                Some(()) = fetches.next() => {}
            }
        }
    }

    /// Takes up what earlier processes have left, and what comes by an import, until `stop`.
    async fn take_up(&self, stop: CancellationToken) {
        let mut imports = self.shelf.imports();
        loop {
            let all = self.take_up_once(stop.clone()).await;
            let again = async {
                if all {
                    // Never an end: the shelf is ours as well.
                    let _ = imports.changed().await;
                } else {
                    tokio::time::sleep(AFTER_A_BAD_DISK).await;
                }
            };
            if stop.run_until_cancelled(again).await.is_none() {
                return;
            }
        }
    }

    /// Takes up every file that is wanted and is not known of; says whether all records could be read.
    async fn take_up_once(&self, stop: CancellationToken) -> bool {
        let looking = self.shelf.blocking(move |store| {
            let mut found = Vec::new();
            let looked = store.open_work(&mut |record| {
                found.extend(wanted(record));
                if stop.is_cancelled() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            Ok((found, looked))
        });
        let (found, looked) = looking
            .await
            .unwrap_or_else(|error| (Vec::new(), Err(error)));
        let mut queue = self.queue();
        let before = queue.len();
        for due in found {
            queue.add(due);
        }
        let files = queue.len().saturating_sub(before);
        drop(queue);
        if files > 0 && self.is_on() {
            tracing::info!(files, "files of results are still to be fetched");
        }
        self.changed.notify_one();
        if let Err(error) = &looked {
            tracing::error!(%error, "there may be files that nobody fetches: looked for again in a minute");
        }
        looked.is_ok()
    }

    /// Tries once to fetch a file, and notes what came of it.
    async fn attend(&self, mut due: Due) {
        let (was, link) = (due.key, due.link.clone());
        match self.locate(&due).await {
            Ok(Some(key)) => due.key = key,
            // Forgotten, or settled by somebody else.
            Ok(None) => return self.queue().forget(was, &link),
            Err(error) => {
                tracing::warn!(%error, "a file is not fetched now");
                return self.queue().put_back(due, AFTER_A_BAD_DISK);
            }
        }
        due.attempts = due.attempts.saturating_add(1);
        let order = self.order();
        let fetched = if order.settings.archive {
            order.fetcher.fetch(&link, &mut due.partial).await
        } else {
            // What nobody fetches would never be evicted.
            Err(Missed::Never("media.archive is off".to_owned()))
        };
        let later = match fetched {
            Ok(fetched) => self.keep(&due, fetched).await,
            Err(Missed::Never(why)) => self.lose(&due, why).await,
            Err(Missed::Again(why, asked)) => self.miss(&due, why, asked).await,
        };
        // Its key may have changed, and it is known by the one it came with.
        due.key = was;
        match later {
            Some(later) => self.queue().put_back(due, later),
            None => self.queue().forget(was, &link),
        }
    }

    /// Where the record is that wants a link; `None` when none does any longer.
    async fn locate(&self, due: &Due) -> Result<Option<Fingerprint>, StoreError> {
        let key = match &due.task {
            Some(task) => self.shelf.find_task(task.clone()).await?,
            None => Some(due.key),
        };
        let Some(key) = key else { return Ok(None) };
        let entry = self.shelf.get(key).await?;
        let wants = entry.is_some_and(|entry| {
            wanted(&entry.record).any(|other| other.link == due.link && other.task == due.task)
        });
        Ok(wants.then_some(key))
    }

    async fn keep(&self, due: &Due, fetched: Fetched) -> Option<Duration> {
        let Fetched { payload, kind } = fetched;
        let Payload::Blob { hash, len, hold } = payload else {
            return None;
        };
        let state = MediumState::Kept {
            hash,
            len,
            content_type: kind.content_type.to_owned(),
            extension: kind.extension.to_owned(),
        };
        let noted = self.note(due, state).await;
        // Until here no record spoke for the file.
        drop(hold);
        if noted.is_none() {
            self.files.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(len, Ordering::Relaxed);
            let (key, from) = (due.key.short(), origin(&due.link));
            tracing::info!(
                key,
                from,
                bytes = len,
                kind = kind.extension,
                "a file is kept"
            );
        }
        noted
    }

    async fn lose(&self, due: &Due, why: String) -> Option<Duration> {
        let (key, from) = (due.key.short(), origin(&due.link));
        tracing::warn!(key, from, why, "a file of a result is not kept");
        let noted = self.note(due, MediumState::Lost { why }).await;
        if noted.is_none() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        noted
    }

    async fn miss(&self, due: &Due, why: String, asked: Option<Duration>) -> Option<Duration> {
        let entry = self.shelf.get(due.key).await.ok().flatten();
        let (now, lifetime) = (self.clock.now(), self.link_lifetime());
        if entry.is_some_and(|entry| medium::is_over(&entry.record, now, lifetime)) {
            let why = format!("{why}; the link has outlived media.link_lifetime");
            return self.lose(due, why).await;
        }
        let later = pause(due, asked);
        let (key, from) = (due.key.short(), origin(&due.link));
        tracing::info!(
            key,
            from,
            why,
            later_s = later.as_secs(),
            "a file is fetched again later"
        );
        Some(later)
    }

    /// Makes a link's state durable; when that fails, says when to try all of it again.
    async fn note(&self, due: &Due, state: MediumState) -> Option<Duration> {
        let (link, task) = (due.link.clone(), due.task.clone());
        let decide = move |entry: &Entry| {
            let mut entry = entry.clone();
            let id = entry.record.task.as_ref().map(|task| task.id.as_str());
            if id != task.as_deref() {
                return Ok(Change::Nothing);
            }
            let media = &mut entry.record.media;
            match media.iter_mut().find(|medium| *medium.link == *link) {
                Some(medium) => medium.state = state,
                None => return Ok(Change::Nothing),
            }
            Ok(Change::Put(Box::new(entry)))
        };
        let listener = self.listener.clone();
        let tell = move |entry: &Entry| {
            if wanted(&entry.record).next().is_none()
                && let (Some(listener), Some(task)) = (listener, &entry.record.task)
            {
                listener.settled(&task.id);
            }
            Ok(())
        };
        match self.shelf.change_and(due.key, decide, tell).await {
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "what became of a file could not be noted");
                Some(AFTER_A_BAD_DISK)
            }
        }
    }
}

/// SECURITY: what a log shows of a link; the rest of it may be a permission.
fn origin(link: &str) -> String {
    Destination::parse(link).map_or_else(|_| "?".to_owned(), |to| to.to_string())
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}
