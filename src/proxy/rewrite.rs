//! From the path that policy decided on to the one that the upstream knows: `strip_prefix` and `add_prefix`.

use std::borrow::Cow;

use super::{
    path::{CanonicalPath, PathError, already_canonical},
    readings::readings,
};

/// Replaces `strip` at the front of `path`, at a segment's boundary, by `add`. Where `path` is not below `strip`,
/// only `add` is put in front.
///
/// The result is canonical again, and below `add` however an upstream reads it; otherwise
/// [`PathError::AmbiguousRewrite`].
pub fn rewrite<'a>(path: &'a CanonicalPath<'_>, strip: &str, add: &str) -> Result<CanonicalPath<'a>, PathError> {
    let (strip, add) = (strip.trim_end_matches('/'), add.trim_end_matches('/'));
    if strip.is_empty() && add.is_empty() {
        return Ok(path.borrowed());
    }
    let rest = below(path.as_str(), strip).unwrap_or(path.as_str());
    // An upstream takes what follows a doubled slash for a host.
    if rest.starts_with("//") && !path.as_str().starts_with("//") {
        return Err(PathError::AmbiguousRewrite);
    }
    let text = match (add.is_empty(), rest.is_empty()) {
        (true, true) => Cow::Borrowed("/"),
        (true, false) => Cow::Borrowed(rest),
        (false, true) => Cow::Owned(add.to_owned()),
        (false, false) => Cow::Owned([add, rest].concat()),
    };
    let path = already_canonical(text)?.ok_or(PathError::AmbiguousRewrite)?;
    if add.is_empty() || path.is_plain() || stays_below(&path, add) {
        Ok(path)
    } else {
        Err(PathError::AmbiguousRewrite)
    }
}

/// What follows `prefix` in `path`: nothing, or something that begins with a slash.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `/tenant/..;/other` is below `/tenant` for us and not for every upstream.
fn stays_below(path: &CanonicalPath<'_>, prefix: &str) -> bool {
    let prefix = prefix.as_bytes();
    readings(path.as_str()).is_some_and(|all| {
        all.iter().all(|reading| {
            reading.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
                && matches!(reading.get(prefix.len()), None | Some(b'/'))
        })
    })
}

#[cfg(test)]
mod tests {
    use http::uri::PathAndQuery;
    use proptest::prelude::*;

    use super::*;
    use crate::proxy::path::canonical;

    #[test]
    fn a_prefix_is_replaced_at_a_segment_boundary_only() {
        for (path, strip, add, result) in [
            ("/api/x", "/api", "", "/x"),
            ("/api", "/api", "", "/"),
            ("/api/", "/api", "", "/"),
            ("/apis/x", "/api", "", "/apis/x"),
            ("/api/x", "/api/", "/v1", "/v1/x"),
            ("/api", "/api", "/v1/", "/v1"),
            ("/x", "", "/v1", "/v1/x"),
            ("/x", "", "", "/x"),
            ("/x", "", "/", "/x"),
        ] {
            let path = canonical(path).unwrap();
            assert_eq!(rewrite(&path, strip, add).unwrap().as_str(), result);
        }
        let doubled = canonical("/api//evil/x").unwrap();
        assert_eq!(rewrite(&doubled, "/api", ""), Err(PathError::AmbiguousRewrite));
        let plain = canonical("/x").unwrap();
        assert_eq!(rewrite(&plain, "", "/a/../b"), Err(PathError::AmbiguousRewrite));
    }

    #[test]
    fn no_reading_leaves_the_prefix_that_was_added() {
        for path in ["/..;/other", "/..%252fother", "/..%20/other", "/x/..;/..;/other"] {
            let path = canonical(path).unwrap();
            assert_eq!(rewrite(&path, "", "/tenant"), Err(PathError::AmbiguousRewrite));
            assert!(rewrite(&path, "", "").is_ok());
        }
        for path in ["/a%20b", "/a//b;v=1", "/x/..;/y", "/caf%C3%A9."] {
            let path = canonical(path).unwrap();
            assert_eq!(rewrite(&path, "", "/Tenant").unwrap().as_str(), format!("/Tenant{}", path.as_str()));
        }
    }

    proptest! {
        #[test]
        fn what_is_rewritten_is_canonical(
            path in "/([a-c./;]|%2[fF]|%25){0,16}", strip in "(/[a-c]){0,2}", add in "(/[a-c.]{1,2}){0,2}",
        ) {
            if let Ok(path) = canonical(&path)
                && let Ok(rewritten) = rewrite(&path, &strip, &add)
            {
                let again = canonical(rewritten.as_str()).unwrap();
                prop_assert_eq!(again.as_str(), rewritten.as_str());
                let target = rewritten.target(&PathAndQuery::from_static("/"), None).unwrap();
                prop_assert_eq!(target.path(), rewritten.as_str());
            }
        }
    }
}
