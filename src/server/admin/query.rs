//! The query of a request for sessions. What it does not know it refuses: a filter with a slip in its name must not
//! become no filter.

use std::borrow::Cow;

use crate::session::{Filter, SessionId};

/// Which sessions, and how many of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub filter: Filter,
    pub after: Option<SessionId>,
    pub limit: usize,
}

impl Query {
    /// # Errors
    /// What is wrong, for a person.
    pub(super) fn read(query: &str) -> Result<Query, String> {
        let mut read = Query { filter: Filter { alive: true, ..Filter::default() }, after: None, limit: USUAL };
        let mut seen: Vec<Cow<'_, str>> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if seen.contains(&name) {
                return Err(format!("`{name}` stands there twice"));
            }
            match &*name {
                "user" | "client" if value.is_empty() => return Err(format!("`{name}` is empty")),
                "user" => read.filter.user = Some(value.into_owned()),
                "client" => read.filter.client = Some(value.into_owned()),
                "alive" => {
                    read.filter.alive = match &*value {
                        "true" => true,
                        "any" => false,
                        _ => return Err("`alive` is `true` or `any`".into()),
                    }
                }
                "after" => read.after = Some(value.parse().map_err(|_| "`after` is the id of a session")?),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    read.limit = limit.ok_or_else(|| format!("`limit` is a number from 1 to {MOST}"))?;
                }
                _ => return Err("known are `user`, `client`, `alive`, `after` and `limit`".into()),
            }
            seen.push(name);
        }
        Ok(read)
    }

    /// The same of a form, which sends fields that were left empty.
    ///
    /// # Errors
    /// As [`Query::read`].
    pub(super) fn of_form(query: &str) -> Result<Query, String> {
        let mut filled = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            filled.append_pair(&name, &value);
        }
        Query::read(&filled.finish())
    }

    /// Whether it names anybody.
    pub(super) fn is_narrow(&self) -> bool {
        self.filter.user.is_some() || self.filter.client.is_some()
    }
}

/// Sessions in one answer.
const USUAL: usize = 100;
const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_understood_whole_or_not_at_all() {
        let read = Query::read("user=ana%40example.com&client=shop&alive=any&limit=7").unwrap();
        assert_eq!(read.filter.user.as_deref(), Some("ana@example.com"));
        assert_eq!(read.filter.client.as_deref(), Some("shop"));
        assert_eq!((read.filter.alive, read.limit, read.after), (false, 7, None));
        assert!(read.is_narrow());
        let read = Query::read("").unwrap();
        assert!(read.filter.alive && read.limit == USUAL && !read.is_narrow());
        for wrong in [
            "usr=ana",
            "user=",
            "user=a&user=b",
            "alive=no",
            "limit=0",
            "limit=1001",
            "limit=x",
            "after=x",
            "=",
            "user",
        ] {
            assert!(Query::read(wrong).is_err(), "{wrong}");
        }
    }
}
