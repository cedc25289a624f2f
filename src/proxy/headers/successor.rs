//! Where an answer carries the next access token of its client.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, EXPIRES},
};

use crate::{auth::successor::Successor, config::SuccessorHeaders, model::UnixTime};

/// Puts a successor where its client looks for it, with what is left of it at that moment of the store's time. Nobody else says anything there, whoever asked.
pub fn put(headers: &mut HeaderMap, names: &SuccessorHeaders, successor: Option<(&Successor, UnixTime)>) {
    headers.remove(&names.token);
    headers.remove(&names.expires_in);
    let Some((successor, now)) = successor.filter(|(successor, now)| *now < successor.expires) else { return };
    headers.insert(names.token.clone(), successor.token.clone());
    headers.insert(names.expires_in.clone(), now.until(successor.expires).as_secs().into());
    never_store(headers);
}

/// A token is in it: no cache keeps this answer, whatever the upstream said, and to whichever cache (RFC 9213).
fn never_store(headers: &mut HeaderMap) {
    let targeted = |name: &&HeaderName| name.as_str().ends_with("-cache-control") || OTHERS.contains(name);
    let doomed: Vec<HeaderName> = headers.keys().filter(targeted).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// By which some caches are told apart from that.
const OTHERS: [HeaderName; 3] =
    [EXPIRES, HeaderName::from_static("surrogate-control"), HeaderName::from_static("x-accel-expires")];

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: SuccessorHeaders =
        SuccessorHeaders { token: HeaderName::from_static("x-next"), expires_in: HeaderName::from_static("x-left") };

    fn answer() -> HeaderMap {
        let said = [
            ("x-next", "forged"),
            ("x-left", "9"),
            ("cache-control", "public, max-age=60"),
            ("cdn-cache-control", "max-age=600"),
            ("surrogate-control", "max-age=600"),
            ("x-accel-expires", "600"),
            ("expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
            ("x-other", "stays"),
        ];
        said.into_iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn successor() -> Successor {
        Successor { token: HeaderValue::from_static("a.b.c"), issued: UnixTime(100), expires: UnixTime(400) }
    }

    #[test]
    fn an_answer_with_a_token_is_kept_by_no_cache() {
        let mut answer = answer();
        put(&mut answer, &NAMES, Some((&successor(), UnixTime(150))));
        let mut left: Vec<_> =
            answer.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap().to_owned())).collect();
        left.sort();
        let expected = [("cache-control", "no-store"), ("x-left", "250"), ("x-next", "a.b.c"), ("x-other", "stays")];
        assert_eq!(left, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn an_answer_without_one_keeps_all_but_what_only_we_may_say() {
        for (successor, now) in [(None, 150), (Some(successor()), 400)] {
            let mut answer = answer();
            put(&mut answer, &NAMES, successor.as_ref().map(|successor| (successor, UnixTime(now))));
            assert_eq!(answer.len(), 6);
            assert_eq!(answer["cache-control"], "public, max-age=60");
            assert!(!answer.contains_key("x-next") && !answer.contains_key("x-left"));
        }
    }
}
