//! The sessions of the local authority: listed, shown, ended. Never a token, a digest of one, or a salt.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;

use super::{Admin, json, query::Query, refusal};
use crate::{
    model::{GrantType, UnixTime, words::stamp},
    session::{Session, SessionId, Sessions, StoreError, record::RevocationReason},
    telemetry::audit::{Entry, Event},
};

/// One page of sessions.
#[derive(Serialize)]
pub(super) struct Page {
    pub(super) sessions: Vec<View>,
    /// The `after` of the next page; `None`: this was the last one.
    pub(super) next: Option<String>,
}

/// What an operator sees of a session.
#[derive(Serialize)]
pub(super) struct View {
    id: String,
    pub(super) client: String,
    pub(super) subject: String,
    username: Option<String>,
    grant: GrantType,
    scope: String,
    audiences: Vec<String>,
    alive: bool,
    revoked: Option<Revoked>,
    created: String,
    /// When the user proved who they are.
    authenticated: String,
    /// The last refresh, or the beginning.
    refreshed: String,
    /// It ends then unless it is refreshed before.
    idle_until: String,
    /// It ends then, whatever happens.
    expires: String,
    /// Of the refresh token; 0: there is none.
    generation: u64,
    /// Access tokens that are still good.
    access_tokens: usize,
    /// What the authority outside gave, if it vouches.
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<Outside>,
}

#[derive(Serialize)]
struct Outside {
    /// Of its access token.
    expires: String,
    /// How often that was renewed.
    renewals: u64,
    /// It is being renewed, or was to be and nobody came back.
    under_way: bool,
    /// Its refresh token was sent, and nobody knows what came of it.
    doubtful: bool,
}

#[derive(Serialize)]
struct Revoked {
    reason: &'static str,
    at: String,
}

#[derive(Serialize)]
struct Ended {
    revoked: u64,
}

impl View {
    pub(super) fn of(session: &Session, now: UnixTime) -> View {
        let (state, granted) = (&session.state, &session.granted);
        View {
            id: session.id.to_string(),
            client: state.client.clone(),
            subject: granted.subject.clone(),
            username: granted.username.clone(),
            grant: granted.grant,
            scope: granted.scope.to_string(),
            audiences: granted.audiences.clone(),
            alive: session.is_alive(now),
            revoked: state.revoked.map(|revoked| Revoked { reason: revoked.reason.as_str(), at: stamp(revoked.at) }),
            created: stamp(state.created),
            authenticated: stamp(granted.auth_time),
            refreshed: stamp(state.rotated_at),
            idle_until: stamp(state.idle_until),
            expires: stamp(state.absolute),
            generation: state.generation,
            access_tokens: state.access.iter().filter(|access| now < access.expires).count(),
            authority: state.vouched.map(|vouched| Outside {
                expires: stamp(vouched.expires),
                renewals: vouched.generation.saturating_sub(1),
                under_way: vouched.intent.is_some(),
                doubtful: vouched.doubtful,
            }),
        }
    }
}

/// Boxed: an answer is large, and a refusal rare.
pub(super) type Refused = Box<Response<Full<Bytes>>>;

impl Admin {
    pub(super) async fn list_sessions(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (query, sessions) = match self.asked(request) {
            Ok(asked) => asked,
            Err(refused) => return *refused,
        };
        match page(&sessions, query).await {
            Ok(page) => json(StatusCode::OK, &page),
            Err(error) => unavailable(&error),
        }
    }

    pub(super) async fn show_session(&self, id: &str) -> Response<Full<Bytes>> {
        match self.found(id).await {
            Ok((session, sessions)) => json(StatusCode::OK, &View::of(&session, sessions.now())),
            Err(refused) => *refused,
        }
    }

    pub(super) async fn revoke_session(&self, id: &str) -> Response<Full<Bytes>> {
        let (session, sessions) = match self.found(id).await {
            Ok(found) => found,
            Err(refused) => return *refused,
        };
        match revoke(&sessions, &session).await {
            Ok(ended) => json(StatusCode::OK, &Ended { revoked: ended.into() }),
            Err(error) => unavailable(&error),
        }
    }

    /// Ends every session of a user or a client that is alive now.
    pub(super) async fn revoke_sessions(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (query, sessions) = match self.asked(request) {
            Ok(asked) => asked,
            Err(refused) => return *refused,
        };
        if !query.is_narrow() {
            let message = "name a `user`, a `client` or both: nobody ends all sessions by a slip";
            return refusal(StatusCode::BAD_REQUEST, "filter_missing", message);
        }
        match revoke_all(&sessions, query).await {
            Ok(revoked) => json(StatusCode::OK, &Ended { revoked }),
            Err(error) => unavailable(&error),
        }
    }

    fn asked(&self, request: &Request<Incoming>) -> Result<(Query, Arc<Sessions>), Refused> {
        let query = Query::read(request.uri().query().unwrap_or_default())
            .map_err(|wrong| refusal(StatusCode::BAD_REQUEST, "query_wrong", &wrong))?;
        Ok((query, self.sessions()?))
    }

    pub(super) async fn found(&self, id: &str) -> Result<(Session, Arc<Sessions>), Refused> {
        let sessions = self.sessions()?;
        let unknown = || refusal(StatusCode::NOT_FOUND, "session_unknown", "there is no such session, or no longer");
        let id: SessionId = id.parse().map_err(|_| unknown())?;
        let session = sessions.find(id).await.map_err(|error| unavailable(&error))?;
        Ok((session.ok_or_else(unknown)?, sessions))
    }

    pub(super) fn sessions(&self) -> Result<Arc<Sessions>, Refused> {
        let gate = self.gate.load();
        let none = || refusal(StatusCode::NOT_FOUND, "authority_off", "the configuration has no `authority`");
        Ok(gate.proxy().auth().own().ok_or_else(none)?.sessions.clone())
    }
}

/// The page that `query` asks for.
pub(super) async fn page(sessions: &Sessions, query: Query) -> Result<Page, StoreError> {
    // One more than asked for: it tells whether there is a next page.
    let mut found = sessions.list(query.filter, query.after, query.limit + 1).await?;
    let more = found.len() > query.limit;
    found.truncate(query.limit);
    let now = sessions.now();
    let next = found.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Page { sessions: found.iter().map(|session| View::of(session, now)).collect(), next })
}

/// Ends every session that `query` finds, and says how many those were. What was ended stays so, and is noted in the audit
/// stream, also where an error comes in between.
pub(super) async fn revoke_all(sessions: &Sessions, query: Query) -> Result<u64, StoreError> {
    let (mut revoked, mut after) = (0, query.after);
    loop {
        let page = sessions.list(query.filter.clone(), after, PAGE).await?;
        for session in &page {
            revoked += u64::from(revoke(sessions, session).await?);
        }
        match page.last().filter(|_| page.len() == PAGE) {
            Some(last) => after = Some(last.id),
            None => return Ok(revoked),
        }
    }
}

pub(super) async fn revoke(sessions: &Sessions, session: &Session) -> Result<bool, StoreError> {
    let reason = RevocationReason::Operator;
    let ended = sessions.revoke(session.id, reason).await?;
    if ended {
        let mut entry = Entry::new(Event::Revoked, None);
        entry.client = Some(&session.state.client);
        entry.subject = Some(&session.granted.subject);
        entry.session = Some(&session.id);
        entry.grant = Some(session.granted.grant);
        entry.reason = Some(reason.as_str());
        entry.write();
    }
    Ok(ended)
}

fn unavailable(error: &StoreError) -> Response<Full<Bytes>> {
    tracing::warn!(%error, "an operator's request was not carried out");
    refusal(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "the session store does not answer; try again")
}

/// Sessions that are read at once while many are ended.
const PAGE: usize = 256;
