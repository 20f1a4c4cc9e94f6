//! The file `admin-token`: who may read it may administer the proxy that has this directory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use secrecy::SecretString;

use super::disk::DiskStore;
use super::error::StoreError;
use super::files;

const FILE: &str = "admin-token";
/// Nobody's token is longer, in bytes.
const FILE_MAX: u64 = 4096;
/// What a token of ours is made of, in bytes.
const RANDOM: usize = 32;

/// The admin token in the data directory `dir`; `None` when there is none yet.
///
/// # Errors
/// When it cannot be read, or the file holds no token.
pub fn admin_token(dir: &Path) -> Result<Option<SecretString>, StoreError> {
    let path = dir.join(FILE);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(StoreError::io("open", &path))?,
    };
    let mut text = String::new();
    file.take(FILE_MAX)
        .read_to_string(&mut text)
        .map_err(StoreError::io("read", &path))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = "it holds no token; delete it, and the next start makes a new one".to_owned();
        return Err(StoreError::Damaged { path, why });
    }
    Ok(Some(SecretString::from(token)))
}

impl DiskStore {
    /// The admin token of this directory: 64 hexadecimal digits, made when there is none yet.
    ///
    /// # Errors
    /// As [`admin_token`], and when a new one cannot be made durable.
    pub fn admin_token(&self) -> Result<SecretString, StoreError> {
        if let Some(token) = admin_token(&self.dir)? {
            return Ok(token);
        }
        let path = self.dir.join(FILE);
        let mut random = [0; RANDOM];
        // The system's random numbers, by the way that TLS has to them already.
        rustls::crypto::ring::default_provider()
            .secure_random
            .fill(&mut random)
            .map_err(|_| io::Error::other("the system gives no random numbers"))
            .map_err(StoreError::io("make", &path))?;
        let token = blake3::Hash::from_bytes(random).to_hex();
        files::write_durably(&path, format!("{token}\n").as_bytes())?;
        Ok(SecretString::from(token.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(admin_token(dir.path()).unwrap().is_none());
        let (store, _) = DiskStore::open(dir.path(), Clock::system()).unwrap();
        let token = store.admin_token().unwrap();
        let text = token.expose_secret();
        assert!(
            text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit()),
            "{text}"
        );
        let metadata = std::fs::metadata(dir.path().join(FILE)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(store.admin_token().unwrap().expose_secret(), text);
        drop(store);
        let read = admin_token(dir.path()).unwrap().unwrap();
        assert_eq!(read.expose_secret(), text);

        let other = tempfile::tempdir().unwrap();
        let (store, _) = DiskStore::open(other.path(), Clock::system()).unwrap();
        assert_ne!(store.admin_token().unwrap().expose_secret(), text);
    }

    #[test]
    fn a_file_without_a_token_is_told_and_left() {
        for (name, content) in [
            ("empty", &b""[..]),
            ("blank", b" \n"),
            ("two words", b"a b"),
            ("binary", b"\xff\x00"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let (store, _) = DiskStore::open(dir.path(), Clock::system()).unwrap();
            std::fs::write(dir.path().join(FILE), content).unwrap();
            let error = store.admin_token().expect_err(name).to_string();
            assert!(error.contains(FILE), "{name}: {error}");
            let left = std::fs::read(dir.path().join(FILE)).unwrap();
            assert_eq!(left, content, "{name}");
        }
    }
}
