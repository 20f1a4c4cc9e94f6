//! The two paths on which a job can be asked for.

use std::fmt::Write as _;

/// A poll path; their answers have different shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v1/video/generations/{id}`
    Generations,
    /// `/v1/videos/{id}`
    Videos,
}

impl Route {
    /// The one that belongs to the path of a submit, which begins with `/v1/`.
    pub(super) fn of_submit(path: &str) -> Self {
        if path.starts_with("/v1/videos") {
            Self::Videos
        } else {
            Self::Generations
        }
    }

    /// The one that a poll below `/v1` takes.
    pub(super) fn of_poll(path: &str) -> Self {
        if path.starts_with("/videos/") {
            Self::Videos
        } else {
            Self::Generations
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Generations => Self::Videos,
            Self::Videos => Self::Generations,
        }
    }

    /// The path below `/v1` of the job `task_id`.
    pub(super) fn path(self, task_id: &str) -> String {
        let id = segment(task_id);
        match self {
            Self::Generations => format!("/video/generations/{id}"),
            Self::Videos => format!("/videos/{id}"),
        }
    }
}

/// The path below `/v1` of the clip that a job has made.
pub(super) fn content(task_id: &str) -> String {
    format!("{}/content", Route::Videos.path(task_id))
}

/// An id as it can stand in a path: upstream may give one of any letters.
fn segment(id: &str) -> String {
    let mut text = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~:=@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_submit_has_its_poll() {
        for (submit, poll) in [
            ("/v1/video/generations", "/video/generations/t"),
            ("/v1/videos", "/videos/t"),
            ("/v1/videos/task_a/remix", "/videos/t"),
            ("/v1/videos/edits", "/videos/t"),
            ("", "/video/generations/t"),
        ] {
            let route = Route::of_submit(submit);
            assert_eq!(route.path("t"), poll, "{submit}");
            assert_eq!(Route::of_poll(poll), route);
            assert_ne!(route.other(), route);
            assert_eq!(route.other().other(), route);
        }
        assert_eq!(Route::Videos.path("a/b ?ü"), "/videos/a%2Fb%20%3F%C3%BC");
        assert_eq!(content("cgt-1.x:y"), "/videos/cgt-1.x:y/content");
    }
}
