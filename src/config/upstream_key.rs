//! The key that pays: read from a variable or a file, never from `proxy.toml` itself.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::problem::Problem;
use super::reading::Reading;
use super::resolved::Config;
use crate::secret_file;

/// Reads the upstream key from where `config` says.
///
/// # Errors
/// If there is none, if its file is open to others, or if it cannot stand in a header. The problem
/// names the variable or the file, and never shows any of the key.
pub(super) fn upstream_key(
    config: &Config,
    env: &BTreeMap<String, String>,
) -> Result<SecretString, Problem> {
    let upstream = &config.upstream;
    let (place, text) = match &upstream.api_key_file {
        Some(file) => {
            let place = "upstream.api_key_file";
            (
                place,
                secret_file::read(file).map_err(|rule| Problem::about(place, rule))?,
            )
        }
        None => (
            "upstream.api_key_env",
            env.get(&upstream.api_key_env).cloned().unwrap_or_default(),
        ),
    };
    let source = match &upstream.api_key_file {
        Some(file) => file.display().to_string(),
        None => upstream.api_key_env.clone(),
    };
    let key = text.trim();
    if key.is_empty() {
        let rule = match &upstream.api_key_file {
            Some(_) => format!("there is no key in {source}: write the upstream's key into it"),
            None => format!(
                "there is no upstream key: set the environment variable {source}, \
                 or upstream.api_key_file to a file that holds it"
            ),
        };
        return Err(Problem::about(place, rule));
    }
    // A blank or a line break inside is two things pasted as one; no header takes the rest.
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let rule = format!("the key in {source} holds characters that no key has: copy it again");
        return Err(Problem::about(place, rule));
    }
    Ok(SecretString::from(key))
}

/// Whether the key was looked for where the user said, and not where a broken line left it.
pub(super) fn is_certain(reading: &Reading) -> bool {
    let upstream = &reading.loaded.config.upstream;
    reading.is_certain("upstream.api_key_file")
        && (upstream.api_key_file.is_some() || reading.is_certain("upstream.api_key_env"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::{Sources, load};

    fn config(env: &[(&str, &str)]) -> Config {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let home = [("HOME".to_owned(), "/nowhere".to_owned())];
        let sources = Sources {
            env: env.chain(home).collect(),
            ..Sources::default()
        };
        load(&sources).unwrap().config
    }

    #[test]
    fn the_key_comes_from_its_variable() {
        let table = [
            ("sk-abc", Ok("sk-abc")),
            (" sk-abc\n", Ok("sk-abc")),
            ("", Err("set the environment variable RELAYDANCE_API_KEY")),
            ("  ", Err("set the environment variable RELAYDANCE_API_KEY")),
            ("sk-abc sk-def", Err("copy it again")),
            ("sk-abc\u{fffd}", Err("copy it again")),
            ("sk-ä", Err("copy it again")),
        ];
        for (value, expected) in table {
            let env = BTreeMap::from([("RELAYDANCE_API_KEY".to_owned(), value.to_owned())]);
            match (upstream_key(&config(&[]), &env), expected) {
                (Ok(key), Ok(expected)) => assert_eq!(key.expose_secret(), expected),
                (Err(problem), Err(words)) => {
                    assert!(problem.to_string().contains(words), "{problem}");
                    assert!(!problem.to_string().contains("sk-"), "{problem}");
                }
                (read, _) => panic!("{value:?}: {read:?}"),
            }
        }
        let missing = upstream_key(&config(&[]), &BTreeMap::new())
            .unwrap_err()
            .to_string();
        assert!(missing.contains("RELAYDANCE_API_KEY"), "{missing}");
        let other = config(&[("REPRISE_UPSTREAM__API_KEY_ENV", "OTHER_KEY")]);
        let missing = upstream_key(&other, &BTreeMap::new())
            .unwrap_err()
            .to_string();
        assert!(missing.contains("variable OTHER_KEY"), "{missing}");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let config = config(&[("REPRISE_UPSTREAM__API_KEY_FILE", file.to_str().unwrap())]);
        let key = || upstream_key(&config, &BTreeMap::new());

        let missing = key().unwrap_err().to_string();
        assert!(missing.contains("cannot read"), "{missing}");
        std::fs::write(&file, "sk-abc\n").unwrap();
        for (mode, open) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            match key() {
                Ok(key) => assert!(open && key.expose_secret() == "sk-abc", "{mode:o}"),
                Err(problem) => {
                    let words = format!("chmod 600 {}", file.display());
                    assert!(!open && problem.to_string().contains(&words), "{problem}");
                }
            }
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&file, "\n").unwrap();
        assert!(key().unwrap_err().to_string().contains("no key in"));
    }
}
