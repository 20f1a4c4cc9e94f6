//! An answer while it arrives: written once, read by any number at their own pace.
//!
//! The recording *is* the buffer. Up to [`IN_MEMORY`] bytes it lives in memory; beyond that it
//! moves to the file that becomes the kept blob, and readers read from there. So a slow reader
//! costs neither the writer's time nor memory.

use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::watch;

use crate::message::{Body, BodyError, body};

/// How much of one answer is held in memory: 1 MiB.
pub(super) const IN_MEMORY: u64 = 1024 * 1024;

/// How much a reader takes at once: what is ready, and never more than this.
const TAKE: usize = 64 * 1024;

/// The shared side of a recording.
pub struct Recording {
    tape: Mutex<Tape>,
    grown: watch::Sender<()>,
}

#[derive(Default)]
struct Tape {
    /// The first bytes, once there were too many for memory.
    file: Option<Arc<File>>,
    /// How many are in the file.
    in_file: u64,
    /// What is held in memory, with the offset at which each piece begins: all of it, or what came
    /// after the disk had refused to take more.
    pieces: Vec<(u64, Bytes)>,
    len: u64,
    /// Readers see the bytes before this offset.
    shown: u64,
    end: Option<Result<(), Arc<str>>>,
}

enum Look {
    Piece(Bytes),
    InFile(Arc<File>, usize),
    NotYet,
    End(Result<(), Arc<str>>),
}

impl Recording {
    pub(super) fn new() -> Self {
        Self {
            tape: Mutex::default(),
            grown: watch::Sender::new(()),
        }
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Tape) -> T) -> T {
        let result = change(&mut self.tape());
        self.grown.send_replace(());
        result
    }

    /// Adds a piece that is held in memory. Readers see it once it is [shown](Self::show).
    pub(super) fn push(&self, piece: Bytes) {
        let mut tape = self.tape();
        let start = tape.len;
        tape.len += piece.len() as u64;
        tape.pieces.push((start, piece));
    }

    /// Counts bytes that were written to the file.
    pub(super) fn grow_in_file(&self, by: u64) {
        let mut tape = self.tape();
        tape.len += by;
        tape.in_file += by;
    }

    /// From now on the bytes are read from `file`, which holds all that have arrived.
    pub(super) fn move_to(&self, file: Arc<File>) {
        let mut tape = self.tape();
        tape.file = Some(file);
        tape.in_file = tape.len;
        tape.pieces = Vec::new();
    }

    /// Lets readers see everything before `upto`.
    pub(super) fn show(&self, upto: u64) {
        if upto > self.tape().shown {
            self.change(|tape| tape.shown = upto.min(tape.len));
        }
    }

    /// No more will come: shows the rest, and ends every reader's body well or with an error.
    pub(super) fn end(&self, how: Result<(), Arc<str>>) {
        self.change(|tape| {
            if how.is_ok() {
                tape.shown = tape.len;
            }
            tape.end.get_or_insert(how);
        });
    }

    /// How many bytes have arrived.
    pub fn len(&self) -> u64 {
        self.tape().len
    }

    /// Whether nothing has arrived.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces that are in memory, in order.
    pub(super) fn pieces(&self) -> Vec<Bytes> {
        self.tape()
            .pieces
            .iter()
            .map(|(_, piece)| piece.clone())
            .collect()
    }

    /// The file that holds the first bytes, and how many, once there were too many for memory.
    pub(super) fn file(&self) -> Option<(Arc<File>, u64)> {
        let tape = self.tape();
        Some((tape.file.clone()?, tape.in_file))
    }

    /// A body that gives the whole recording from its start, then what arrives, then its end.
    pub fn body(self: &Arc<Self>) -> Body {
        let reader = (self.clone(), self.grown.subscribe(), 0_u64);
        let frames = stream::unfold(reader, |(recording, mut grown, position)| async move {
            let next = recording.next(&mut grown, position).await?;
            let position = position + next.as_ref().map_or(0, |bytes| bytes.len() as u64);
            Some((next.map(Frame::data), (recording, grown, position)))
        });
        body::boxed(StreamBody::new(Box::pin(frames)))
    }

    async fn next(
        &self,
        grown: &mut watch::Receiver<()>,
        position: u64,
    ) -> Option<Result<Bytes, BodyError>> {
        loop {
            grown.borrow_and_update();
            let look = self.tape().look(position);
            match look {
                Look::Piece(bytes) => return Some(Ok(bytes)),
                Look::InFile(file, len) => return Some(body::read_at(file, position, len).await),
                Look::End(Ok(())) => return None,
                Look::End(Err(why)) => return Some(Err(why.to_string().into())),
                // The sender lives in `self`, so `changed` cannot fail here.
                Look::NotYet => grown.changed().await.ok()?,
            }
        }
    }
}

impl Tape {
    fn look(&self, position: u64) -> Look {
        if position >= self.shown {
            return match &self.end {
                Some(how) => Look::End(how.clone()),
                None => Look::NotYet,
            };
        }
        let ready = usize::try_from(self.shown - position).unwrap_or(TAKE);
        if let Some(file) = &self.file
            && position < self.in_file
        {
            let in_file = usize::try_from(self.in_file - position).unwrap_or(TAKE);
            return Look::InFile(file.clone(), ready.min(in_file).min(TAKE));
        }
        let first = self
            .pieces
            .partition_point(|(start, _)| *start <= position)
            .saturating_sub(1);
        let Some((start, piece)) = self.pieces.get(first) else {
            return Look::NotYet;
        };
        let skip = usize::try_from(position - start).unwrap_or(piece.len());
        let head = piece.slice(skip.min(piece.len())..);
        if head.len() >= ready {
            return Look::Piece(head.slice(..ready));
        }
        if head.len() >= TAKE {
            return Look::Piece(head);
        }
        Look::Piece(self.joined(first, &head, ready.min(TAKE)))
    }

    /// Pieces that are ready leave as one: a write for each would cost more than the copy.
    fn joined(&self, first: usize, head: &[u8], want: usize) -> Bytes {
        let mut joined = BytesMut::with_capacity(want);
        joined.extend_from_slice(head);
        for (_, piece) in self.pieces.iter().skip(first + 1) {
            let room = want.saturating_sub(joined.len());
            if room == 0 {
                break;
            }
            joined.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        joined.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::io::Write as _;

    async fn all(body: Body) -> Result<Bytes, BodyError> {
        Ok(body.collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn readers_get_everything_from_the_start_whenever_they_come() {
        let recording = Arc::new(Recording::new());
        let early = tokio::spawn(all(recording.body()));
        recording.push(Bytes::from_static(b"one "));
        recording.show(4);
        let middle = tokio::spawn(all(recording.body()));
        tokio::task::yield_now().await;
        recording.push(Bytes::from_static(b"two "));
        recording.push(Bytes::from_static(b"three"));
        recording.show(13);
        recording.end(Ok(()));
        let late = all(recording.body()).await.unwrap();
        for read in [
            early.await.unwrap().unwrap(),
            middle.await.unwrap().unwrap(),
            late,
        ] {
            assert_eq!(read, "one two three");
        }
    }

    #[tokio::test]
    async fn what_is_held_back_is_seen_only_at_a_good_end() {
        for (end, expected) in [(Ok(()), Some("shown hidden")), (Err("cut".into()), None)] {
            let recording = Arc::new(Recording::new());
            recording.push(Bytes::from_static(b"shown hidden"));
            recording.show(5);
            let mut body = recording.body();
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(first, "shown");
            recording.end(end);
            assert_eq!(all(body).await.is_ok(), expected.is_some());
            if let Some(expected) = expected {
                assert_eq!(all(recording.body()).await.unwrap(), expected);
            }
        }
    }

    #[tokio::test]
    async fn what_the_disk_refuses_is_read_from_memory_behind_the_file() {
        let recording = Arc::new(Recording::new());
        recording.push(Bytes::from_static(b"file,"));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"file,").unwrap();
        recording.move_to(Arc::new(file));
        recording.push(Bytes::from_static(b"memory"));
        recording.end(Ok(()));
        assert_eq!(all(recording.body()).await.unwrap(), "file,memory");
    }

    #[tokio::test]
    async fn a_reader_follows_from_memory_into_the_file() {
        let recording = Arc::new(Recording::new());
        recording.push(Bytes::from_static(b"memory,"));
        recording.show(7);
        let mut body = recording.body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"memory,file").unwrap();
        recording.move_to(Arc::new(file));
        recording.grow_in_file(4);
        recording.end(Ok(()));
        let rest = all(body).await.unwrap();
        assert_eq!([&first[..], &rest[..]].concat(), b"memory,file");
        assert_eq!(all(recording.body()).await.unwrap(), "memory,file");
    }
}
