//! What a kept file is, by its ending.

/// Endings and their content types; of several endings for one type the first is given to new files.
///
/// SECURITY: nothing that a browser would run is among them (HTML, SVG, scripts): it is served from
/// the same origin as the API, and shown as `application/octet-stream` instead.
const TYPES: [(&str, &str); 32] = [
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("webm", "video/webm"),
    ("mov", "video/quicktime"),
    ("mkv", "video/x-matroska"),
    ("avi", "video/x-msvideo"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("avif", "image/avif"),
    ("heic", "image/heic"),
    ("bmp", "image/bmp"),
    ("tiff", "image/tiff"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/opus"),
    ("flac", "audio/flac"),
    ("aac", "audio/aac"),
    ("m4a", "audio/mp4"),
    ("pcm", "audio/pcm"),
    ("weba", "audio/webm"),
    ("json", "application/json"),
    ("txt", "text/plain; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("srt", "application/x-subrip"),
    ("glb", "model/gltf-binary"),
    ("usdz", "model/vnd.usdz+zip"),
    ("zip", "application/zip"),
    (UNKNOWN, "application/octet-stream"),
];

/// Other names of types.
const ALIASES: [(&str, &str); 6] = [
    ("image/jpg", "jpg"),
    ("audio/x-wav", "wav"),
    ("audio/wave", "wav"),
    ("audio/mp3", "mp3"),
    ("audio/x-m4a", "m4a"),
    ("video/x-m4v", "mp4"),
];

/// The ending of a file that nobody knows what it is.
pub const UNKNOWN: &str = "bin";

/// The content type of files with this ending; `None`: not one of ours.
pub fn content_type(extension: &str) -> Option<&'static str> {
    known(extension).map(|(_, content_type)| content_type)
}

/// An ending of ours with its content type.
pub(super) fn known(extension: &str) -> Option<(&'static str, &'static str)> {
    TYPES
        .iter()
        .find(|(ending, _)| *ending == extension)
        .copied()
}

/// The ending for a `Content-Type`, else for a file's name as its link has it, else [`UNKNOWN`].
pub fn extension(content_type: Option<&str>, file_name: &str) -> &'static str {
    let declared = content_type.and_then(of_type);
    let named = || {
        let (_, ending) = file_name.rsplit_once('.')?;
        let ending = ending.to_ascii_lowercase();
        known(&ending).map(|(known, _)| known)
    };
    declared.or_else(named).unwrap_or(UNKNOWN)
}

/// The ending for a content type that says anything.
fn of_type(content_type: &str) -> Option<&'static str> {
    let essence = |text: &str| {
        text.split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    };
    let wanted = essence(content_type);
    let all = TYPES
        .iter()
        .map(|(ending, known)| (essence(known), *ending));
    let aliases = ALIASES
        .iter()
        .map(|(known, ending)| ((*known).to_owned(), *ending));
    all.chain(aliases)
        .find(|(known, _)| *known == wanted)
        .map(|(_, ending)| ending)
        .filter(|ending| *ending != UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings() {
        let table = [
            (Some("video/mp4"), "x", "mp4"),
            (Some("Video/MP4; codecs=avc1"), "clip.webm", "mp4"),
            (Some("image/jpeg"), "", "jpg"),
            (Some("audio/x-wav"), "", "wav"),
            (Some("text/plain"), "", "txt"),
            (Some("application/octet-stream"), "Clip.MP4", "mp4"),
            (Some("application/octet-stream"), "clip.exe", "bin"),
            (Some("text/html"), "page.html", "bin"),
            (Some("image/svg+xml"), "a.svg", "bin"),
            (Some(""), "a.jpeg", "jpeg"),
            (None, "a.b.png", "png"),
            (None, "png", "bin"),
            (None, "", "bin"),
        ];
        for (content_type, file_name, expected) in table {
            assert_eq!(
                extension(content_type, file_name),
                expected,
                "{content_type:?} {file_name}"
            );
        }
    }

    #[test]
    fn every_ending_has_one_type_that_leads_back_to_a_like_one() {
        for (ending, kind) in TYPES {
            assert_eq!(content_type(ending), Some(kind));
            assert_eq!(content_type(extension(Some(kind), "")), Some(kind));
            assert_eq!(
                TYPES.iter().filter(|(other, _)| *other == ending).count(),
                1,
                "{ending}"
            );
        }
        for (_, ending) in ALIASES {
            assert!(content_type(ending).is_some(), "{ending}");
        }
        assert_eq!(
            content_type("html")
                .or(content_type("svg"))
                .or(content_type("")),
            None
        );
    }
}
