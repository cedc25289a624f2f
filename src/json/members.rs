//! The members of one object without a hash table: most objects have a dozen, nearly all of them with names that everybody
//! uses. Text is not copied out of the object: a token is taken apart for each request that brings a new one.

use std::{fmt, ops::Range};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{DEPTH, NotStrict, Strict};

/// Members in the order in which they stand, no name twice.
#[derive(Clone, Default)]
pub struct Members {
    /// The object as it is written, where it is.
    text: String,
    list: Vec<(Name, Held)>,
    /// By the place of a name in [`USUAL`]: its place in `list`, plus one; zero if it is not there.
    places: [u32; USUAL.len()],
}

#[derive(Clone)]
enum Name {
    /// By its place in [`USUAL`].
    Usual(usize),
    Own(Box<str>),
}

/// A value of a [`Members`].
#[derive(Clone)]
enum Held {
    /// Where it lies in the text.
    Written(Range<u32>),
    Number(Number),
    Other(Box<Value>),
}

/// A value, to be looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Member<'a> {
    Text(&'a str),
    Number(&'a Number),
    /// Neither text nor a number.
    Other(&'a Value),
}

/// As [`super::object`].
///
/// # Errors
/// As [`super::object`].
pub fn members(bytes: impl Into<Vec<u8>>) -> Result<Members, NotStrict> {
    // All at once: the parser would look at each string by itself.
    let text = String::from_utf8(bytes.into()).map_err(|_| NotStrict)?;
    let mut reader = serde_json::Deserializer::from_str(&text);
    let read = reader.deserialize_map(Flat { start: text.as_ptr().addr() }).map_err(|_| NotStrict)?;
    reader.end().map_err(|_| NotStrict)?;
    Ok(Members { text, ..read })
}

impl Members {
    pub fn get(&self, name: &str) -> Option<Member<'_>> {
        let held = match usual(name) {
            Some(usual) => &self.list.get((self.places[usual] as usize).checked_sub(1)?)?.1,
            None => &self.list.iter().find(|(own, _)| own.as_str() == name)?.1,
        };
        Some(self.look_at(held))
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Member<'_>)> {
        self.list.iter().map(|(name, held)| (name.as_str(), self.look_at(held)))
    }

    pub fn to_map(&self) -> Map<String, Value> {
        self.iter().map(|(name, member)| (name.to_owned(), member.to_value())).collect()
    }

    fn look_at<'a>(&'a self, held: &'a Held) -> Member<'a> {
        match held {
            // It is always there.
            Held::Written(place) => {
                Member::Text(self.text.get(place.start as usize..place.end as usize).unwrap_or_default())
            }
            Held::Number(number) => Member::Number(number),
            Held::Other(value) => match &**value {
                Value::String(text) => Member::Text(text),
                other => Member::Other(other),
            },
        }
    }

    /// # Errors
    /// If there is one of this usual name, or too much before it.
    fn push(&mut self, name: Name, held: Held) -> Result<(), NotStrict> {
        if let Name::Usual(usual) = name {
            let place = u32::try_from(self.list.len() + 1).map_err(|_| NotStrict)?;
            if std::mem::replace(&mut self.places[usual], place) != 0 {
                return Err(NotStrict);
            }
        }
        self.list.push((name, held));
        Ok(())
    }

    /// Whether no name that is not a usual one stands twice.
    fn are_unique(&self) -> bool {
        let own =
            || self.list.iter().filter_map(|(name, _)| if let Name::Own(name) = name { Some(name) } else { None });
        if own().count() <= PAIRS_BELOW {
            return own().enumerate().all(|(index, name)| own().take(index).all(|other| other != name));
        }
        // Whoever writes thousands of them must not have us compare each with each.
        let mut names: Vec<_> = own().collect();
        names.sort_unstable();
        names.windows(2).all(|pair| pair[0] != pair[1])
    }
}

impl PartialEq for Members {
    fn eq(&self, other: &Members) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl From<Map<String, Value>> for Members {
    fn from(map: Map<String, Value>) -> Members {
        let mut members = Members::default();
        for (name, value) in map {
            // A map has no name twice, and is not that long.
            let _ = members.push(Name::from(name.as_str()), Held::from(value));
        }
        members
    }
}

impl From<Value> for Held {
    fn from(value: Value) -> Held {
        match value {
            Value::Number(number) => Held::Number(number),
            other => Held::Other(Box::new(other)),
        }
    }
}

impl Name {
    fn as_str(&self) -> &str {
        match self {
            Name::Usual(usual) => USUAL[*usual],
            Name::Own(name) => name,
        }
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Name {
        usual(name).map_or_else(|| Name::Own(name.into()), Name::Usual)
    }
}

impl<'a> Member<'a> {
    pub fn as_str(self) -> Option<&'a str> {
        if let Member::Text(text) = self { Some(text) } else { None }
    }

    pub fn as_u64(self) -> Option<u64> {
        if let Member::Number(number) = self { number.as_u64() } else { None }
    }

    pub fn as_array(self) -> Option<&'a [Value]> {
        if let Member::Other(Value::Array(items)) = self { Some(items) } else { None }
    }

    pub fn is_string(self) -> bool {
        self.as_str().is_some()
    }

    pub fn to_value(self) -> Value {
        match self {
            Member::Text(text) => text.into(),
            Member::Number(number) => Value::Number(number.clone()),
            Member::Other(value) => value.clone(),
        }
    }
}

/// Reads an object, and nothing else.
struct Flat {
    /// The address of the text.
    start: usize,
}

impl<'de> Visitor<'de> for Flat {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members, A::Error> {
        let mut all = Members { list: Vec::with_capacity(ROOM), ..Members::default() };
        while let Some(name) = members.next_key_seed(NameOf)? {
            let held = members.next_value_seed(InPlace { start: self.start })?;
            all.push(name, held).map_err(A::Error::custom)?;
        }
        if all.are_unique() { Ok(all) } else { Err(A::Error::custom("a member stands twice")) }
    }
}

/// Reads a value; text without escapes stays where it is.
struct InPlace {
    /// The address of the text.
    start: usize,
}

impl InPlace {
    const REST: Strict = Strict { depth: DEPTH - 1 };
}

impl<'de> DeserializeSeed<'de> for InPlace {
    type Value = Held;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Held, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for InPlace {
    type Value = Held;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Held, E> {
        Self::REST.visit_unit().map(Held::from)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Held, E> {
        Self::REST.visit_bool(value).map(Held::from)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Held, E> {
        Ok(Held::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Held, E> {
        Ok(Held::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Held, E> {
        Self::REST.visit_f64(value).map(Held::from)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Held, E> {
        let place = |start: usize| Some(u32::try_from(start).ok()?..u32::try_from(start + value.len()).ok()?);
        let place = value.as_ptr().addr().checked_sub(self.start).and_then(place);
        place.map(Held::Written).ok_or_else(|| E::custom("too long"))
    }

    // One with escapes.
    fn visit_str<E: Error>(self, value: &str) -> Result<Held, E> {
        Self::REST.visit_str(value).map(Held::from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Held, A::Error> {
        Self::REST.visit_seq(items).map(Held::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Held, A::Error> {
        Self::REST.visit_map(members).map(Held::from)
    }
}

/// Reads a name.
struct NameOf;

impl<'de> DeserializeSeed<'de> for NameOf {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Name, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for NameOf {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        Ok(name.into())
    }
}

/// Writes each usual name once: for both ways between a name and its place.
macro_rules! usual {
    ($($place:literal $name:literal,)*) => {
        /// RFC 7515 (4.1), RFC 7519 (4.1), RFC 7662 (2.2), RFC 9068 (2.2), OpenID Connect Core (2 and 5.1).
        const USUAL: [&str; [$($place),*].len()] = [$($name),*];

        /// The place of a usual name.
        fn usual(name: &str) -> Option<usize> {
            match name {
                $($name => Some($place),)*
                _ => None,
            }
        }
    };
}

usual! {
    0 "alg",
    1 "kid",
    2 "typ",
    3 "iss",
    4 "sub",
    5 "aud",
    6 "exp",
    7 "nbf",
    8 "iat",
    9 "jti",
    10 "azp",
    11 "cnf",
    12 "scope",
    13 "scp",
    14 "client_id",
    15 "auth_time",
    16 "acr",
    17 "amr",
    18 "sid",
    19 "roles",
    20 "groups",
    21 "email",
    22 "name",
    23 "preferred_username",
    24 "active",
}

/// Members of a token, as a rule.
const ROOM: usize = 16;
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
            assert_eq!(members(good.as_bytes()).map(|members| members.iter().count()), Ok(count));
            for again in [0, count / 2, count.saturating_sub(1)].into_iter().filter(|again| *again < count) {
                let bad = format!("{{{},\"{again}\":0}}", list.join(","));
                assert_eq!(members(bad.as_bytes()), Err(NotStrict), "{count} {again}");
            }
        }
    }

    #[test]
    fn each_usual_name_has_a_place_of_its_own() {
        for (place, name) in USUAL.iter().enumerate() {
            assert_eq!(usual(name), Some(place), "{name}");
        }
        assert_eq!(usual("iss "), None);
    }

    #[test]
    fn a_value_is_found_by_its_name_as_it_stands() {
        let text = r#"{"x":1,"iss":"a\u0062","aud":["c"],"exp":2,"y":"\u00e9-é","sub":"d"}"#;
        let members = members(text).unwrap();
        assert_eq!(members.get("iss"), Some(Member::Text("ab")));
        assert_eq!(members.get("sub"), Some(Member::Text("d")));
        assert_eq!(members.get("y"), Some(Member::Text("é-é")));
        assert_eq!(members.get("exp").and_then(Member::as_u64), Some(2));
        assert_eq!(members.get("x").and_then(Member::as_u64), Some(1));
        assert_eq!(members.get("aud").and_then(Member::as_array).map(<[_]>::len), Some(1));
        assert_eq!((members.get("z"), members.get("nbf")), (None, None));
        assert_eq!(members.clone(), members);
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
        let name = prop_oneof![
            "[a-d]{1,2}",
            Just("\\u0061".to_owned()),
            Just("\\ud83d\\ude00".to_owned()),
            prop::sample::select(&["iss", "exp", "aud", "\\u0069ss"]).prop_map(str::to_owned),
        ];
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
