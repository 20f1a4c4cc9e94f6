//! The secret that callbacks are signed with, when a variable holds one.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretSlice;

use super::problem::Problem;
use super::resolved::Config;

/// What a secret in the form of Standard Webhooks begins with.
const PREFIX: &str = "whsec_";

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the secret from the variable that `callbacks.secret_env` names; `None` when it names none,
/// so that callbacks are not signed.
///
/// The secret is `whsec_` and base64 (Standard Webhooks), or any text, which stands for its bytes.
///
/// # Errors
/// If the variable is not set, or no secret is in it. The problem names the variable, and never
/// shows any of the secret.
pub fn callback_secret(
    config: &Config,
    env: &BTreeMap<String, String>,
) -> Result<Option<SecretSlice<u8>>, Problem> {
    let Some(variable) = &config.callbacks.secret_env else {
        return Ok(None);
    };
    let text = env.get(variable).map_or("", |text| text.trim());
    let secret = match text.strip_prefix(PREFIX) {
        Some(base64) => BASE64.decode(base64).unwrap_or_default(),
        None => text.as_bytes().to_vec(),
    };
    let rule = match (text, secret.as_slice()) {
        ("", _) => format!(
            "there is no secret to sign callbacks with: set the environment variable {variable}, \
             or take the key out to send them unsigned"
        ),
        (_, []) => format!("behind {PREFIX} in {variable} there is no base64: copy it again"),
        _ => return Ok(Some(SecretSlice::from(secret))),
    };
    Err(Problem::about("callbacks.secret_env", rule))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn a_named_variable_holds_a_secret() {
        let named = ("REPRISE_CALLBACKS__SECRET_ENV", "HOOKS");
        let table = [
            ("not named", &[("HOOKS", "x")][..], Ok(None)),
            (
                "text",
                &[named, ("HOOKS", " se cret\n")],
                Ok(Some("se cret")),
            ),
            ("padded", &[named, ("HOOKS", "whsec_YWI=")], Ok(Some("ab"))),
            (
                "not padded",
                &[named, ("HOOKS", "whsec_YWI")],
                Ok(Some("ab")),
            ),
            ("not set", &[named], Err("HOOKS")),
            ("empty", &[named, ("HOOKS", " ")], Err("HOOKS")),
            (
                "no base64",
                &[named, ("HOOKS", "whsec_c4n*ry")],
                Err("HOOKS"),
            ),
            (
                "nothing behind",
                &[named, ("HOOKS", "whsec_")],
                Err("HOOKS"),
            ),
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
            match (callback_secret(&config, &sources.env), expected) {
                (Ok(secret), Ok(expected)) => {
                    let secret = secret.as_ref().map(ExposeSecret::expose_secret);
                    assert_eq!(secret, expected.map(str::as_bytes), "{name}");
                }
                (Err(problem), Err(variable)) => {
                    let line = problem.to_string();
                    assert!(line.starts_with("callbacks.secret_env: "), "{name}: {line}");
                    assert!(line.contains(variable), "{name}: {line}");
                    assert!(!line.contains("c4n"), "{name}: {line}");
                }
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
    }
}
