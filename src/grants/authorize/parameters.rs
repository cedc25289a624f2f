//! The parameters of an authorization request, as bytes: `state` must come back as it was.

use std::borrow::Cow;

/// What a query or a form says, in its order.
pub struct Parameters<'a>(Vec<(Bytes<'a>, Bytes<'a>)>);

/// Borrowed where nothing was encoded.
type Bytes<'a> = Cow<'a, [u8]>;

/// A parameter that stands there more than once (RFC 6749, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated;

impl<'a> Parameters<'a> {
    /// Reads `application/x-www-form-urlencoded`. Whatever the bytes are, they are parameters of some kind.
    pub fn parse(form: &'a [u8]) -> Parameters<'a> {
        let pairs = form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = at.map_or((pair, &pair[pair.len()..]), |at| (&pair[..at], &pair[at + 1..]));
            (decode(name), decode(value))
        });
        Parameters(pairs.collect())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(own, _)| **own == *name.as_bytes()).map(|(_, value)| &**value)
    }

    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The one value; one without characters counts as left out (RFC 6749, section 3.1).
    ///
    /// # Errors
    /// If it stands there more than once.
    pub fn bytes(&self, name: &str) -> Result<Option<&[u8]>, Repeated> {
        let mut all = self.all(name);
        let first = all.next();
        if all.next().is_some() { Err(Repeated) } else { Ok(first.filter(|value| !value.is_empty())) }
    }

    /// The same, where only text makes sense. What is no UTF-8 gets characters that nothing of ours has.
    ///
    /// # Errors
    /// If it stands there more than once.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'_, str>>, Repeated> {
        Ok(self.bytes(name)?.map(String::from_utf8_lossy))
    }

    /// Every value of a parameter that may be repeated.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        self.all(name).filter(|value| !value.is_empty()).map(String::from_utf8_lossy)
    }

    /// Whether any parameter but those in `except` stands there more than once.
    pub fn repeats(&self, except: &[&str]) -> bool {
        let mut names: Vec<&[u8]> = self.0.iter().map(|(name, _)| &**name).collect();
        names.retain(|name| !except.iter().any(|except| except.as_bytes() == *name));
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }
}

fn decode(encoded: &[u8]) -> Cow<'_, [u8]> {
    if !encoded.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(encoded);
    }
    let spaced: Vec<u8> = encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Cow::Owned(percent_encoding::percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_were_encoded() {
        let every: Vec<u8> = (0..=255).collect();
        let encoded = format!("a=1&state={}", form_urlencoded::byte_serialize(&every).collect::<String>());
        assert_eq!(Parameters::parse(encoded.as_bytes()).bytes("state"), Ok(Some(&*every)));
        assert_eq!(Parameters::parse(b"x=%zz%4").bytes("x"), Ok(Some(&b"%zz%4"[..])));
    }

    #[test]
    fn an_empty_value_counts_as_none_and_a_second_one_as_too_many() {
        let parameters = Parameters::parse(b"a=&b=1&b=&&c&d=x=y&%61b=q");
        assert_eq!(parameters.bytes("a"), Ok(None));
        assert_eq!(parameters.bytes("b"), Err(Repeated));
        assert_eq!(parameters.bytes("c"), Ok(None));
        assert_eq!(parameters.text("d").unwrap().as_deref(), Some("x=y"));
        assert_eq!(parameters.text("ab").unwrap().as_deref(), Some("q"));
        assert!(parameters.repeats(&[]) && !parameters.repeats(&["b"]));
        assert!(parameters.has("c") && !parameters.has("e"));
    }
}
