//! The members of one object without a hash table: most objects have a dozen, and a walk over those is cheaper than to hash
//! the names of all of them.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{DEPTH, NotStrict, Strict};

/// Members in the order in which they stand, no name twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Members(Vec<Member>);

type Member = (Cow<'static, str>, Value);

/// As [`super::object`].
///
/// # Errors
/// As [`super::object`].
pub fn members(bytes: &[u8]) -> Result<Members, NotStrict> {
    // All at once: the parser would look at each string by itself.
    let text = std::str::from_utf8(bytes).map_err(|_| NotStrict)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Flat).map_err(|_| NotStrict)?;
    reader.end().map_err(|_| NotStrict)?;
    Ok(members)
}

impl Members {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The member `name`, which is not there any more; the order of the others may change.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(index).1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    pub fn to_map(&self) -> Map<String, Value> {
        self.0.iter().map(|(name, value)| (name.clone().into_owned(), value.clone())).collect()
    }

    fn are_unique(&self) -> bool {
        if self.0.len() <= PAIRS_BELOW {
            let is_new = |(index, (name, _)): (usize, &Member)| self.0[..index].iter().all(|(other, _)| other != name);
            return self.0.iter().enumerate().all(is_new);
        }
        // Whoever writes thousands of them must not have us compare each with each.
        let mut names: Vec<_> = self.0.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.windows(2).all(|pair| pair[0] != pair[1])
    }
}

impl From<Map<String, Value>> for Members {
    fn from(map: Map<String, Value>) -> Members {
        Members(map.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

/// Reads an object, and nothing else.
struct Flat;

impl<'de> Visitor<'de> for Flat {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members, A::Error> {
        let mut all = Members(Vec::with_capacity(USUAL));
        while let Some(name) = members.next_key_seed(Name)? {
            all.0.push((name, members.next_value_seed(Strict { depth: DEPTH - 1 })?));
        }
        if all.are_unique() { Ok(all) } else { Err(A::Error::custom("a member stands twice")) }
    }
}

/// Reads a name. Those of most tokens take no memory of their own.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'static, str>;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Cow<'static, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(match name {
            // RFC 7515 (4.1), RFC 7519 (4.1), RFC 7662 (2.2), RFC 9068 (2.2), OpenID Connect Core (2).
            "alg" => "alg".into(),
            "kid" => "kid".into(),
            "typ" => "typ".into(),
            "iss" => "iss".into(),
            "sub" => "sub".into(),
            "aud" => "aud".into(),
            "exp" => "exp".into(),
            "nbf" => "nbf".into(),
            "iat" => "iat".into(),
            "jti" => "jti".into(),
            "azp" => "azp".into(),
            "scope" => "scope".into(),
            "scp" => "scp".into(),
            "client_id" => "client_id".into(),
            "auth_time" => "auth_time".into(),
            "acr" => "acr".into(),
            "amr" => "amr".into(),
            "sid" => "sid".into(),
            "roles" => "roles".into(),
            "groups" => "groups".into(),
            "email" => "email".into(),
            "active" => "active".into(),
            other => other.to_owned().into(),
        })
    }
}

/// Members of a token, as a rule.
const USUAL: usize = 16;
const PAIRS_BELOW: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::object;

    fn as_object(text: impl AsRef<[u8]>) -> Result<(), TestCaseError> {
        let text = text.as_ref();
        let (fast, slow) = (members(text), object(text));
        prop_assert_eq!(fast.as_ref().err(), slow.as_ref().err(), "{:?}", text);
        if let (Ok(fast), Ok(slow)) = (fast, slow) {
            prop_assert!(fast.iter().map(|(name, _)| name).eq(slow.keys().map(String::as_str)), "{:?}", text);
            prop_assert_eq!(&fast.to_map(), &slow);
            prop_assert_eq!(Members::from(slow), fast);
        }
        Ok(())
    }

    #[test]
    fn what_is_no_object_is_no_members_either() {
        for text in
            ["", "null", "[]", "1", "\"a\"", "{}x", "{} {}", "{\"a\":}", "{\"a\":1e999}", "\u{feff}{}", "{", " {} "]
        {
            as_object(text).unwrap();
        }
        assert_eq!(members(b"{\"a\":\"\xff\"}"), Err(NotStrict));
    }

    #[test]
    fn many_members_are_looked_through_as_a_few_are() {
        for count in [0, 1, 2, PAIRS_BELOW - 1, PAIRS_BELOW, PAIRS_BELOW + 1, 3000] {
            let list: Vec<_> = (0..count).map(|number| format!("\"{number}\":{number}")).collect();
            let good = format!("{{{}}}", list.join(","));
            assert_eq!(members(good.as_bytes()).map(|members| members.0.len()), Ok(count));
            for again in [0, count / 2, count.saturating_sub(1)].into_iter().filter(|again| *again < count) {
                let bad = format!("{{{},\"{again}\":0}}", list.join(","));
                assert_eq!(members(bad.as_bytes()), Err(NotStrict), "{count} {again}");
            }
        }
    }

    #[test]
    fn depth_is_bounded_as_in_an_object() {
        for levels in [DEPTH - 2, DEPTH - 1, DEPTH, 100_000] {
            as_object(format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels))).unwrap();
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<u64>().prop_map(|number| number.to_string()),
            Just("1.5e3".to_owned()),
            Just("1e999".to_owned()),
            "[a-c]{0,2}".prop_map(|text| format!("\"{text}\"")),
            Just("\"\\u0061\\n\"".to_owned()),
            Just("\"\\ud800\"".to_owned()),
        ];
        let name = prop_oneof!["[a-d]{1,2}", Just("\\u0061".to_owned()), Just("\\ud83d\\ude00".to_owned())];
        leaf.prop_recursive(4, 48, 6, move |inner| {
            let member = (name.clone(), inner.clone()).prop_map(|(name, value)| format!("\"{name}\": {value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(" , "))),
            ]
        })
    }

    proptest! {
        #[test]
        fn members_are_read_as_an_object_is(text in json()) {
            as_object(text)?;
        }

        #[test]
        fn with_any_byte_anywhere(text in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut text = text.into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            as_object(text)?;
        }

        #[test]
        fn whatever_stands_there(text in "[{}\\[\\]\",:a1\\\\ .e-]{0,24}") {
            as_object(text)?;
        }
    }
}
