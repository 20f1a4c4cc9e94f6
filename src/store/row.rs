//! One row of the index as bytes.
//!
//! Stamp of the file (32 bytes), whether there is a job (1), the hash of its id (32 or none), the
//! file itself when it is small. A row is derived: another form only means that it is made again.

use bytes::Bytes;

use super::files::Stamp;

/// Files up to this many bytes stand in the index whole.
const CONTENT_MAX: usize = 8 * 1024;

/// What the index knows about one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The version of the file that this row was made from.
    pub(super) stamp: Stamp,
    /// The hash of its job's id.
    pub(super) task: Option<TaskHash>,
    /// The whole file, when it is small.
    pub(super) content: Option<Bytes>,
}

/// The hash of a job's id: upstream chooses ids, and a row's key must not be of any length.
pub(super) type TaskHash = [u8; 32];

pub(super) fn task_hash(task_id: &str) -> TaskHash {
    *blake3::hash(task_id.as_bytes()).as_bytes()
}

impl Row {
    /// The row for a file; only a small file's bytes are taken.
    pub(super) fn new(stamp: Stamp, task_id: Option<&str>, content: &[u8]) -> Self {
        let content = (content.len() <= CONTENT_MAX).then(|| Bytes::copy_from_slice(content));
        Self {
            stamp,
            task: task_id.map(task_hash),
            content,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let content = self.content.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(72 + content.len());
        bytes.extend_from_slice(&self.stamp.inode.to_be_bytes());
        bytes.extend_from_slice(&self.stamp.seconds.to_be_bytes());
        bytes.extend_from_slice(&self.stamp.nanoseconds.to_be_bytes());
        bytes.extend_from_slice(&self.stamp.len.to_be_bytes());
        bytes.push(u8::from(self.task.is_some()));
        bytes.extend_from_slice(self.task.as_ref().map_or(&[], |hash| hash.as_slice()));
        bytes.extend_from_slice(content);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (inode, rest) = bytes.split_first_chunk()?;
        let (seconds, rest) = rest.split_first_chunk()?;
        let (nanoseconds, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let stamp = Stamp {
            inode: u64::from_be_bytes(*inode),
            seconds: i64::from_be_bytes(*seconds),
            nanoseconds: i64::from_be_bytes(*nanoseconds),
            len: u64::from_be_bytes(*len),
        };
        let (task, content) = match rest.split_first()? {
            (0, rest) => (None, rest),
            (1, rest) => rest
                .split_first_chunk()
                .map(|(hash, rest)| (Some(*hash), rest))?,
            _ => return None,
        };
        let content = (!content.is_empty()).then(|| Bytes::copy_from_slice(content));
        Some(Self {
            stamp,
            task,
            content,
        })
    }
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

    #[test]
    fn rows_come_back_and_nonsense_does_not() {
        let small = Row::new(stamp(), Some("task"), b"the file");
        let large = Row::new(stamp(), None, &[b'x'; CONTENT_MAX + 1]);
        assert_eq!(large.content, None);
        for row in [small, large] {
            let bytes = row.to_bytes();
            assert_eq!(Row::from_bytes(&bytes), Some(row));
            for len in 0..33 {
                assert_eq!(Row::from_bytes(&bytes[..len]), None, "cut to {len}");
            }
        }
        let mut other = Row::new(stamp(), None, b"").to_bytes();
        other[32] = 2;
        assert_eq!(Row::from_bytes(&other), None);
    }
}
