//! The header and the claims of a foreign JWT, checked one by one: what [`Peek::verify`] stops at, and what else is wrong.

use humantime::format_duration as time;

use super::{Detail, Mark};
use crate::{
    config::Issuer,
    jose::{Peek, claims::Claims, keys::KeySet},
    json::Member,
    model::UnixTime,
};

pub(super) fn header(peek: &Peek<'_>, issuer: &Issuer) -> Vec<Detail> {
    let algorithms: Vec<String> = issuer.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
    let accepted = match (issuer.token_types.as_slice(), issuer.token_type_required) {
        ([], _) => "none is expected".to_owned(),
        (types, true) => format!("accepted: {}", types.join(", ")),
        (types, false) => format!("accepted: {} or none", types.join(", ")),
    };
    let has = peek.token_type().map_or_else(|| "there is no `typ`".to_owned(), |name| format!("`typ` is `{name}`"));
    let mut told = vec![checked(peek.type_is_accepted(issuer), format!("{has}; {accepted}"))];
    // Tokens that are only asked about are not verified.
    if !algorithms.is_empty() {
        let fits = issuer.algorithms.contains(&peek.algorithm());
        let accepted = algorithms.join(", ");
        told.insert(0, checked(fits, format!("`alg` is {:?}; accepted: {accepted}", peek.algorithm())));
    }
    told
}

pub(super) fn signature(peek: &Peek<'_>, keys: &KeySet) -> Detail {
    match peek.signature(keys) {
        Ok(()) => checked(true, "the signature is right".to_owned()),
        Err(error) => checked(false, error.to_string()),
    }
}

/// The times, and what the registered claims must be like. Audience and the rest are for the policy.
pub(super) fn claims(peek: &Peek<'_>, issuer: &Issuer, now: UnixTime) -> Vec<Detail> {
    let leeway = issuer.leeway.as_secs();
    let at = |claim| peek.claims().get(claim).and_then(Member::as_u64).map(UnixTime);
    let tolerated = format!("{} are tolerated", time(issuer.leeway));
    let mut told = vec![match at("exp") {
        Some(end) if now < end => {
            let left = time(now.until(end));
            let says =
                format!("fresh: expires in {left} (`exp`), and only its client can have it renewed; {tolerated}");
            checked(true, says)
        }
        Some(end) => {
            checked(now < end.plus(leeway), format!("expired {} ago (`exp`); {tolerated}", time(end.until(now))))
        }
        None => checked(false, "it has no `exp` that is a number of seconds, and needs one".to_owned()),
    }];
    for (claim, verb) in [("nbf", "good"), ("iat", "issued")] {
        if let Some(start) = at(claim).filter(|start| now < *start) {
            let says = format!("{verb} in {} (`{claim}`); {tolerated}", time(now.until(start)));
            told.push(checked(now.plus(leeway) >= start, says));
        }
    }
    if let Err(error) = Claims::read(peek.claims().clone()) {
        told.push(checked(false, error.to_string()));
    }
    told
}

fn checked(good: bool, says: String) -> Detail {
    Detail { mark: Some(if good { Mark::Good } else { Mark::Refused }), says }
}
