//! The cookies of our own pages, which an upstream could use to sign in as their user.

use http::{HeaderMap, HeaderValue, header::COOKIE};

use crate::model::cookies;

/// Takes them out. The other cookies stay byte for byte as they were.
pub(super) fn remove_own(headers: &mut HeaderMap) {
    let has_own = |value: &HeaderValue| value.as_bytes().split(|byte| *byte == b';').any(is_own);
    if !headers.get_all(COOKIE).iter().any(has_own) {
        return;
    }
    let kept: Vec<HeaderValue> = headers.get_all(COOKIE).iter().filter_map(others).collect();
    headers.remove(COOKIE);
    headers.extend(kept.into_iter().map(|value| (COOKIE, value)));
}

/// The value without ours; `None` if nothing is left.
fn others(value: &HeaderValue) -> Option<HeaderValue> {
    let pairs: Vec<&[u8]> = value.as_bytes().split(|byte| *byte == b';').filter(|pair| !is_own(pair)).collect();
    let rest = pairs.join(&b';');
    let mut rest = HeaderValue::from_bytes(rest.trim_ascii_start()).ok().filter(|rest| !rest.is_empty())?;
    rest.set_sensitive(true);
    Some(rest)
}

fn is_own(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    cookies::is_own(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cookies_of_our_own_are_taken_out() {
        for (before, after) in [
            (&["a=b; c=d;e"][..], &["a=b; c=d;e"][..]),
            (&["sidegate-user=x; a=b"], &["a=b"]),
            (&["a=b; __Host-sidegate-user=x;  c=\"d\" ; sidegate-form=y"], &["a=b;  c=\"d\" "]),
            (&["sidegate-form=y", "a=b", " sidegate-user =x"], &["a=b"]),
            (&["sidegate-away-x=y; a=b; __Host-sidegate-away-z=1; sidegate-away=2"], &["a=b; sidegate-away=2"]),
            (
                &["x-sidegate-form=1; sidegate-formula=2; y=sidegate-form"],
                &["x-sidegate-form=1; sidegate-formula=2; y=sidegate-form"],
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(before.iter().map(|value| (COOKIE, HeaderValue::from_static(value))));
            remove_own(&mut headers);
            assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), after);
        }
    }
}
