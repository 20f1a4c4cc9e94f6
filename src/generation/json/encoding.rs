//! The bytes that stand for a value: self-delimiting, tagged by type, never long.
//!
//! - `null`, `true`, `false`: one tag.
//! - anything else: a tag, the length in two bytes (big-endian), the content; or, when the content
//!   is longer than [`INLINE`], the tag in capitals and the BLAKE3 hash of the content.
//!
//! The content of an array is its elements, of an object its members (key, value) sorted. As every
//! part says where it ends and of what type it is, two different values never read the same.

use blake3::Hasher;

use super::NotCanonical;

pub(super) const NULL: u8 = b'n';
pub(super) const TRUE: u8 = b't';
pub(super) const FALSE: u8 = b'f';
pub(super) const TEXT: u8 = b's';
pub(super) const NUMBER: u8 = b'd';
pub(super) const ARRAY: u8 = b'a';
pub(super) const OBJECT: u8 = b'o';

/// An object without members.
pub(super) const EMPTY_OBJECT: [u8; HEAD] = [OBJECT, 0, 0];
/// The number 0.
pub(super) const ZERO: [u8; HEAD + 1] = [NUMBER, 0, 1, b'0'];

/// A tag and a length.
const HEAD: usize = 3;
/// Content that is longer than this is replaced by its hash. In bytes; fits the length.
const INLINE: usize = 1024;
/// A value that is being written is moved into its hash whenever so many bytes are waiting.
const WAITING: usize = 8 * 1024;
/// Members of all the objects that are open at once. Sorting more is not worth its time: such a
/// body is hashed raw, which at worst pays for it once for each way of writing it.
const MOST_MEMBERS: usize = 1 << 18;

/// Where values are written, one after the other, an unfinished one around its parts.
#[derive(Default)]
pub(super) struct Encoding {
    bytes: Vec<u8>,
    members: Vec<Member>,
    /// For sorting a short object; kept between objects.
    sorted: Vec<u8>,
}

/// A value that is being written.
pub(super) struct Open {
    /// Where its tag stands.
    at: usize,
    /// What has been moved out of the buffer already.
    hash: Option<Box<Hasher>>,
}

/// An object that is being written: its members wait in the buffer until they can be sorted.
pub(super) struct OpenObject {
    at: usize,
    first_member: usize,
}

/// One member of an open object. Its key and value stand in the buffer, one after the other; both
/// are at most a hash or [`INLINE`] bytes long, so that two bytes hold the lengths.
struct Member {
    /// The first bytes of the key, to compare most keys without a look into the buffer.
    prefix: u64,
    at: usize,
    key_len: u16,
    len: u16,
    counts: bool,
}

impl Encoding {
    /// An empty one for a body of so many bytes.
    pub(super) fn for_body(len: usize) -> Self {
        // Short strings take a little more than they did.
        let room = len + len / 4 + 64;
        Self {
            bytes: Vec::with_capacity(room.min(WAITING)),
            members: Vec::with_capacity(16),
            sorted: Vec::new(),
        }
    }

    /// All that was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Where the next value will be written.
    pub(super) fn mark(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of the value (or the key) that was written at `mark`, if it was the last.
    pub(super) fn since(&self, mark: usize) -> &[u8] {
        self.bytes.get(mark..).unwrap_or_default()
    }

    /// The text of the string that was written last, at `mark`; `None` for another type and for a
    /// long one.
    pub(super) fn text_at(&self, mark: usize) -> Option<&[u8]> {
        match self.since(mark) {
            [TEXT, _, _, text @ ..] => Some(text),
            _ => None,
        }
    }

    /// Takes back what was written since `mark`.
    pub(super) fn take_back(&mut self, mark: usize) {
        self.bytes.truncate(mark);
    }

    /// Writes `null`, `true` or `false`.
    pub(super) fn word(&mut self, tag: u8) {
        self.bytes.push(tag);
    }

    /// Writes a string that is here as a whole.
    pub(super) fn text(&mut self, content: &[u8]) {
        if content.len() > INLINE {
            let mut open = self.open(TEXT);
            self.put(&mut open, content);
            self.close(open);
            return;
        }
        let at = self.bytes.len();
        self.bytes.reserve(HEAD + content.len());
        self.bytes.extend_from_slice(&[TEXT, 0, 0]);
        self.bytes.extend_from_slice(content);
        self.finish_inline(at, content.len());
    }

    /// Begins a string, number or array.
    pub(super) fn open(&mut self, tag: u8) -> Open {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[tag, 0, 0]);
        Open { at, hash: None }
    }

    /// Adds content to `open`, which must be the innermost open value.
    pub(super) fn put(&mut self, open: &mut Open, content: &[u8]) {
        if content.len() > WAITING {
            self.move_out(open).update(content);
        } else {
            self.bytes.extend_from_slice(content);
            self.settle(open);
        }
    }

    /// Keeps what waits for `open` within bounds; to be called after each element of an array.
    pub(super) fn settle(&mut self, open: &mut Open) {
        if self.bytes.len() - open.at > WAITING {
            self.move_out(open);
        }
    }

    /// Ends a string, number or array.
    pub(super) fn close(&mut self, mut open: Open) {
        let len = self.bytes.len() - open.at - HEAD;
        if open.hash.is_none() && len <= INLINE {
            self.finish_inline(open.at, len);
        } else {
            let hash = self.move_out(&mut open).finalize();
            self.finish_hashed(open.at, &hash);
        }
    }

    /// Begins an object.
    pub(super) fn open_object(&mut self) -> OpenObject {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&EMPTY_OBJECT);
        OpenObject {
            at,
            first_member: self.members.len(),
        }
    }

    /// Adds the member whose key was written at `key` and whose value at `value`, both complete.
    /// One that does not count still may not be repeated.
    pub(super) fn add_member(
        &mut self,
        key: usize,
        value: usize,
        counts: bool,
    ) -> Result<(), NotCanonical> {
        if self.members.len() >= MOST_MEMBERS {
            return Err(NotCanonical);
        }
        let start = self.bytes.get(key + HEAD..value).unwrap_or_default();
        let mut prefix = [0; 8];
        for (byte, first) in prefix.iter_mut().zip(start) {
            *byte = *first;
        }
        self.members.push(Member {
            prefix: u64::from_be_bytes(prefix),
            at: key,
            key_len: short(value - key)?,
            len: short(self.bytes.len() - key)?,
            counts,
        });
        Ok(())
    }

    /// Ends an object: its members in the order of their keys. An error when a key is repeated.
    pub(super) fn close_object(&mut self, open: &OpenObject) -> Result<(), NotCanonical> {
        let bytes = &self.bytes;
        let members = self
            .members
            .get_mut(open.first_member..)
            .unwrap_or_default();
        members.sort_unstable_by(|a, b| {
            let by_prefix = a.prefix.cmp(&b.prefix);
            by_prefix.then_with(|| a.key(bytes).cmp(b.key(bytes)))
        });
        if members.windows(2).any(
            |pair| matches!(pair, [a, b] if a.prefix == b.prefix && a.key(bytes) == b.key(bytes)),
        ) {
            return Err(NotCanonical);
        }
        let counted = members.iter().filter(|member| member.counts);
        let len = counted.clone().map(|member| usize::from(member.len)).sum();
        if len <= INLINE {
            self.sorted.clear();
            for member in counted {
                self.sorted.extend_from_slice(member.whole(bytes));
            }
            self.bytes.truncate(open.at + HEAD);
            self.bytes.extend_from_slice(&self.sorted);
            self.finish_inline(open.at, len);
        } else {
            let mut hasher = Hasher::new();
            for member in counted {
                hasher.update(member.whole(bytes));
            }
            self.finish_hashed(open.at, &hasher.finalize());
        }
        self.members.truncate(open.first_member);
        Ok(())
    }

    /// Moves what waits for `open` into its hash.
    fn move_out<'a>(&mut self, open: &'a mut Open) -> &'a mut Hasher {
        let hasher = open.hash.get_or_insert_with(Box::default);
        hasher.update(self.bytes.get(open.at + HEAD..).unwrap_or_default());
        self.bytes.truncate(open.at + HEAD);
        hasher
    }

    fn finish_inline(&mut self, at: usize, len: usize) {
        // At most `INLINE`, so it fits; a length that did not would be seen by the golden tests.
        let len = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
        if let Some(head) = self.bytes.get_mut(at + 1..at + HEAD) {
            head.copy_from_slice(&len);
        }
    }

    fn finish_hashed(&mut self, at: usize, hash: &blake3::Hash) {
        let tag = self.bytes.get(at).copied().unwrap_or_default();
        self.bytes.truncate(at);
        self.bytes.push(tag.to_ascii_uppercase());
        self.bytes.extend_from_slice(hash.as_bytes());
    }
}

impl Member {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes
            .get(self.at..self.at + usize::from(self.key_len))
            .unwrap_or_default()
    }

    fn whole<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes
            .get(self.at..self.at + usize::from(self.len))
            .unwrap_or_default()
    }
}

fn short(len: usize) -> Result<u16, NotCanonical> {
    u16::try_from(len).map_err(|_| NotCanonical)
}
