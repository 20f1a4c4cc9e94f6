//! A multipart body by its parts (RFC 7578): field name, content type and bytes of each.

use std::borrow::Cow;

use blake3::Hasher;
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use multer::Field;

use super::extent::{Member, Value};
use super::facts::Facts;
use super::{Kind, left_out, metadata};

/// A form with more parts than this is hashed raw.
const MOST_PARTS: usize = 1000;

/// A part with more fields in its head makes its form be hashed raw.
const MOST_FIELDS: usize = 32;

/// What a form means.
pub(super) struct Reading {
    /// Equal exactly for equal parts in the same order.
    pub(super) digest: blake3::Hash,
    pub(super) facts: Facts,
}

/// Reads `body` as a form; `None` when it has to be hashed as its raw bytes.
pub(super) fn read(body: &Bytes, content_type: &str, kind: Kind) -> Option<Reading> {
    let boundary = multer::parse_boundary(content_type).ok()?;
    let parts = plain_parts(body, &boundary)?;
    // The whole body is there, so the reader never has to wait.
    let mut facts = Facts::default();
    let (read, digest) =
        read_parts(body.clone(), boundary, (kind, &mut facts)).now_or_never()??;
    (read == parts).then_some(Reading { digest, facts })
}

/// What a form says that is hashed raw, as far as it can be read; `None` where that is nothing.
pub(super) fn facts(body: &Bytes, content_type: &str, kind: Kind) -> Option<Facts> {
    let boundary = multer::parse_boundary(content_type).ok()?;
    let mut facts = Facts::default();
    let _ = read_parts(body.clone(), boundary, (kind, &mut facts)).now_or_never()?;
    (facts.body > 0).then_some(facts)
}

/// How many parts `body` has, when no reader can see it otherwise: it begins with its first
/// delimiter, ends with its only closing one, and every delimiter is a line of its own.
///
/// SECURITY: text before, after or between forms is skipped by one reader and understood by
/// another. Such a body must not get the name of an innocent one and put its answer in that place.
fn plain_parts(body: &[u8], boundary: &str) -> Option<usize> {
    let delimiter = format!("\n--{boundary}");
    let mut rest = body.strip_prefix(delimiter.trim_start().as_bytes())?;
    let mut parts = 0;
    while !matches!(rest, b"--" | b"--\r\n") {
        let part = rest.strip_prefix(b"\r\n")?;
        let end = memchr::memmem::find(part, delimiter.as_bytes())?;
        // A line feed alone ends a line for some.
        let whole = part.get(..end)?.strip_suffix(b"\r")?;
        let head = memchr::memmem::find(whole, b"\r\n\r\n")?;
        if !has_plain_lines(whole.get(..head)?) {
            return None;
        }
        rest = part.get(end + delimiter.len()..)?;
        parts += 1;
    }
    (parts > 0).then_some(parts)
}

/// Are the lines of `head` fields, each with a name of its own, that end in CRLF and nowhere else?
///
/// To some, a blank line after a bare LF ends the head, and what follows is content that our reader
/// would pass over; of a repeated field it would see the last, and others the first.
fn has_plain_lines(head: &[u8]) -> bool {
    let count = |sought: &[u8]| memchr::memmem::find_iter(head, sought).count();
    let ends = count(b"\r\n");
    let mut names = Vec::new();
    let fields = head.split(|byte| *byte == b'\n').all(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let name = name.to_ascii_lowercase();
        let plain = name.len() < line.len() && !name.iter().any(u8::is_ascii_whitespace);
        let new = !names.contains(&name);
        names.push(name);
        plain && new && names.len() <= MOST_FIELDS
    });
    fields && count(b"\r") == ends && count(b"\n") == ends
}

/// How many parts there are, and their digest; `facts` has what they say up to where they cannot be read.
async fn read_parts(
    body: Bytes,
    boundary: String,
    (kind, facts): (Kind, &mut Facts),
) -> Option<(usize, blake3::Hash)> {
    let whole = stream::iter([Ok::<_, std::convert::Infallible>(body)]);
    let mut form = multer::Multipart::new(whole, boundary);
    let mut hasher = Hasher::new();
    let mut count = 0;
    let mut is_clear = true;
    while let Some(mut field) = form.next_field().await.ok()? {
        count += 1;
        if count > MOST_PARTS {
            return None;
        }
        let Some(name) = field.name().map(str::to_owned) else {
            is_clear = false;
            continue;
        };
        let head = Head::of(&field, &name);
        let head = head.unwrap_or_else(|| {
            is_clear = false;
            Head::doubtful(&field)
        });
        let is_metadata = kind == Kind::Video && name == "metadata" && !head.is_file;
        let (content, first, length) = if is_metadata {
            let content = field.bytes().await.ok()?;
            facts.size.note_metadata(&content);
            (metadata_hash(&content), Bytes::new(), content.len())
        } else {
            content_hash(&mut field).await?
        };
        match name.as_str() {
            // Of several Go takes the first.
            "model" if facts.model.is_none() => facts.note_model(&first),
            "stream" => facts.stream = matches!(&*first, b"true" | b"True" | b"1"),
            _ => {}
        }
        if !head.is_file {
            facts.body += u64::try_from(length).unwrap_or(u64::MAX);
            if let Some(member) = Member::in_form(kind, name.as_bytes()) {
                facts.size.note(member, Value::Text(&first));
            }
        }
        if !left_out::in_form(kind, name.as_bytes()) {
            head.hash(&name, &mut hasher);
            hasher.update(content.as_bytes());
        }
    }
    is_clear.then(|| (count, hasher.finalize()))
}

/// The hash of what a part holds, the first piece of it, and its length.
async fn content_hash(field: &mut Field<'_>) -> Option<(blake3::Hash, Bytes, usize)> {
    let mut content = Hasher::new();
    let mut first = Bytes::new();
    let mut length = 0;
    while let Some(chunk) = field.chunk().await.ok()? {
        content.update(&chunk);
        length += chunk.len();
        if first.is_empty() {
            first = chunk;
        }
    }
    Some((content.finalize(), first, length))
}

/// The hash of what counts of a video's field `metadata`. An object that holds nothing else stays as
/// an empty one: a form may have a second such field, and readers differ on which of them they take.
fn metadata_hash(content: &[u8]) -> blake3::Hash {
    let text = std::str::from_utf8(content);
    let counted = text.map(|text| metadata::counted(text).unwrap_or(Cow::Borrowed("{}")));
    blake3::hash(counted.as_ref().map_or(content, |text| text.as_bytes()))
}

/// What the headers of a part say beside its name.
struct Head {
    /// With a file name it is a file, without one a value; the name itself does not count.
    is_file: bool,
    /// Headers that count, as name and value.
    headers: Vec<(Bytes, Bytes)>,
}

impl Head {
    fn of(field: &Field<'_>, name: &str) -> Option<Self> {
        let disposition = field.headers().get(CONTENT_DISPOSITION)?.as_bytes();
        let after_name = disposition
            .strip_prefix(format!("form-data; name=\"{name}\"").as_bytes())
            .filter(|rest| rest.is_empty() || is_file_name(rest));
        let headers = field.headers().iter().filter(|(header, _)| {
            // A disposition in another form counts whole: readers differ on it.
            *header != CONTENT_LENGTH && (*header != CONTENT_DISPOSITION || after_name.is_none())
        });
        if field.headers().get_all(CONTENT_DISPOSITION).iter().count() > 1
            || field.headers().get_all(CONTENT_TYPE).iter().count() > 1
        {
            return None;
        }
        Some(Self {
            is_file: after_name.map_or(field.file_name().is_some(), |rest| !rest.is_empty()),
            headers: headers
                .map(|(header, value)| {
                    let header = Bytes::copy_from_slice(header.as_str().as_bytes());
                    (header, Bytes::copy_from_slice(value.as_bytes()))
                })
                .collect(),
        })
    }

    /// One that readers differ on.
    fn doubtful(field: &Field<'_>) -> Self {
        Self {
            is_file: field.file_name().is_some(),
            headers: Vec::new(),
        }
    }

    fn hash(&self, name: &str, hasher: &mut Hasher) {
        let count = u64::try_from(self.headers.len()).unwrap_or(u64::MAX);
        put(hasher, name.as_bytes());
        hasher.update(&[u8::from(self.is_file)]);
        hasher.update(&count.to_le_bytes());
        for (header, value) in &self.headers {
            put(hasher, header);
            put(hasher, value);
        }
    }
}

/// Is `rest` of a disposition a file name in either form or both, and nothing else for any reader?
///
/// SECURITY: a second field name in there would be the one that some readers see, whatever the case
/// of its letters. Where quotes, escapes or `=` leave a doubt, the disposition counts whole, which
/// at worst pays twice for a file with an odd name.
fn is_file_name(rest: &[u8]) -> bool {
    let Some(quoted) = rest.strip_prefix(b"; filename=\"") else {
        return is_encoded_file_name(rest);
    };
    let end = memchr::memchr(b'"', quoted).unwrap_or(quoted.len());
    let (name, after) = quoted.split_at(end);
    memchr::memchr2(b'\\', b'=', name).is_none()
        && (after == b"\"" || after.strip_prefix(b"\"").is_some_and(is_encoded_file_name))
}

/// Is `rest` a file name in the form of RFC 8187, which is one word?
fn is_encoded_file_name(rest: &[u8]) -> bool {
    rest.strip_prefix(b"; filename*=").is_some_and(|word| {
        let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b';' | b'=' | b'"' | b'\\');
        !word.iter().any(ends)
    })
}

/// Adds `bytes` with its length, so that nothing moves from one part into the next.
fn put(hasher: &mut Hasher, bytes: &[u8]) {
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    hasher.update(&len.to_le_bytes());
    hasher.update(bytes);
}
