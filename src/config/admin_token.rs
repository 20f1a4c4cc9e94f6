//! The token of the admin API, when a variable holds it.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::problem::Problem;
use super::resolved::Config;

/// SECURITY: guesses are slowed down, and still many in a day. A shorter token is a word.
const SHORTEST: usize = 16;

/// Reads the admin token from the variable that `console.token_env` names; `None` when it names
/// none, so that the token is the one in `data_dir`.
///
/// # Errors
/// If the variable is not set, is too short, or cannot stand in a header. The problem names the variable, and
/// never shows any of the token.
pub fn admin_token(
    config: &Config,
    env: &BTreeMap<String, String>,
) -> Result<Option<SecretString>, Problem> {
    let Some(variable) = &config.console.token_env else {
        return Ok(None);
    };
    let token = env.get(variable).map(|token| token.trim());
    let rule = match token {
        Some(token) if token.bytes().any(|byte| !byte.is_ascii_graphic()) => {
            format!("the token in {variable} holds characters that no header takes")
        }
        Some(token) if token.len() >= SHORTEST => return Ok(Some(SecretString::from(token))),
        Some(token) if !token.is_empty() => format!(
            "the token in {variable} has {} characters, and it needs {SHORTEST} or more that nobody \
             guesses: take `openssl rand -hex 32`, or take the key out to have one made in data_dir",
            token.len()
        ),
        Some(_) | None => format!(
            "there is no admin token: set the environment variable {variable}, or take the key \
             out to have one made in data_dir"
        ),
    };
    Err(Problem::about("console.token_env", rule))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn a_named_variable_holds_a_token() {
        let named = ("REPRISE_CONSOLE__TOKEN_ENV", "ADMIN");
        let table = [
            ("not named", &[("ADMIN", "t0k")][..], Ok(None)),
            (
                "named",
                &[named, ("ADMIN", " 0123456789abcdef\n")],
                Ok(Some("0123456789abcdef")),
            ),
            (
                "short",
                &[named, ("ADMIN", "0123456789abcde")],
                Err("15 characters"),
            ),
            ("not set", &[named], Err("ADMIN")),
            ("empty", &[named, ("ADMIN", " ")], Err("ADMIN")),
            ("two words", &[named, ("ADMIN", "a b")], Err("ADMIN")),
        ];
        for (name, env, expected) in table {
            let home = [("HOME", "/nowhere")];
            let env: BTreeMap<_, _> = env
                .iter()
                .chain(&home)
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let sources = Sources {
                env,
                ..Sources::default()
            };
            let config = load(&sources).expect(name).config;
            match (admin_token(&config, &sources.env), expected) {
                (Ok(token), Ok(expected)) => {
                    let token = token.as_ref().map(ExposeSecret::expose_secret);
                    assert_eq!(token, expected, "{name}");
                }
                (Err(problem), Err(variable)) => {
                    let line = problem.to_string();
                    assert!(line.starts_with("console.token_env: "), "{name}: {line}");
                    assert!(line.contains(variable), "{name}: {line}");
                    assert!(!line.contains("a b"), "{name}: {line}");
                    assert!(!line.contains("abcde"), "{name}: {line}");
                }
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
    }
}
