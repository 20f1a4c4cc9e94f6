//! The name of a kept file in a link.

use std::fmt;

use super::types;
use crate::store::BlobHash;

/// Where links to kept files begin.
const ROOT: &str = "/media/";

/// A kept file as links name it: the hash of its bytes and an ending that says what it is. As text
/// the path of a link: `/media/<64 lower-case hex digits>.<ending>`.
///
/// SECURITY: the hash is all that a reader needs, and nobody guesses 256 bits: a link is the
/// permission to read what it names. A hash also tells nothing that its owner did not have: whoever
/// computes one has the bytes. So whatever is kept under such a name is served, also the body of an
/// answer, whose hash is handed out nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    hash: BlobHash,
    extension: &'static str,
    content_type: &'static str,
}

impl Name {
    /// The name of a file with this content; an ending that is not one of ours becomes `bin`.
    pub fn new(hash: BlobHash, extension: &str) -> Self {
        Self::known(hash, extension).unwrap_or(Self {
            hash,
            extension: types::UNKNOWN,
            content_type: "application/octet-stream",
        })
    }

    /// Whether a request's path is meant for kept files, whatever it names.
    pub fn is_meant(path: &str) -> bool {
        path.starts_with(ROOT)
    }

    /// Reads the path of a request, letter by letter as links are written; nothing is decoded.
    pub fn of_path(path: &str) -> Option<Self> {
        let (hash, extension) = path.strip_prefix(ROOT)?.split_once('.')?;
        Self::known(hash.parse().ok()?, extension)
    }

    /// The whole link, for clients that reach the proxy at `base`, such as `http://127.0.0.1:8787`.
    pub fn link(&self, base: &str) -> String {
        format!("{}{self}", base.trim_end_matches('/'))
    }

    /// The hash of the file's bytes.
    pub fn hash(&self) -> BlobHash {
        self.hash
    }

    /// Its ending, without the dot.
    pub fn extension(&self) -> &'static str {
        self.extension
    }

    /// What it is.
    pub fn content_type(&self) -> &'static str {
        self.content_type
    }

    fn known(hash: BlobHash, extension: &str) -> Option<Self> {
        let (extension, content_type) = types::known(extension)?;
        Some(Self {
            hash,
            extension,
            content_type,
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ROOT}{}.{}", self.hash, self.extension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        let hash = BlobHash::from_bytes([0xab; 32]);
        let digits = hash.to_string();
        let name = Name::new(hash, "mp4");
        let path = format!("/media/{digits}.mp4");
        assert_eq!(name.to_string(), path);
        assert_eq!(Name::of_path(&path), Some(name));
        assert_eq!(name.link("http://h:1/"), format!("http://h:1{path}"));
        assert_eq!(
            Name::new(hash, "html").to_string(),
            format!("/media/{digits}.bin")
        );

        for wrong in [
            format!("/media/{}.mp4", digits.to_uppercase()),
            format!("/media/{}.mp4", &digits[1..]),
            format!("/media/{digits}0.mp4"),
            format!("/media/{digits}"),
            format!("/media/{digits}."),
            format!("/media/{digits}.MP4"),
            format!("/media/{digits}.html"),
            format!("/media/{digits}.mp4.mp4"),
            format!("/media/{digits}.mp4/"),
            format!("/media//{digits}.mp4"),
            format!("/media/../media/{digits}.mp4"),
            format!("/media/%61{}.mp4", &digits[1..]),
            format!("/media/{digits}%2emp4"),
            format!("/Media/{digits}.mp4"),
            format!("{digits}.mp4"),
            "/media/".to_owned(),
            "/media/../../etc/passwd.txt".to_owned(),
        ] {
            assert_eq!(Name::of_path(&wrong), None, "{wrong}");
        }
    }
}
