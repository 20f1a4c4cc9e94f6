//! The memory that whole bodies may take: what a generation is recognised by, and what an answer is
//! judged by.
//!
//! Every body counts with what has arrived of it. The first 64 KiB come out of a part that larger ones
//! cannot use up; a body that grows beyond waits, for a while, until all of it can have room: so
//! whoever goes on reading can finish, and nobody waits in the middle holding what another one
//! needs. One that arrives too slowly gives its room up when somebody waits for it. A body is counted
//! for as long as anybody holds it, and equal ones that wait for one run count once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::Error;
use crate::message::Body;

/// What memory is counted in: a semaphore's counts are too small for bytes.
const UNIT: u64 = 1024;

/// A body up to here has its room among the small ones.
const SMALL: u64 = 64 * 1024;

/// For all small bodies together, in bytes.
const SMALL_ONES: u64 = 64 * 1024 * 1024;

/// For all larger ones together, in bytes; more where one body may be larger than that.
const LARGE_ONES: u64 = 256 * 1024 * 1024;

/// For all answers that are being judged, in bytes. Who has room there waits for nothing, so
/// everybody's turn comes.
const JUDGED_ONES: u64 = 256 * 1024 * 1024;

/// How long a large body waits for room, and after how many seconds its client may try again.
const WAIT: Duration = Duration::from_secs(15);
const AGAIN: u64 = 5;

/// While others wait for room, a body has to bring so many bytes in so much time.
const WINDOW: Duration = Duration::from_secs(5);
const LEAST: u64 = 256 * 1024;

/// No body takes longer than this to arrive.
const LONGEST: Duration = Duration::from_mins(30);

/// All the room there is, and the largest body that it is for.
pub(super) struct Bodies {
    largest: u64,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// For so many bytes there is room among the large ones.
    large_ones: Arc<AtomicU64>,
    judged: Arc<Semaphore>,
    /// How many wait for room among the large ones.
    waiting: Arc<AtomicUsize>,
    held: Arc<Shared>,
}

/// The large bodies that somebody holds, by what is in them.
#[derive(Default)]
struct Shared(Mutex<HashMap<blake3::Hash, Weak<Kept>>>);

/// A whole body and its room.
struct Kept {
    bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
    entry: Option<(Arc<Shared>, blake3::Hash)>,
}

/// One holder's share of a body.
struct Hold(Arc<Kept>);

/// A body while it arrives.
struct Arriving {
    bytes: Vec<u8>,
    announced: Option<u64>,
    room: Option<OwnedSemaphorePermit>,
    is_large: bool,
    /// When the current window began, and with how many bytes.
    window: (Instant, u64),
    deadline: Instant,
}

impl Bodies {
    /// Room for bodies of at most `largest` bytes each.
    pub(super) fn new(largest: u64) -> Self {
        let of = |bytes: u64| Semaphore::new(units(bytes) as usize);
        Self {
            largest,
            small: Arc::new(of(SMALL_ONES)),
            large: Arc::new(of(LARGE_ONES.max(largest))),
            large_ones: Arc::new(AtomicU64::new(LARGE_ONES.max(largest))),
            judged: Arc::new(of(JUDGED_ONES)),
            waiting: Arc::default(),
            held: Arc::default(),
        }
    }

    /// The same room, for bodies of at most `largest` bytes each. It grows where one of them would
    /// not fit in, and does not shrink again.
    pub(super) fn resized(&self, largest: u64) -> Self {
        let before = self.large_ones.fetch_max(largest, Ordering::AcqRel);
        let more = units(largest.max(before)).saturating_sub(units(before));
        self.large.add_permits(more as usize);
        Self {
            largest,
            small: self.small.clone(),
            large: self.large.clone(),
            large_ones: self.large_ones.clone(),
            judged: self.judged.clone(),
            waiting: self.waiting.clone(),
            held: self.held.clone(),
        }
    }

    /// The whole of a body, of which `announced` bytes are to come as far as anybody said.
    ///
    /// # Errors
    /// When it is too large, breaks off, takes too long, or there is no room for it.
    pub(super) async fn collect(
        &self,
        mut body: Body,
        announced: Option<u64>,
    ) -> Result<Bytes, Error> {
        if announced.is_some_and(|length| length > self.largest) {
            return Err(Error::TooLarge(self.largest));
        }
        let mut arriving = Arriving::new(announced);
        while let Some(piece) = self.next(&mut body, &mut arriving).await? {
            let len = arriving.len() + piece.len() as u64;
            if len > self.largest {
                return Err(Error::TooLarge(self.largest));
            }
            self.make_room(&mut arriving, len).await?;
            arriving.bytes.extend_from_slice(&piece);
            if body.is_end_stream() {
                break;
            }
        }
        Ok(self.keep(arriving).await)
    }

    /// Room for an answer of so many bytes, for as long as it is looked at.
    pub(super) async fn judging(&self, len: u64) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.judged
            .acquire_many(units(len.min(JUDGED_ONES)))
            .await
            .ok()
    }

    /// Room for the plain form of a request's body, which nobody knows the length of: for the longest.
    /// It can go with whoever reads it, also when its client has left.
    pub(super) async fn undoing(&self, longest: u64) -> Option<OwnedSemaphorePermit> {
        let room = self.judged.clone();
        room.acquire_many_owned(units(longest.min(JUDGED_ONES)))
            .await
            .ok()
    }

    async fn next(&self, body: &mut Body, arriving: &mut Arriving) -> Result<Option<Bytes>, Error> {
        loop {
            // What is there already is not waited for, and costs no look at the clock.
            let frame = if let Some(frame) = body.frame().now_or_never() {
                Ok(frame)
            } else {
                let until = (arriving.window.0 + WINDOW).min(arriving.deadline);
                let frame = timeout_at(until, body.frame()).await;
                arriving.check_pace(self.waiting.load(Ordering::Relaxed) > 0)?;
                frame
            };
            match frame {
                Err(_) => {}
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(Error::BodyBroken(error.to_string())),
                Ok(Some(Ok(frame))) => {
                    // Trailers are nothing that a generation is recognised by.
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }

    /// Room for `len` bytes.
    async fn make_room(&self, arriving: &mut Arriving, len: u64) -> Result<(), Error> {
        let has = arriving
            .room
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let lacks = units(len).saturating_sub(u32::try_from(has).unwrap_or(u32::MAX));
        if lacks == 0 {
            return Ok(());
        }
        if len > SMALL && !arriving.is_large {
            let whole = arriving.announced.unwrap_or(self.largest).max(len);
            arriving.room = Some(self.wait_for(whole).await?);
            arriving.is_large = true;
            // While it waited, nothing could arrive.
            arriving.window = (Instant::now(), arriving.len());
            return arriving.reserve(whole);
        }
        let part = if arriving.is_large {
            &self.large
        } else {
            &self.small
        };
        let more = part.clone().try_acquire_many_owned(lacks);
        let more = more.map_err(|_| Error::Busy(AGAIN))?;
        match &mut arriving.room {
            Some(room) => room.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }

    async fn wait_for(&self, len: u64) -> Result<OwnedSemaphorePermit, Error> {
        let room = self.large.clone();
        if let Ok(room) = room.clone().try_acquire_many_owned(units(len)) {
            return Ok(room);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        match timeout(WAIT, room.acquire_many_owned(units(len))).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) | Err(_) => Err(Error::Busy(AGAIN)),
        }
    }

    /// The body as its holders share it.
    async fn keep(&self, mut arriving: Arriving) -> Bytes {
        arriving.give_back();
        let Arriving {
            bytes,
            room,
            is_large,
            ..
        } = arriving;
        if !is_large {
            return hold(Arc::new(Kept {
                bytes,
                _room: room,
                entry: None,
            }));
        }
        let shared = self.held.clone();
        let sharing = tokio::task::spawn_blocking(move || {
            let hash = blake3::hash(&bytes);
            shared.clone().share(
                hash,
                Kept {
                    bytes,
                    _room: room,
                    entry: Some((shared, hash)),
                },
            )
        });
        // It does not panic; an empty body would be refused as no JSON.
        sharing.await.map(hold).unwrap_or_default()
    }
}

impl Arriving {
    fn new(announced: Option<u64>) -> Self {
        let now = Instant::now();
        let first = announced.unwrap_or_default().min(SMALL);
        Self {
            bytes: Vec::with_capacity(usize::try_from(first).unwrap_or_default()),
            announced,
            room: None,
            is_large: false,
            window: (now, 0),
            deadline: now + LONGEST,
        }
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Memory for all of it at once. The system may have less than was counted on; what cannot be
    /// had is refused, where growing step by step would end the program.
    fn reserve(&mut self, whole: u64) -> Result<(), Error> {
        let lacks = usize::try_from(whole.saturating_sub(self.len()));
        let reserved = lacks.is_ok_and(|lacks| self.bytes.try_reserve_exact(lacks).is_ok());
        reserved.then_some(()).ok_or(Error::Busy(AGAIN))
    }

    /// Refuses a body that keeps others waiting for its room, or takes for ever.
    fn check_pace(&mut self, others_wait: bool) -> Result<(), Error> {
        let now = Instant::now();
        if now >= self.deadline {
            return Err(Error::TooSlow);
        }
        if now >= self.window.0 + WINDOW {
            let brought = self.len() - self.window.1;
            if self.is_large && others_wait && brought < LEAST {
                return Err(Error::Busy(AGAIN));
            }
            self.window = (now, self.len());
        }
        Ok(())
    }

    /// Gives back what the body did not need.
    fn give_back(&mut self) {
        self.bytes.shrink_to_fit();
        let needs = units(self.len()) as usize;
        if let Some(room) = &mut self.room {
            drop(room.split(room.num_permits().saturating_sub(needs)));
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<blake3::Hash, Weak<Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body that is held already, or else this one.
    fn share(&self, hash: blake3::Hash, kept: Kept) -> Arc<Kept> {
        let kept = Arc::new(kept);
        let mut held = self.open();
        if let Some(other) = held.get(&hash).and_then(Weak::upgrade) {
            drop(held);
            return other;
        }
        held.insert(hash, Arc::downgrade(&kept));
        kept
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some((shared, hash)) = &self.entry else {
            return;
        };
        let mut held = shared.open();
        // Another one may stand there by now.
        if held.get(hash).is_some_and(|kept| kept.strong_count() == 0) {
            held.remove(hash);
        }
    }
}

impl AsRef<[u8]> for Hold {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

/// Counted out when the wait is over, however it ended.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn hold(kept: Arc<Kept>) -> Bytes {
    Bytes::from_owner(Hold(kept))
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
