//! What a token request leaves behind for the audit stream.

use crate::{
    model::{Context, GrantType, TokenError},
    session::SessionId,
    telemetry::audit::{Entry, Event},
};

/// Filled on the way; written once, whatever became of the request.
pub(super) struct Trail {
    pub grant: GrantType,
    pub client: Option<String>,
    pub subject: Option<String>,
    pub session: Option<SessionId>,
    /// Of the refresh token: presented and current.
    pub generations: Option<(u64, u64)>,
    /// Where it is not simply given or refused.
    pub event: Option<Event>,
}

impl Trail {
    pub fn new(grant: GrantType) -> Trail {
        Trail { grant, client: None, subject: None, session: None, generations: None, event: None }
    }

    pub fn write(self, refused: Option<&TokenError>, cx: &Context) {
        let event = self.event.unwrap_or(match (refused, self.grant) {
            (Some(error), _) if error.throttled.is_some() => Event::Throttled,
            (Some(_), GrantType::RefreshToken) => Event::RefreshRefused,
            (Some(_), _) => Event::GrantRefused,
            (None, GrantType::RefreshToken) => Event::Refreshed,
            (None, _) => Event::Granted,
        });
        let mut entry = Entry::new(event, Some(cx));
        entry.client = self.client.as_deref().map(glimpse);
        entry.subject = self.subject.as_deref().map(glimpse);
        entry.session = self.session.as_ref().map(|id| id as _);
        entry.grant = Some(self.grant);
        entry.generations = self.generations;
        entry.reason = refused.map(|error| error.cause.as_deref().unwrap_or(error.code.as_str()));
        entry.deprecated = self.grant == GrantType::Password;
        entry.write();
    }
}

/// As much of a name as the names of the configuration can have: whoever proved nothing does not fill the log.
fn glimpse(name: &str) -> &str {
    &name[..name.floor_char_boundary(LONGEST)]
}

/// Bytes.
const LONGEST: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_can_have_is_cut_in_the_audit_stream() {
        assert_eq!(glimpse("ana"), "ana");
        assert_eq!(glimpse(&"a".repeat(60_000)).len(), 255);
        assert_eq!(glimpse(&"é".repeat(200)).len(), 254);
    }
}
