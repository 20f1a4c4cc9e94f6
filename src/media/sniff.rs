//! What a fetched file is: by its first bytes, else by what its server says of it.
//!
//! A gateway or a storage host that has lost a file answers 200 with a page or a JSON error often
//! enough, so nothing is kept as a result that begins like a text.

use super::types;

/// So many first bytes are looked at.
pub(super) const OPENING: usize = 512;

/// A file's kind: its ending and its content type, as it is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) extension: &'static str,
    pub(super) content_type: &'static str,
}

/// What bytes with this opening are.
///
/// # Errors
/// That they are no media: what they are instead, in words.
pub(super) fn kind_of(
    opening: &[u8],
    content_type: Option<&str>,
    file_name: &str,
) -> Result<Kind, &'static str> {
    if opening.is_empty() {
        return Err("the answer is empty");
    }
    let declared = types::extension(content_type, file_name);
    if let Some(found) = by_magic(opening) {
        return Ok(kind(refined(found, declared)));
    }
    if is_text(opening) {
        return Err("the answer is a text and no media file");
    }
    let said = content_type.unwrap_or_default().trim().to_ascii_lowercase();
    let textual = ["text/", "application/json", "application/xml"];
    if textual.iter().any(|start| said.starts_with(start)) {
        return Err("the answer calls itself a text");
    }
    if ALWAYS_MARKED.contains(&declared) {
        return Err("the file does not begin like what its server says it is");
    }
    Ok(kind(declared))
}

/// Kinds whose files cannot begin otherwise than [`by_magic`] knows.
const ALWAYS_MARKED: [&str; 11] = [
    "mp4", "m4v", "mov", "webm", "mkv", "png", "jpg", "jpeg", "gif", "webp", "wav",
];

fn kind(extension: &'static str) -> Kind {
    Kind {
        extension,
        content_type: types::content_type(extension).unwrap_or("application/octet-stream"),
    }
}

/// A container's mark does not tell what is in it; its server may.
fn refined(found: &'static str, declared: &'static str) -> &'static str {
    match (found, declared) {
        ("mp4", "m4a" | "mov" | "m4v")
        | ("webm", "mkv" | "weba")
        | ("ogg", "opus")
        | ("zip", "usdz") => declared,
        _ => found,
    }
}

fn by_magic(opening: &[u8]) -> Option<&'static str> {
    let at = |from: usize, mark: &[u8]| opening.get(from..from + mark.len()) == Some(mark);
    let table: [(usize, &[u8], &'static str); 21] = [
        (0, b"\x89PNG\r\n\x1a\n", "png"),
        (0, b"\xff\xd8\xff", "jpg"),
        (0, b"GIF87a", "gif"),
        (0, b"GIF89a", "gif"),
        (8, b"WEBP", "webp"),
        (8, b"WAVE", "wav"),
        (8, b"AVI ", "avi"),
        (0, b"\x1a\x45\xdf\xa3", "webm"),
        (0, b"OggS", "ogg"),
        (0, b"fLaC", "flac"),
        (0, b"ID3", "mp3"),
        (0, b"glTF", "glb"),
        (0, b"PK\x03\x04", "zip"),
        (0, b"BM", "bmp"),
        (0, b"II*\0", "tiff"),
        (0, b"MM\0*", "tiff"),
        (4, b"moov", "mov"),
        (4, b"mdat", "mov"),
        (4, b"wide", "mov"),
        (4, b"free", "mov"),
        (4, b"skip", "mov"),
    ];
    if at(4, b"ftyp") {
        return Some(by_brand(opening.get(8..12).unwrap_or_default()));
    }
    let found = table.into_iter().find(|(from, mark, ending)| {
        let wrapped = matches!(*ending, "webp" | "wav" | "avi");
        // Two letters begin many a text; a bitmap has zeroes behind its length.
        let bitmap = *ending != "bmp" || at(6, b"\0\0\0\0");
        at(*from, mark) && (!wrapped || at(0, b"RIFF")) && bitmap
    });
    found
        .map(|(_, _, ending)| ending)
        .or_else(|| frame_of_sound(opening))
}

/// The major brand of an ISO base media file (ISO/IEC 14496-12 §4.3).
fn by_brand(brand: &[u8]) -> &'static str {
    match brand {
        b"qt  " => "mov",
        b"M4A " | b"M4B " => "m4a",
        b"avif" | b"avis" => "avif",
        b"heic" | b"heix" | b"mif1" | b"msf1" => "heic",
        _ => "mp4",
    }
}

/// Sounds without a header begin with the frame itself: eleven or twelve bits set.
fn frame_of_sound(opening: &[u8]) -> Option<&'static str> {
    match opening {
        [0xff, second, ..] if second & 0xf6 == 0xf0 => Some("aac"),
        [0xff, second, third, ..]
            if second & 0xe0 == 0xe0 && second & 0x06 != 0 && third & 0xf0 != 0xf0 =>
        {
            Some("mp3")
        }
        _ => None,
    }
}

/// Whether it begins like HTML, XML, JSON, or words.
fn is_text(opening: &[u8]) -> bool {
    let start = opening.strip_prefix(b"\xef\xbb\xbf").unwrap_or(opening);
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    if matches!(first, None | Some(b'<' | b'{' | b'[' | b'"')) {
        return true;
    }
    // A long file that is cut in a letter is a text all the same.
    let whole = match std::str::from_utf8(opening) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    whole
        && !opening
            .iter()
            .any(|byte| *byte < 0x20 && !byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_how_they_begin() {
        let mp4 = b"\0\0\0\x20ftypisom\0\0\x02\0";
        let table: [(&[u8], Option<&str>, &str, &str); 30] = [
            (mp4, None, "", "mp4"),
            (mp4, Some("text/html"), "x", "mp4"),
            (mp4, Some("video/quicktime"), "", "mov"),
            (mp4, Some("application/octet-stream"), "a.m4a", "m4a"),
            (b"\0\0\0\x14ftypqt  ", None, "", "mov"),
            (b"\0\0\0\x14ftypavif", None, "", "avif"),
            (b"\0\0\0\x08wide\0\0\0\0mdat", None, "", "mov"),
            (b"\x1a\x45\xdf\xa3\x01", Some("video/webm"), "", "webm"),
            (b"\x1a\x45\xdf\xa3\x01", None, "a.mkv", "mkv"),
            (b"\x89PNG\r\n\x1a\n\0", Some("image/jpeg"), "", "png"),
            (b"\xff\xd8\xff\xe0", None, "", "jpg"),
            (b"GIF89a", None, "", "gif"),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", None, "", "webp"),
            (b"RIFF\x01\x02\x03\x04WAVEfmt ", None, "", "wav"),
            (b"ID3\x04", None, "", "mp3"),
            (b"\xff\xfb\x90\x44", None, "", "mp3"),
            (b"\xff\xf1\x50\x80", None, "", "aac"),
            (b"\0\x01\x02\x03", Some("audio/pcm"), "", "pcm"),
            (b"\0\x01\x02\x03", None, "sound", "bin"),
            (b"", Some("video/mp4"), "", "!the answer is empty"),
            (b"<!doctype html>", Some("video/mp4"), "", "!text"),
            (b" \n {\"error\":1}", Some("video/mp4"), "", "!text"),
            (b"\xef\xbb\xbf<?xml", None, "a.mp4", "!text"),
            (b"not found", Some("application/octet-stream"), "", "!text"),
            (b"<svg xmlns=", Some("image/svg+xml"), "", "!text"),
            (b"BMW is a text", None, "", "!text"),
            (
                b"\0\x01\x02\x03",
                Some("text/html; charset=x"),
                "",
                "!calls itself",
            ),
            (
                b"\0\x01\x02\x03",
                Some("application/json"),
                "",
                "!calls itself",
            ),
            (b"\0\x01\x02\x03", Some("video/mp4"), "", "!does not begin"),
            (b"\0\x01\x02\x03", None, "a.png", "!does not begin"),
        ];
        for (opening, content_type, name, expected) in table {
            let said = match kind_of(opening, content_type, name) {
                Ok(kind) => kind.extension.to_owned(),
                Err(why) => format!("!{why}"),
            };
            let fits = expected.strip_prefix('!').map_or(said == expected, |why| {
                said.starts_with('!') && said.contains(why)
            });
            assert!(fits, "{opening:?} {content_type:?}: {said}, not {expected}");
        }
        let cut = "ü".repeat(OPENING);
        assert!(kind_of(&cut.as_bytes()[..OPENING - 1], None, "").is_err());
    }
}
