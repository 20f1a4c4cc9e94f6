//! The files behind the links of a job's result, as `jobs show` lists them.

use serde::{Deserialize, Serialize};

use crate::egress::Destination;
use crate::media::Name;
use crate::store::{Medium, MediumState};

/// One file that a result links to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Scheme, host and port of upstream's link. SECURITY: what stands behind may be a permission.
    pub host: String,
    /// `wanted` (is being fetched), `kept` or `lost`.
    pub state: String,
    /// Its size; null unless it is kept.
    pub bytes: Option<u64>,
    /// What it is; null unless it is kept.
    pub content_type: Option<String>,
    /// The path of the kept copy on this proxy; null unless it is kept.
    pub link: Option<String>,
    /// Why it is lost, in words; null when it is not.
    pub reason: Option<String>,
}

impl From<&Medium> for File {
    fn from(medium: &Medium) -> Self {
        let host = Destination::parse(&medium.link);
        let mut file = Self {
            host: host.map_or_else(|_| "?".to_owned(), |to| to.to_string()),
            state: "wanted".to_owned(),
            bytes: None,
            content_type: None,
            link: None,
            reason: None,
        };
        match &medium.state {
            MediumState::Wanted => {}
            MediumState::Kept {
                hash,
                len,
                content_type,
                extension,
            } => {
                "kept".clone_into(&mut file.state);
                file.bytes = Some(*len);
                file.content_type = Some(content_type.clone());
                file.link = Some(Name::new(*hash, extension).to_string());
            }
            MediumState::Lost { why } => {
                "lost".clone_into(&mut file.state);
                file.reason = Some(why.clone());
            }
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_link_but_its_host_is_shown() {
        let medium = Medium {
            link: "https://cdn.example:8443/a.mp4?sig=secret".to_owned(),
            state: MediumState::Lost {
                why: "it answered 404".to_owned(),
            },
        };
        let file = File::from(&medium);
        assert_eq!(file.host, "https://cdn.example:8443");
        assert!(!serde_json::to_string(&file).unwrap().contains("secret"));
    }
}
