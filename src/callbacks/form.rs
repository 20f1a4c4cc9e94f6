//! The parts of a multipart form where they stand in its body (RFC 7578).

use std::ops::Range;

use memchr::memmem;

/// A form with more parts than this is not looked through.
const MOST_PARTS: usize = 1000;

/// One part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its field name.
    pub(super) name: String,
    /// From its delimiter up to the next one.
    pub(super) whole: Range<usize>,
    /// Its content.
    pub(super) content: Range<usize>,
}

/// The parts of `body` in their order; `None` when it is not plainly a form with this content type:
/// text outside of the parts, or a head that readers could take differently.
pub(super) fn parts(body: &[u8], content_type: &str) -> Option<Vec<Part>> {
    let delimiter = format!("--{}", multer::parse_boundary(content_type).ok()?);
    let rest = body.strip_prefix(delimiter.as_bytes())?;
    let between = format!("\r\n{delimiter}");
    let mut start = 0;
    // Behind the delimiter, where a part goes on.
    let mut at = body.len() - rest.len();
    let mut found = Vec::new();
    loop {
        let rest = body.get(at..)?;
        if matches!(rest, b"--" | b"--\r\n") {
            return Some(found);
        }
        let head = at + rest.starts_with(b"\r\n").then_some(2)?;
        let end = at + memmem::find(rest, between.as_bytes())?;
        let content = head + memmem::find(body.get(head..end)?, b"\r\n\r\n")? + 4;
        let name = name(body.get(head..content)?)?;
        found.push(Part {
            name,
            whole: start..end + 2,
            content: content..end,
        });
        if found.len() > MOST_PARTS {
            return None;
        }
        start = end + 2;
        at = end + between.len();
    }
}

/// The field name in the head of a part, quoted or not; `None` where readers could differ.
fn name(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    // A line that goes on in the next one.
    if head.contains("\r\n ") || head.contains("\r\n\t") {
        return None;
    }
    let mut dispositions = head.split("\r\n").filter_map(|line| {
        let (header, value) = line.split_once(':')?;
        let is_it = header.eq_ignore_ascii_case("content-disposition");
        is_it.then(|| value.trim_start())
    });
    let (value, None) = (dispositions.next()?, dispositions.next()) else {
        return None;
    };
    let (kind, parameters) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let mut name = None;
    let mut rest = parameters;
    // What follows a name that was found, and cannot be read, names nothing.
    while let Some((parameter, value, behind)) = parameter(rest) {
        let is_name = parameter.eq_ignore_ascii_case("name");
        if parameter.eq_ignore_ascii_case("name*") || is_name && name.is_some() {
            return None;
        }
        if is_name {
            name = Some(value);
        }
        rest = behind;
    }
    name.filter(|name| !name.contains('\\')).map(str::to_owned)
}

/// The first parameter: its name, its value as it stands, and what comes behind it.
fn parameter(text: &str) -> Option<(&str, &str, &str)> {
    let (name, text) = text.split_once('=')?;
    let (value, behind) = if let Some(text) = text.trim_start().strip_prefix('"') {
        let end = end_of_quoted(text)?;
        (text.get(..end)?, text.get(end + 1..)?)
    } else {
        text.split_at(text.find(';').unwrap_or(text.len()))
    };
    let behind = behind.trim_start();
    Some((
        name.trim(),
        value.trim(),
        behind.strip_prefix(';').unwrap_or(behind),
    ))
}

/// Where the quote stands that ends it; a backslash takes its meaning from what follows.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut is_taken = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_taken;
        is_taken = byte == b'\\' && !is_taken;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\nx--b\r\n\
        --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\
        Content-Type: image/png\r\n\r\n\r\n\r\n--b--\r\n";

    #[test]
    fn parts_are_where_they_stand() {
        let parts = parts(FORM.as_bytes(), "multipart/form-data; boundary=b").unwrap();
        let read = |range: &Range<usize>| &FORM[range.clone()];
        let found: Vec<_> = parts
            .iter()
            .map(|part| (part.name.as_str(), read(&part.content)))
            .collect();
        assert_eq!(found, [("prompt", "x--b"), ("file", "\r\n")]);
        let whole: String = parts.iter().map(|part| read(&part.whole)).collect();
        assert_eq!(whole + "--b--\r\n", FORM);
    }

    #[test]
    fn a_name_is_read_as_it_may_be_written() {
        for (disposition, expected) in [
            ("form-data; name=\"a b\"", Some("a b")),
            ("form-data; name=a", Some("a")),
            ("Form-Data;NAME = a ; filename=\"b\"", Some("a")),
            (
                "form-data; filename=\"C:\\\\\\\";name=b\"; name=a",
                Some("a"),
            ),
            ("form-data; name=\"a\"; filename=\"C:\\\"", Some("a")),
            ("form-data; filename=\"a\"", None),
            ("form-data; name=a; name=b", None),
            ("form-data; name=a; name*=utf-8''b", None),
            ("form-data; name=\"a\\b\"", None),
            ("form-data;\r\n name=a", None),
            ("attachment; name=a", None),
            ("form-data", None),
        ] {
            let head = format!("Content-Disposition: {disposition}\r\n\r\n");
            assert_eq!(name(head.as_bytes()).as_deref(), expected, "{disposition}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_form() {
        let two = FORM.replace("Content-Type", "Content-Disposition");
        let odd = FORM.replace("name=\"prompt\"", "name=\"pro\\mpt\"");
        let table = [
            ("x", "multipart/form-data; boundary=b"),
            (FORM, "multipart/form-data"),
            (FORM, "multipart/form-data; boundary=c"),
            (&FORM[..FORM.len() - 6], "multipart/form-data; boundary=b"),
            (&FORM[2..], "multipart/form-data; boundary=b"),
            (&two, "multipart/form-data; boundary=b"),
            (&odd, "multipart/form-data; boundary=b"),
        ];
        for (body, content_type) in table {
            assert_eq!(parts(body.as_bytes(), content_type), None, "{body}");
        }
    }
}
