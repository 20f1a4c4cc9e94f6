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

/// The field name in the head of a part; only in the one form that clients write.
fn name(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let mut dispositions = head.split("\r\n").filter_map(|line| {
        let (header, value) = line.split_once(':')?;
        let is_it = header.eq_ignore_ascii_case("content-disposition");
        is_it.then(|| value.trim_start())
    });
    let (value, None) = (dispositions.next()?, dispositions.next()) else {
        return None;
    };
    let value = value.strip_prefix("form-data; name=\"")?;
    let (name, _) = value.split_once('"')?;
    (!name.contains('\\')).then(|| name.to_owned())
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
    fn what_could_be_read_in_two_ways_is_no_form() {
        let two = FORM.replace("Content-Type", "Content-Disposition");
        let odd = FORM.replace("name=\"prompt\"", "name=prompt");
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
