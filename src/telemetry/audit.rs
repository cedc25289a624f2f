//! The audit stream: one line for each grant, refresh, reuse, revocation and sign-in, with a stable name and no secret.

use std::{fmt, net::IpAddr};

use crate::model::{Context, GrantType};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A session began.
    Granted,
    /// A grant was refused.
    GrantRefused,
    Refreshed,
    /// The same successor once more.
    RefreshRetried,
    /// The store had lost a rotation.
    RefreshHealed,
    RefreshRefused,
    /// A refresh token came back after its time: the session is revoked.
    RefreshReused,
    /// A code came twice: what it gave is revoked.
    CodeReused,
    Revoked,
    /// A client's own access token goes on being good because it was used.
    AccessRenewed,
    /// The same, and the answer carries its successor.
    AccessSucceeded,
    /// The authority outside gave new tokens for a session.
    AuthorityRenewed,
    /// It did not, and the session lives.
    AuthorityNotRenewed,
    /// It says that the session is over.
    AuthorityEnded,
    /// The token that an upstream is shown for everybody is a new one.
    ServiceRenewed,
    ServiceNotRenewed,
    SignedIn,
    SignInFailed,
    ConsentGiven,
    ConsentRefused,
    Throttled,
    KeysRotated,
}

impl Event {
    pub const ALL: [Event; 22] = [
        Event::Granted,
        Event::GrantRefused,
        Event::Refreshed,
        Event::RefreshRetried,
        Event::RefreshHealed,
        Event::RefreshRefused,
        Event::RefreshReused,
        Event::CodeReused,
        Event::Revoked,
        Event::AccessRenewed,
        Event::AccessSucceeded,
        Event::AuthorityRenewed,
        Event::AuthorityNotRenewed,
        Event::AuthorityEnded,
        Event::ServiceRenewed,
        Event::ServiceNotRenewed,
        Event::SignedIn,
        Event::SignInFailed,
        Event::ConsentGiven,
        Event::ConsentRefused,
        Event::Throttled,
        Event::KeysRotated,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Event::Granted => "granted",
            Event::GrantRefused => "grant_refused",
            Event::Refreshed => "refreshed",
            Event::RefreshRetried => "refresh_retried",
            Event::RefreshHealed => "refresh_healed",
            Event::RefreshRefused => "refresh_refused",
            Event::RefreshReused => "refresh_reused",
            Event::CodeReused => "code_reused",
            Event::Revoked => "revoked",
            Event::AccessRenewed => "access_token_renewed",
            Event::AccessSucceeded => "access_token_succeeded",
            Event::AuthorityRenewed => "authority_renewed",
            Event::AuthorityNotRenewed => "authority_not_renewed",
            Event::AuthorityEnded => "authority_ended",
            Event::ServiceRenewed => "service_renewed",
            Event::ServiceNotRenewed => "service_not_renewed",
            Event::SignedIn => "signed_in",
            Event::SignInFailed => "sign_in_failed",
            Event::ConsentGiven => "consent_given",
            Event::ConsentRefused => "consent_refused",
            Event::Throttled => "throttled",
            Event::KeysRotated => "keys_rotated",
        }
    }
}

/// One line. What is not known stays `None`.
pub struct Entry<'a> {
    event: Event,
    pub client: Option<&'a str>,
    /// Subject, or the name that was typed where nobody was found: never a password.
    pub subject: Option<&'a str>,
    pub session: Option<&'a dyn fmt::Display>,
    /// Whose token it is, where that is no client's.
    pub upstream: Option<&'a str>,
    pub grant: Option<GrantType>,
    /// Generations of the refresh token, presented and current.
    pub generations: Option<(u64, u64)>,
    /// A stable word: why it was refused, or revoked.
    pub reason: Option<&'a str>,
    /// Something that is advised against (RFC 9700), such as the password grant.
    pub deprecated: bool,
    address: Option<IpAddr>,
    request_id: Option<&'a str>,
}

impl<'a> Entry<'a> {
    pub fn new(event: Event, cx: Option<&'a Context>) -> Entry<'a> {
        Entry {
            event,
            client: None,
            subject: None,
            session: None,
            upstream: None,
            grant: None,
            generations: None,
            reason: None,
            deprecated: false,
            address: cx.and_then(|cx| cx.client),
            request_id: cx.map(|cx| cx.id.as_str()),
        }
    }

    pub fn write(self) {
        tracing::info!(
            target: TARGET,
            event = self.event.as_str(),
            client = self.client,
            subject = self.subject,
            session = self.session.map(tracing::field::display),
            upstream = self.upstream,
            grant = self.grant.map(GrantType::as_str),
            presented_generation = self.generations.map(|(presented, _)| presented),
            current_generation = self.generations.map(|(_, current)| current),
            reason = self.reason,
            deprecated = self.deprecated.then_some(true),
            address = self.address.map(tracing::field::display),
            request_id = self.request_id,
            "audit"
        );
    }
}

/// The target of audit lines.
pub const TARGET: &str = "sidegate::audit";

#[cfg(test)]
mod tests {
    use super::*;

    /// What programs that read the stream know the events by.
    #[test]
    fn the_names_of_events_do_not_change() {
        let names = Event::ALL.map(Event::as_str);
        assert_eq!(
            names,
            [
                "granted",
                "grant_refused",
                "refreshed",
                "refresh_retried",
                "refresh_healed",
                "refresh_refused",
                "refresh_reused",
                "code_reused",
                "revoked",
                "access_token_renewed",
                "access_token_succeeded",
                "authority_renewed",
                "authority_not_renewed",
                "authority_ended",
                "service_renewed",
                "service_not_renewed",
                "signed_in",
                "sign_in_failed",
                "consent_given",
                "consent_refused",
                "throttled",
                "keys_rotated",
            ]
        );
    }
}
