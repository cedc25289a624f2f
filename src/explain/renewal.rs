//! What becomes due: how long what the upstream is shown is still good, and who renews it.

use std::time::Duration;

use http::{header, request::Parts};
use humantime::format_duration as time;

use super::{Detail, Mark, steps::Teller};
use crate::{
    auth::{
        bearer::{self, Candidate},
        own::Own,
        verdict::Verdict,
    },
    config::{Credential, Route},
    gate::Gate,
    jose::peek,
    json::Member,
    model::UnixTime,
    refresh::{Renewals, Timing, renews_from, timing},
    session::{Held, Session, SessionId},
};

/// For a token that opens `route`.
pub(super) async fn tell(teller: &mut Teller<'_>, route: &Route, verdict: &Verdict) {
    let now = teller.rehearsal.cx.now;
    let credential = &teller.gate.config().upstreams[route.upstream].credential;
    let told = match credential {
        Credential::InternalJwt { .. } => internal(teller, now),
        Credential::AuthorityToken => match (teller.standing.take(), teller.gate.proxy().auth().own()) {
            (None, Some(own)) => {
                let session = verdict.session.as_ref().map(|watched| watched.id());
                of_authority(own, session, route.min_life, own.sessions.now()).await
            }
            (standing, _) => standing,
        },
        Credential::Service(_) => Some(
            "the service token: the process that serves renews it ahead of time, for all requests; its /status says when"
                .to_owned(),
        ),
        Credential::Original | Credential::Basic(_) | Credential::None => None,
    };
    match told {
        Some(says) => teller.note("renewal", Mark::Good, says, waits(credential, own_wait(teller))),
        None => teller.note("renewal", Mark::Skipped, "the upstream is shown nothing that is renewed", Vec::new()),
    }
}

fn own_wait(teller: &Teller<'_>) -> Option<Duration> {
    let own = teller.gate.proxy().auth().own()?;
    own.renewals.as_deref().map(|renewals| renewals.settings().wait)
}

/// What a request has of it that comes too late.
fn waits(credential: &Credential, wait: Option<Duration>) -> Vec<Detail> {
    let (Credential::AuthorityToken, Some(wait)) = (credential, wait) else { return Vec::new() };
    let says =
        format!("a request that needs the next one waits for it, {} at most, then 503 with Retry-After", time(wait));
    vec![Detail::plain(says)]
}

fn internal(teller: &Teller<'_>, now: UnixTime) -> Option<String> {
    let shown = teller.rehearsal.head.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let end = peek(shown.strip_prefix("Bearer ")?).ok()?.claims().get("exp").and_then(Member::as_u64).map(UnixTime)?;
    let life = now.until(end);
    Some(format!(
        "fresh: the internal JWT is made for this request and ends in {}; sidegate makes the next one once {} are over",
        time(life),
        time(Duration::from_secs(life.as_secs() * 4 / 5)),
    ))
}

/// How the authority's token stands before anything is done, where a token of ours tells its session by itself.
pub(super) async fn before(gate: &Gate, head: &Parts) -> Option<String> {
    let config = gate.config();
    let route = &config.routes[gate.proxy().route_of(head).ok()?];
    if !matches!(config.upstreams[route.upstream].credential, Credential::AuthorityToken) {
        return None;
    }
    let own = gate.proxy().auth().own()?;
    let token = bearer::extract(&head.headers, &route.token, None).and_then(Candidate::check).ok()?;
    let session = match own.sessions.ring().read_access(token) {
        Some(opaque) => opaque.session,
        None => peek(token).ok()?.claims().get("sid")?.as_str()?.parse().ok()?,
    };
    of_authority(own, Some(session), route.min_life, own.sessions.now()).await
}

async fn of_authority(own: &Own, session: Option<SessionId>, need: Duration, now: UnixTime) -> Option<String> {
    let (renewals, id) = own.renewals.as_deref().zip(session)?;
    let session = own.sessions.find(id).await.ok()??;
    let held = session.held.as_ref()?;
    Some(standing(renewals, &session, held, need, now))
}

fn standing(renewals: &Renewals, session: &Session, held: &Held, need: Duration, now: UnixTime) -> String {
    let settings = renewals.settings();
    let spread = session.id.into();
    let end = match now < held.expires {
        true => format!("ends in {}", time(now.until(held.expires))),
        false => format!("ended {} ago", time(held.expires.until(now))),
    };
    let state = timing(held.issued, held.expires, now, need, spread, settings);
    if !renewals.can_renew(&session.state.client, &session.granted, held) {
        let word = if state == Timing::Due { "dead" } else { "fresh" };
        return format!(
            "{word}: the authority's token {end}; nothing is known to renew it with, so the user signs in again"
        );
    }
    let by = match held.refresh_token {
        Some(_) => "with the authority's refresh token",
        None => "by signing in there anew",
    };
    match state {
        Timing::Fresh => {
            let from = now.until(renews_from(held.issued, held.expires, spread, settings));
            format!(
                "fresh: the authority's token {end}; sidegate renews it {by}, beside a request in {} or later",
                time(from)
            )
        }
        Timing::Soon => {
            format!("soon: the authority's token {end}; this request goes with it, and sidegate renews it {by}")
        }
        Timing::Due => {
            format!("due: the authority's token {end}; this request waits until sidegate has renewed it {by}")
        }
    }
}
