//! Why a connection over TLS did not come about, in words for whoever can mend it.

use std::error::Error as StdError;
use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// The reason behind `error`, about the server that was spoken to; `None` when TLS has no part in it.
pub fn why(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<Error>() {
            return Some(of(error));
        }
        // What is wrapped in an I/O error is no source of it, but it itself.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref());
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn of(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidMessage(_) => {
            "what it speaks is no TLS: perhaps it is to be reached by http://".to_owned()
        }
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "it speaks neither TLS 1.3 nor 1.2, and older ones are not safe".to_owned()
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "it serves nobody of this name".to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a certificate of its clients, and this proxy has none".to_owned()
        }
        Error::NoApplicationProtocol
        | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "it speaks neither HTTP/2 nor HTTP/1.1".to_owned()
        }
        Error::AlertReceived(alert) => format!("it refused the TLS handshake ({alert:?})"),
        other => format!("the TLS handshake failed: {other}"),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "no root is known that signed its certificate; if it is \
             the right server, set upstream.ca_file to its root"
            .to_owned(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "its certificate is for {}, not for {}",
            names(presented),
            expected.to_str()
        ),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate expired on {}", day(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "its certificate is valid only from {} on; is the clock of this machine right?",
            day(*not_before)
        ),
        CertificateError::Revoked => "its certificate has been revoked".to_owned(),
        CertificateError::ApplicationVerificationFailure => {
            "it does not show the certificate that was announced".to_owned()
        }
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is an authority's (CA:TRUE), which a server may not show: have it sign \
             another one for the server"
                .to_owned()
        }
        other => format!("its certificate is not valid: {other}"),
    }
}

/// The names of a certificate as rustls prints them (`DnsName("a.example")`), as people write them.
pub(super) fn names(presented: &[String]) -> String {
    let names: Vec<String> = presented.iter().map(|name| plain(name)).collect();
    match names.as_slice() {
        [] => "no name at all (it has no subjectAltName)".to_owned(),
        names => names.join(", "),
    }
}

pub(super) fn plain(presented: &str) -> String {
    let inner = presented
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .unwrap_or(presented);
    // SECURITY: a stranger chose it, and it goes to terminals and logs.
    inner
        .trim_matches('"')
        .chars()
        .filter(char::is_ascii_graphic)
        .take(253)
        .collect()
}

fn day(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok();
    let time = time.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "a day unknown".to_owned(), day_of)
}

/// A day, as `2026-11-21`, in UTC.
pub(super) fn day_of(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_as_it_is_written() {
        for (presented, expected) in [
            ("DnsName(\"a.example\")", "a.example"),
            ("IpAddress(127.0.0.1)", "127.0.0.1"),
            ("IpAddress(::1)", "::1"),
            ("a.example", "a.example"),
            ("DnsName(\"a\u{1b}[2J\")", "a[2J"),
        ] {
            assert_eq!(plain(presented), expected);
        }
        assert!(names(&[]).starts_with("no name at all"));
    }

    #[test]
    fn the_reason_is_found_below_an_error_of_the_connection() {
        let error = Error::AlertReceived(AlertDescription::ProtocolVersion);
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, error);
        assert!(why(&wrapped).unwrap().contains("TLS 1.3"));
        assert_eq!(why(&io::Error::from(io::ErrorKind::BrokenPipe)), None);
    }
}
