//! A form (`application/x-www-form-urlencoded`), read strictly: each name once, nothing replaced that cannot be read.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::model::Secret;

/// The parameters of one request; empty ones are as if they were not there (RFC 6749, section 3.2).
#[derive(Debug)]
pub struct Form {
    parameters: Vec<(String, Secret<String>)>,
    /// The only parameter that may be repeated (RFC 8707, section 2).
    pub resources: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    Encoding,
    Repeated,
}

impl Form {
    pub fn read(body: &[u8]) -> Result<Form, Malformed> {
        // `form_urlencoded` replaces what it cannot read. `&` and `=` are never part of a longer character, so the whole
        // is UTF-8 exactly if all of its parts are.
        let plain = plain(body);
        if plain.is_none() && (!has_whole_escapes(body) || percent_decode(body).decode_utf8().is_err()) {
            return Err(Malformed::Encoding);
        }
        let (mut parameters, mut resources, mut names) = (Vec::with_capacity(4), Vec::new(), Vec::with_capacity(4));
        let pairs: &mut dyn Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> = match plain {
            Some(plain) => &mut as_it_is(plain),
            None => &mut form_urlencoded::parse(body),
        };
        for (name, value) in pairs {
            if name == "resource" {
                resources.extend((!value.is_empty()).then(|| value.into_owned()));
                continue;
            }
            names.push(name.clone());
            if !value.is_empty() {
                parameters.push((name.into_owned(), Secret::new(value.into_owned())));
            }
        }
        // Not by a set: few are sent, and who sends many must not make it slow either.
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Malformed::Repeated);
        }
        Ok(Form { parameters, resources })
    }

    pub fn get(&self, name: &str) -> Option<&Secret<String>> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub fn take(&mut self, name: &str) -> Option<Secret<String>> {
        let at = self.parameters.iter().position(|(known, _)| known == name)?;
        Some(self.parameters.swap_remove(at).1)
    }
}

/// A body in which every byte stands for itself, as tokens and names mostly do.
fn plain(body: &[u8]) -> Option<&str> {
    let as_it_is = body.is_ascii() && !body.iter().any(|byte| matches!(byte, b'%' | b'+'));
    if as_it_is { std::str::from_utf8(body).ok() } else { None }
}

/// What `form_urlencoded::parse` makes of that.
fn as_it_is(plain: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = plain.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(name, value)| (name.into(), value.into()))
}

/// Decodes one name or value.
pub fn decode(text: &[u8]) -> Option<String> {
    if !has_whole_escapes(text) {
        return None;
    }
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced).decode_utf8().ok().map(|text| text.into_owned())
}

/// Whether a query carries what must never stand in a URI.
pub fn names_a_secret(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| SECRETS.contains(&&*name))
}

/// Two hexadecimal digits behind each `%`.
fn has_whole_escapes(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => rest = &rest[at + 3..],
            _ => return false,
        }
    }
    true
}

const SECRETS: [&str; 8] = [
    "client_secret",
    "client_assertion",
    "password",
    "code",
    "code_verifier",
    "refresh_token",
    "access_token",
    "token",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_stands_for_itself_is_read_as_the_library_reads_it(body in "[a-c&=._~ \\-]{0,40}") {
            let ours: Vec<_> = as_it_is(plain(body.as_bytes()).unwrap()).collect();
            let theirs: Vec<_> = form_urlencoded::parse(body.as_bytes()).collect();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn escapes_spaces_and_other_alphabets_do_not_stand_for_themselves() {
        for body in ["a=%20", "a=b+c", "a=\u{e9}"] {
            assert_eq!(plain(body.as_bytes()), None);
        }
    }
}
