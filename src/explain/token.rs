//! The token: where it is, whether it is valid, what the policy makes of it.

use std::ops::ControlFlow::{self, Continue};

use http::header;

use super::{Detail, Mark, jwt, own, renewal, steps::Teller, verdict::Place};
use crate::{
    auth::{
        Issuer,
        ask::Asker,
        basic,
        bearer::{self, Candidate},
        policy::{Condition, Policy},
        verdict::{Claim, Verdict},
    },
    config::{self, Preflight, TokenPlace, Way},
    gate::Gate,
    jose::{JwtError, peek},
    model::{Secret, UnixTime},
    proxy::{cors, headers},
};

pub(super) async fn tell(teller: &mut Teller<'_>, index: usize) -> ControlFlow<()> {
    let config = teller.gate.config().clone();
    let route = &config.routes[index];
    let head = teller.head;
    let free = route.preflight == Preflight::Forward && cors::preflight_method(&head.method, &head.headers).is_some();
    let (Some(policy), Some(settings), false) = (teller.gate.proxy().policy(index), &route.policy, free) else {
        let says = if free { "a preflight needs none" } else { "this route is public and asks for none" };
        // Even here a token that stands twice in the query ends the way.
        if teller.place == Some(Place::Token) {
            return teller.step("token", Place::Token, says.to_owned(), Vec::new());
        }
        teller.note("token", Mark::Skipped, says, Vec::new());
        return Continue(());
    };

    if let (Some(client), Ok(Some(_))) = (&route.token.basic, basic::presented(&head.headers)) {
        let says = format!("a name and a password in Authorization, for client `{client}`");
        return teller.step("token", teller.place.unwrap_or(Place::Token), says, Vec::new());
    }
    let query = query_token(head.uri.query(), &route.token);
    let token = bearer::extract(&head.headers, &route.token, query.as_ref().map(|token| token.expose().as_str()));
    let text = token.and_then(Candidate::check);
    let details = text.as_ref().err().map(|error| Detail::plain(error.to_string())).into_iter().collect();
    teller.step("token", Place::Token, where_found(&route.token, query.is_some()), details)?;
    let (Ok(token), Ok(text)) = (token, text) else { return Continue(()) };

    let now = teller.rehearsal.cx.now;
    let told = match teller.gate.proxy().auth().own() {
        Some(own) => own::tell(own, text, own.sessions.now()).await,
        None => None,
    };
    let (says, details) = told.unwrap_or_else(|| validation(teller.gate, text, policy, now));
    teller.step("validation", Place::Validation, says, details)?;
    if let Ok(verdict) = teller.gate.proxy().auth().judge(token, policy, &teller.rehearsal.cx).await {
        let details = conditions(teller.gate, policy, settings, &verdict);
        teller.step("policy", Place::Policy, "every condition is met".to_owned(), details)?;
        renewal::tell(teller, route, &verdict).await;
    }
    Continue(())
}

fn query_token(query: Option<&str>, place: &TokenPlace) -> Option<Secret<String>> {
    let (query, name) = (query?, place.query_parameter.as_deref()?);
    headers::take_query_token(query, name).ok()?.token
}

fn where_found(place: &TokenPlace, in_query: bool) -> String {
    match (&place.query_parameter, in_query) {
        (Some(name), true) => format!("in the query parameter `{name}`"),
        _ if place.header == header::AUTHORIZATION && place.basic.is_some() => {
            "a bearer token in Authorization, or HTTP Basic".to_owned()
        }
        _ if place.header == header::AUTHORIZATION => "a bearer token in Authorization".to_owned(),
        _ => format!("in the header {}", place.header),
    }
}

/// What can be said of a token without believing it, and of the issuer that is to vouch for it.
fn validation(gate: &Gate, token: &str, policy: &Policy, now: UnixTime) -> (String, Vec<Detail>) {
    let issuers = gate.issuers();
    let peek = match peek(token) {
        Ok(peek) => peek,
        Err(JwtError::NotAJwt) => {
            let trusted = policy.issuers.iter().filter_map(|&index| issuers.get(index));
            let asked: Vec<String> =
                trusted.filter_map(|issuer| Some(asked_of(issuer.asker.as_ref()?, issuer))).collect();
            let says = match asked.is_empty() {
                true => "not a JWT, and no issuer of this route introspects or has a probe".to_owned(),
                false => format!("not a JWT; {}", asked.join(", ")),
            };
            return ("active".to_owned(), vec![Detail::plain(says)]);
        }
        Err(error) => return (String::new(), vec![Detail::plain(error.to_string())]),
    };
    let claimed = peek.issuer().to_owned();
    let Some(issuer) = issuers.iter().find(|issuer| issuer.settings.issuer == claimed) else {
        return (String::new(), stranger(issuers, &claimed));
    };
    let kid = peek.kid().map_or_else(|| "no kid".to_owned(), |kid| format!("kid `{kid}`"));
    let mut details =
        vec![Detail::plain(format!("a JWT of issuer {}, {kid}, {:?}", name_of(issuer), peek.algorithm()))];
    // One that is only asked about is not verified here.
    if issuer.settings.keys != config::KeySource::None {
        details.extend(jwt::header(&peek, &issuer.settings));
    }
    details.extend(jwt::claims(&peek, &issuer.settings, now));
    let keys = issuer.keys.status();
    if issuer.settings.keys == config::KeySource::None {
        let by = issuer.asker.as_ref().map_or("introspection", |asker| asker.inquiry().way.word());
        details.push(Detail::plain(format!("the issuer has no keys here, so it can only be asked by {by}")));
        return ("active".to_owned(), details);
    }
    details.push(Detail::plain(format!("{} key(s) of the issuer are known", keys.keys)));
    details.extend(keys.last_error.map(|error| Detail::plain(format!("its keys could not be fetched: {error}"))));
    if let Some(keys) = issuer.keys.current() {
        details.push(jwt::signature(&peek, &keys));
    }
    ("signature, type and times are right".to_owned(), details)
}

fn stranger(issuers: &[Issuer], claimed: &str) -> Vec<Detail> {
    let mut details = vec![Detail::plain(format!("its `iss` is `{claimed}`, which is no configured issuer"))];
    let bare = claimed.trim_end_matches('/');
    let near = issuers.iter().filter(|issuer| issuer.settings.issuer.trim_end_matches('/') == bare);
    details
        .extend(near.map(|issuer| Detail::plain(format!("{} differs by the slash at the end only", name_of(issuer)))));
    details
}

/// Every condition, with what the token has for it: only what the policy names is shown.
fn conditions(gate: &Gate, policy: &Policy, wanted: &config::Policy, verdict: &Verdict) -> Vec<Detail> {
    let met = |condition| Some(if policy.meets(condition, verdict) { Mark::Good } else { Mark::Refused });
    let issuers: Vec<String> = wanted.issuers.iter().map(|&index| name_at(gate, index)).collect();
    let mut told = vec![
        Detail {
            mark: met(Condition::Issuer),
            says: format!("issuer: {}; the token's is {}", issuers.join(" or "), name_at(gate, verdict.issuer)),
        },
        Detail {
            mark: met(Condition::Audience),
            says: format!(
                "audience: {}; the token has {}",
                list(&wanted.audiences, " or "),
                list(&verdict.audiences, ", ")
            ),
        },
    ];
    if !wanted.scopes_all.is_empty() || !wanted.scopes_any.is_empty() {
        let all = (!wanted.scopes_all.is_empty()).then(|| format!("all of {}", list(&wanted.scopes_all, ", ")));
        let any = (!wanted.scopes_any.is_empty()).then(|| format!("one of {}", list(&wanted.scopes_any, ", ")));
        let scopes: Vec<&str> = verdict.scope.split(' ').filter(|scope| !scope.is_empty()).collect();
        let wanted = all.into_iter().chain(any).collect::<Vec<_>>().join(" and ");
        told.push(Detail {
            mark: met(Condition::Scope),
            says: format!("scope: {wanted}; the token has {}", list(&scopes, ", ")),
        });
    }
    if !wanted.clients.is_empty() {
        let client: Vec<&str> = verdict.client.as_deref().into_iter().collect();
        told.push(Detail {
            mark: met(Condition::Client),
            says: format!("client: {}; the token has {}", list(&wanted.clients, " or "), list(&client, ", ")),
        });
    }
    for (name, accepted) in &wanted.claims {
        let claim = gate.proxy().auth().claim(verdict, name);
        let good = claim.is_some_and(|claim| claim.is_any_of(accepted));
        let has = match claim {
            None => "nothing".to_owned(),
            Some(Claim::One(text)) => format!("`{text}`"),
            Some(Claim::Many(texts)) => list(texts, ", "),
        };
        told.push(Detail {
            mark: Some(if good { Mark::Good } else { Mark::Refused }),
            says: format!("claim `{name}`: {}; the token has {has}", list(accepted, " or ")),
        });
    }
    told
}

fn list<T: AsRef<str>>(texts: &[T], between: &str) -> String {
    match texts.is_empty() {
        true => "nothing".to_owned(),
        false => texts.iter().map(|text| format!("`{}`", text.as_ref())).collect::<Vec<_>>().join(between),
    }
}

fn asked_of(asker: &Asker, issuer: &Issuer) -> String {
    match &asker.inquiry().way {
        Way::Introspection(_) => format!("introspection was asked of {}", name_of(issuer)),
        Way::Probe(_) => format!("a probe asked {}", name_of(issuer)),
    }
}

fn name_of(issuer: &Issuer) -> String {
    format!("`{}`", issuer.settings.name)
}

/// The local authority has no place among the issuers.
fn name_at(gate: &Gate, index: usize) -> String {
    gate.issuers().get(index).map_or_else(|| format!("`{}`", config::LOCAL), name_of)
}
