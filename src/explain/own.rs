//! A token of our own: what its session says, never the token.

use super::Detail;
use crate::{
    auth::own::Own,
    config::Renewal,
    jose::{Peek, peek},
    json::Member,
    model::UnixTime,
    refresh::slides_from,
    session::{
        Access, Session, SessionId,
        ring::digest16,
        tokens::{is_access_token, is_other_token, may_be_compact},
    },
};

/// What is told of `token` if it is, or claims to be, one of the local authority.
pub(super) async fn tell(own: &Own, token: &str, now: UnixTime) -> Option<(String, Vec<Detail>)> {
    let (kind, session, digest, mut details) = if is_access_token(token) {
        let Some(opaque) = own.sessions.ring().read_access(token) else {
            let forged = "it looks like an opaque token of the local authority, but its MAC is wrong";
            return Some((String::new(), vec![Detail::plain(forged)]));
        };
        ("opaque token", Some(opaque.session), Some(opaque.digest), Vec::new())
    } else if let Some(says) = about_refresh(own, token).await {
        return Some((String::new(), vec![Detail::plain(says)]));
    } else {
        let peek = peek(token).ok().filter(|peek| peek.issuer() == own.issuer())?;
        let text = |name: &str| peek.claims().get(name).and_then(Member::as_str);
        let session = text("sid").and_then(|id| id.parse().ok());
        let digest = text("jti").map(|jti| digest16(jti.as_bytes()));
        ("JWT", session, digest, signature(own, peek, now))
    };
    details.insert(0, Detail::plain(format!("{} of the local authority", with_article(kind))));
    match session {
        Some(id) => details.extend(about_session(own, id, digest, now).await),
        None => details.push(Detail::plain("it names no session")),
    }
    Some(("it is ours, and its session lives".to_owned(), details))
}

/// Of what renews access tokens and is none; `None` if `token` is nothing of the kind.
async fn about_refresh(own: &Own, token: &str) -> Option<String> {
    let says = "a refresh token or a code of the local authority: it opens nothing, and no issuer is asked about it";
    if is_other_token(token) {
        return Some(says.to_owned());
    }
    if !may_be_compact(token) {
        return None;
    }
    match own.sessions.find_any_refresh(token).await {
        Ok(found) => found.map(|_| says.to_owned()),
        Err(error) => {
            Some(format!("it may be a refresh token of the local authority, which cannot be looked up: {error}"))
        }
    }
}

fn with_article(kind: &str) -> String {
    format!("{} {kind}", if kind.starts_with('o') { "an" } else { "a" })
}

fn signature(own: &Own, peek: Peek<'_>, now: UnixTime) -> Vec<Detail> {
    let keys = own.signing.keys();
    let kid = peek.kid().map_or_else(|| "no kid".to_owned(), |kid| format!("kid `{kid}`"));
    let known = keys.with_kid(peek.kid()).count();
    let says = format!("{kid}, {:?}; {known} of our {} signing keys fit", peek.algorithm(), keys.keys().len());
    let failed = peek.verify(own.rules(), &keys, now).err();
    [Some(says), failed.map(|error| error.to_string())].into_iter().flatten().map(Detail::plain).collect()
}

async fn about_session(own: &Own, id: SessionId, digest: Option<[u8; 16]>, now: UnixTime) -> Vec<Detail> {
    let session = match own.sessions.find(id).await {
        Ok(Some(session)) => session,
        Ok(None) => return vec![Detail::plain(format!("dead: session {id} is unknown or over"))],
        Err(error) => {
            let keys =
                "keys that are kept there are not known here either, so the process that serves may say otherwise";
            let says = [format!("session {id} cannot be looked up: {error}"), keys.to_owned()];
            return says.into_iter().map(Detail::plain).collect();
        }
    };
    let mut told = vec![whose(&session)];
    let state = &session.state;
    told.push(match (&state.revoked, now < state.absolute) {
        (Some(revoked), _) => {
            let ago = humantime::format_duration(revoked.at.until(now));
            format!("the session was revoked {ago} ago ({})", revoked.reason.as_str())
        }
        (None, true) => format!("the session ends in {}", humantime::format_duration(now.until(state.absolute))),
        (None, false) => "the session is over".to_owned(),
    });
    let access = state.access.iter().find(|access| Some(access.digest) == digest);
    told.push(match access.map(|access| (standing(own, &session, access, now), access.expires)) {
        Some((word, end)) if now < end => {
            format!("{word}: the token expires in {}", humantime::format_duration(now.until(end)))
        }
        Some((word, end)) => format!("{word}: the token expired {} ago", humantime::format_duration(end.until(now))),
        None => "the session does not list the token (any more)".to_owned(),
    });
    if let Some(access) = access {
        told.extend(about_renewal(own, &session, access, now));
    }
    told.into_iter().map(Detail::plain).collect()
}

/// The word for what is to be done with it.
fn standing(own: &Own, session: &Session, access: &Access, now: UnixTime) -> &'static str {
    let client = own.authority.client(&session.state.client);
    let renews = !access.foreign && client.is_some_and(|client| client.renews(session.granted.grant).is_some());
    let lasts = access.expires >= session.state.absolute;
    match now < access.expires {
        true if renews && !lasts && now >= slides_from(access.issued, access.expires) => "soon",
        true => "fresh",
        false if renews && now < access.over_at() => "due",
        false => "dead",
    }
}

/// What its use does to the token, or brings.
fn about_renewal(own: &Own, session: &Session, access: &Access, now: UnixTime) -> Option<String> {
    let client = own.authority.client(&session.state.client)?;
    if access.foreign || session.state.revoked.is_some() {
        return None;
    }
    let lasts = humantime::format_duration(client.access_lifetime);
    let from = slides_from(access.issued, access.expires);
    let Some(renewal) = client.renews(session.granted.grant) else {
        return Some("only its client renews it: no request moves its end".to_owned());
    };
    let (what, last, late) = match renewal {
        Renewal::Sliding => (
            format!("lets it slide: it is good for {lasts} from then on"),
            "it slides no further, since the session ends then",
            "it was not used in time to slide",
        ),
        Renewal::Successor => (
            format!("is answered with its successor, which is good for {lasts} from then on"),
            "it has no successor, since the session ends then",
            "it was not used in time to have a successor",
        ),
    };
    Some(if access.expires >= session.state.absolute {
        last.to_owned()
    } else if now >= access.over_at() {
        late.to_owned()
    } else if now >= from {
        format!("a request that it opens {what}")
    } else {
        let begins = humantime::format_duration(now.until(from));
        format!("a request that it opens in {begins} or later {what}")
    })
}

fn whose(session: &Session) -> String {
    let granted = &session.granted;
    let subject = match granted.username {
        Some(_) => format!("of subject `{}`", granted.subject),
        None => "on its own behalf".to_owned(),
    };
    format!("session {} of client `{}` {subject}, by {}", session.id, session.state.client, granted.grant.as_str())
}
