//! What a user sends: name and password, then yes or no.

use http::StatusCode;

use super::{
    Visited,
    callback::once,
    cookies::{LARGEST_COOKIE, Name},
    form::{Form, Remembered},
    reply::{Problem, Reply},
};
use crate::{
    authority::Denied,
    config::Users,
    grants::authorize::{Authorization, AuthorizeError, Parameters, SignedIn},
    model::Secret,
    telemetry::audit::{Entry, Event},
};

impl Visited<'_> {
    pub(super) async fn sign_in(&self, asked: &Authorization, request: &str, fields: &Parameters<'_>) -> Reply {
        let (Ok(username), Ok(password)) = (fields.text("username"), fields.text("password")) else {
            return self.unreadable(StatusCode::BAD_REQUEST);
        };
        let username = username.unwrap_or_default();
        let password = Secret::new(password.unwrap_or_default().into_owned());
        if username.len() > LONGEST || username.is_empty() || password.expose().is_empty() {
            return self.sign_in_page(asked, request, "", Some(Problem::Wrong));
        }
        let verified = self.grants.sign_in_here(&asked.client, &username, password, self.visit.cx).await;
        match verified {
            Ok(user) => {
                self.note(Event::SignedIn, asked, &user.subject, None);
                let wanted = fields.text("remember").is_ok_and(|choice| choice.as_deref() == Some("yes"));
                let mut reply = self.proceed(asked, request, user.clone()).await;
                self.remember(&user, wanted, &mut reply);
                reply
            }
            Err(Denied::Wrong) => {
                self.note(Event::SignInFailed, asked, &username, Some("wrong"));
                self.sign_in_page(asked, request, &username, Some(Problem::Wrong))
            }
            Err(Denied::Throttled(seconds)) => {
                self.note(Event::Throttled, asked, &username, Some("sign_in"));
                self.sign_in_page(asked, request, &username, Some(Problem::Throttled(seconds.max(1))))
            }
            Err(Denied::Unavailable(cause)) => {
                tracing::warn!(cause, "users cannot be verified now");
                self.note(Event::SignInFailed, asked, &username, Some("unavailable"));
                self.refuse(&asked.target, AuthorizeError::TemporarilyUnavailable.into(), Some(asked))
            }
        }
    }

    pub(super) async fn consent(
        &self,
        asked: &Authorization,
        form: &Form,
        user: &SignedIn,
        sealed: &str,
        fields: &Parameters<'_>,
    ) -> Reply {
        let decision = fields.text("decision").ok().flatten();
        match decision.as_deref() {
            // The user may have been disabled while the page lay open.
            Some("allow") if !self.grants.still_vouches_for(user) => {
                self.sign_in_page(asked, &form.request, &user.username, None)
            }
            Some("allow") => {
                // What the authority outside gave belongs to one session: two would each spend what both renew with.
                if user.held.is_some() {
                    match self.grants.sessions.use_once(once(sealed.as_bytes()), form.expires).await {
                        Ok(true) => {}
                        Ok(false) => return self.expired(&form.request),
                        Err(error) => {
                            tracing::warn!(%error, "nobody can say whether consent was given already");
                            let refusal = AuthorizeError::TemporarilyUnavailable.into();
                            return self.refuse(&asked.target, refusal, Some(asked));
                        }
                    }
                }
                self.note(Event::ConsentGiven, asked, &user.subject, None);
                self.finish(asked, user).await
            }
            Some("deny") => {
                self.note(Event::ConsentRefused, asked, &user.subject, None);
                self.refuse(&asked.target, AuthorizeError::AccessDenied.into(), Some(asked))
            }
            _ => self.unreadable(StatusCode::BAD_REQUEST),
        }
    }

    /// Keeps who signed in where they want to be remembered, and forgets who was before.
    fn remember(&self, user: &SignedIn, wanted: bool, reply: &mut Reply) {
        let settings = self.grants.settings();
        let seconds = settings.pages.remember.as_secs();
        let headers = reply.response.headers_mut();
        if wanted && seconds > 0 && user.held.is_none() {
            let mut user = user.clone();
            if matches!(settings.users, Users::Listed(_)) {
                // They are looked up anew, and cookies are small.
                user.claims.clear();
            }
            let remembered = Remembered { user, expires: self.now().plus(seconds) };
            match remembered.seal(self.grants.sessions.ring()) {
                Ok(sealed) if sealed.len() <= LARGEST_COOKIE => {
                    return self.own.cookies.set(Name::Remembered, &sealed, Some(seconds), headers);
                }
                Ok(_) => tracing::debug!("a user with many claims is not remembered: no browser keeps such a cookie"),
                Err(error) => tracing::error!(%error, "a user cannot be remembered"),
            }
        }
        if self.own.cookies.read(Name::Remembered, self.visit.headers).is_some() {
            self.own.cookies.forget(Name::Remembered, headers);
        }
    }

    pub(super) fn note(&self, event: Event, asked: &Authorization, subject: &str, reason: Option<&str>) {
        let mut entry = Entry::new(event, Some(self.visit.cx));
        entry.client = Some(&asked.client.id);
        entry.subject = Some(subject).filter(|subject| !subject.is_empty());
        entry.grant = Some(asked.grant());
        entry.reason = reason;
        entry.write();
    }
}

/// Bytes of a name; a longer one is nobody's, and is not worth a line in the log.
const LONGEST: usize = 256;
