//! One row of the index as bytes.
//!
//! What a listing, an eviction and a start need of a generation without opening its file. A row is
//! derived: one of another form only means that it is made again from the file.

use bytes::Buf;
use jiff::Timestamp;

use super::blob_hash::BlobHash;
use super::files::Stamp;
use super::medium::MediumState;
use super::record::{Entry, Payload, Record};
use crate::generation::Kind;

/// The first byte of every row of this form.
pub(super) const FORM: u8 = 2;

/// What the index knows about one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The version of the file that this row was made from.
    pub(super) stamp: Stamp,
    /// The hash of its job's id.
    pub(super) task: Option<TaskHash>,
    /// Whether there is still something to be done for it.
    pub(super) open: bool,
    /// Whether only its job is followed, and nothing of it is kept.
    pub(super) passed_by: bool,
    pub(super) kind: Kind,
    pub(super) status: u16,
    pub(super) created_at: Timestamp,
    pub(super) path: String,
    pub(super) model: Option<String>,
    /// The blobs it needs, each once, with their sizes in bytes.
    pub(super) blobs: Vec<(BlobHash, u64)>,
}

/// The hash of a job's id: upstream chooses ids, and a row's key must not be of any length.
pub(super) type TaskHash = [u8; 32];

pub(super) fn task_hash(task_id: &str) -> TaskHash {
    *blake3::hash(task_id.as_bytes()).as_bytes()
}

/// The blobs that an entry needs, each once, with their sizes in bytes.
pub(super) fn blobs_of(entry: &Entry) -> Vec<(BlobHash, u64)> {
    let payloads = std::iter::once(&entry.body).chain(&entry.polls);
    let bodies = payloads.filter_map(|payload| match payload {
        Payload::Bytes(_) => None,
        Payload::Blob { hash, len, .. } => Some((*hash, *len)),
    });
    let media = entry.record.media.iter();
    let files = media.filter_map(|medium| match &medium.state {
        MediumState::Kept { hash, len, .. } => Some((*hash, *len)),
        MediumState::Wanted | MediumState::Lost { .. } => None,
    });
    let mut blobs: Vec<_> = bodies.chain(files).collect();
    blobs.sort_unstable();
    blobs.dedup_by_key(|(hash, _)| *hash);
    blobs
}

impl Row {
    /// The row for the file with this stamp.
    pub(super) fn of(stamp: Stamp, entry: &Entry) -> Self {
        let record: &Record = &entry.record;
        Self {
            stamp,
            task: record.task.as_ref().map(|task| task_hash(&task.id)),
            open: record.is_open(),
            passed_by: record.passed_by.is_some(),
            kind: record.kind,
            status: record.status,
            created_at: record.created_at,
            path: record.path.clone(),
            model: record.model.clone(),
            blobs: blobs_of(entry),
        }
    }

    /// The same, when its file cannot be read and may hold something else by now.
    pub(super) fn doubted(self) -> Self {
        let stamp = Stamp {
            inode: 0,
            ..self.stamp
        };
        Self { stamp, ..self }
    }

    /// Whether there is something to be done, or may be: nobody can say that it is finished.
    pub(super) fn may_be_open(&self) -> bool {
        self.open || self.stamp.inode == 0
    }

    /// What it takes on the disk by itself and with its blobs, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let blobs = self.blobs.iter().map(|(_, len)| len);
        blobs.fold(self.stamp.len, |sum, len| sum.saturating_add(*len))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128 + self.path.len() + self.blobs.len() * 40);
        bytes.push(FORM);
        put_stamp(&mut bytes, self.stamp);
        let kind = Kind::ALL.iter().position(|kind| *kind == self.kind);
        bytes.push(u8::try_from(kind.unwrap_or(0)).unwrap_or(0));
        // What was passed by is open, since it goes with its job.
        bytes.push(if self.passed_by {
            2
        } else {
            u8::from(self.open)
        });
        bytes.extend_from_slice(&self.status.to_be_bytes());
        bytes.extend_from_slice(&self.created_at.as_nanosecond().to_be_bytes());
        bytes.push(u8::from(self.task.is_some()));
        bytes.extend_from_slice(self.task.as_ref().map_or(&[], |hash| hash.as_slice()));
        put_text(&mut bytes, &self.path);
        bytes.push(u8::from(self.model.is_some()));
        put_text(&mut bytes, self.model.as_deref().unwrap_or_default());
        for (hash, len) in &self.blobs {
            bytes.extend_from_slice(hash.as_bytes());
            bytes.extend_from_slice(&len.to_be_bytes());
        }
        bytes
    }

    pub(super) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        if take::<1>(rest)? != [FORM] {
            return None;
        }
        let stamp = take_stamp(rest)?;
        let [kind] = take(rest)?;
        let (open, passed_by) = match take(rest)? {
            [0] => (false, false),
            [1] => (true, false),
            [2] => (true, true),
            [_] => return None,
        };
        let status = u16::from_be_bytes(take(rest)?);
        let created_at = Timestamp::from_nanosecond(i128::from_be_bytes(take(rest)?)).ok()?;
        let task = if take_flag(rest)? {
            Some(take(rest)?)
        } else {
            None
        };
        let path = take_text(rest)?;
        let has_model = take_flag(rest)?;
        let model = take_text(rest)?;
        let mut blobs = Vec::with_capacity(rest.len() / 40);
        while !rest.is_empty() {
            let hash = BlobHash::from_bytes(take(rest)?);
            blobs.push((hash, u64::from_be_bytes(take(rest)?)));
        }
        Some(Self {
            stamp,
            task,
            open,
            passed_by,
            kind: *Kind::ALL.get(usize::from(kind))?,
            status,
            created_at,
            path,
            model: has_model.then_some(model),
            blobs,
        })
    }
}

fn put_stamp(bytes: &mut Vec<u8>, stamp: Stamp) {
    bytes.extend_from_slice(&stamp.inode.to_be_bytes());
    bytes.extend_from_slice(&stamp.seconds.to_be_bytes());
    bytes.extend_from_slice(&stamp.nanoseconds.to_be_bytes());
    bytes.extend_from_slice(&stamp.len.to_be_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn take_flag(rest: &mut &[u8]) -> Option<bool> {
    match take(rest)? {
        [0] => Some(false),
        [1] => Some(true),
        [_] => None,
    }
}

fn take_stamp(rest: &mut &[u8]) -> Option<Stamp> {
    Some(Stamp {
        inode: u64::from_be_bytes(take(rest)?),
        seconds: i64::from_be_bytes(take(rest)?),
        nanoseconds: i64::from_be_bytes(take(rest)?),
        len: u64::from_be_bytes(take(rest)?),
    })
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(u32::from_be_bytes(take(rest)?)).ok()?;
    let text = std::str::from_utf8(rest.get(..len)?).ok()?.to_owned();
    rest.advance(len);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp {
            inode: 7,
            seconds: -1,
            nanoseconds: 999_999_999,
            len: u64::MAX,
        }
    }

    fn row() -> Row {
        Row {
            stamp: stamp(),
            task: Some(task_hash("task")),
            open: true,
            passed_by: false,
            kind: Kind::Chat,
            status: 201,
            created_at: Timestamp::new(-5, -123_456_789).unwrap(),
            path: "/v1/vidéos".into(),
            model: Some(String::new()),
            blobs: vec![
                (BlobHash::from_bytes([1; 32]), 9),
                (BlobHash::from_bytes([2; 32]), 0),
            ],
        }
    }

    #[test]
    fn rows_come_back_and_nonsense_does_not() {
        let bare = Row {
            task: None,
            open: false,
            kind: Kind::Video,
            model: None,
            blobs: Vec::new(),
            ..row()
        };
        let followed = Row {
            passed_by: true,
            ..row()
        };
        for row in [row(), bare, followed] {
            let bytes = row.to_bytes();
            assert_eq!(Row::from_bytes(&bytes).as_ref(), Some(&row));
            let without_blobs = bytes.len() - 40 * row.blobs.len();
            for len in (0..without_blobs).chain(without_blobs + 1..bytes.len()) {
                let whole = (len - len.min(without_blobs)).is_multiple_of(40);
                if len < without_blobs || !whole {
                    assert_eq!(Row::from_bytes(&bytes[..len]), None, "cut to {len}");
                }
            }
            let mut other = bytes.clone();
            other[0] = 0;
            assert_eq!(Row::from_bytes(&other), None, "a row of the first form");
        }
        assert_eq!(row().bytes(), u64::MAX);
    }
}
