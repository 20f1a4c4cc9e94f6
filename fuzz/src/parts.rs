//! Forms made of parts, and the parts of a form as plainly as they can be found.

use reprise::generation::Kind;

use crate::spelling::Choices;

/// Field names, and how a form may write them.
const NAMES: [&str; 12] = [
    "model",
    "prompt",
    "image",
    "image[]",
    "user",
    "safety_identifier",
    "callback_url",
    "metadata[priority]",
    "metadata[callback_url]",
    "metadata[seed]",
    "stream",
    "n",
];
const FILES: [&str; 4] = ["a.png", "my name; b.png", "x", ""];
const TYPES: [Option<&str>; 4] = [
    None,
    Some("image/png"),
    Some("text/plain; charset=utf-8"),
    Some("application/octet-stream"),
];

/// A part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The field's name.
    pub name: &'static str,
    /// Whether it has a file name (which one does not count).
    pub is_file: bool,
    /// Its content type.
    pub content_type: Option<&'static str>,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// One to twenty parts, by the bytes of `input`.
pub fn of(input: &[u8]) -> Vec<Part> {
    let mut pieces = input.split(|byte| *byte == 0);
    let mut parts = Vec::new();
    while parts.len() < 20 {
        let Some(piece) = pieces.next() else { break };
        let (head, content) = piece.split_at(piece.len().min(3));
        let mut choices = Choices::of(head);
        parts.push(Part {
            name: NAMES[choices.next(NAMES.len())],
            is_file: choices.next(2) == 1,
            content_type: TYPES[choices.next(TYPES.len())],
            content: content.to_vec(),
        });
    }
    parts
}

/// The parts that count for a generation of `kind`.
pub fn counted(kind: Kind, parts: &[Part]) -> Vec<&Part> {
    parts
        .iter()
        .filter(|part| counts(kind, part.name))
        .collect()
}

fn counts(kind: Kind, name: &str) -> bool {
    let video = kind == Kind::Video;
    match name {
        "user" | "safety_identifier" => false,
        "callback_url" | "metadata[priority]" | "metadata[callback_url]" => !video,
        _ => true,
    }
}

/// The body of a form with these parts; `file` chooses the file names.
pub fn body(parts: &[Part], boundary: &str, file: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for (nth, part) in parts.iter().enumerate() {
        let name = part.name;
        let mut head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"");
        if part.is_file {
            let file = FILES[(file + nth) % FILES.len()];
            head.extend(["; filename=\"", file, "\""]);
        }
        if let Some(content_type) = part.content_type {
            head.extend(["\r\nContent-Type: ", content_type]);
        }
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(&part.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

/// What stands between the heads and the next delimiters, however broken the form is. Parts whose
/// head speaks of a field that may not count are left out.
pub fn contents<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let delimiter = format!("--{boundary}");
    split(body, delimiter.as_bytes())
        .into_iter()
        .filter_map(|part| {
            let (head, content) = cut(part, b"\r\n\r\n").unwrap_or((part, b""));
            let maybe_out = ["user", "safety_identifier", "callback_url", "metadata["];
            let maybe_out = maybe_out
                .iter()
                .any(|name| cut(head, name.as_bytes()).is_some());
            (!maybe_out).then_some(content)
        })
        .collect()
}

fn split<'a>(mut text: &'a [u8], at: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while let Some((before, after)) = cut(text, at) {
        pieces.push(before);
        text = after;
    }
    pieces.push(text);
    pieces
}

fn cut<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = text.windows(at.len()).position(|window| window == at)?;
    Some((&text[..found], &text[found + at.len()..]))
}
