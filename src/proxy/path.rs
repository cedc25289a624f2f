//! The one canonical path: what policy decides on is, byte for byte, what is forwarded.
//!
//! RFC 3986 lets one path be written in many ways. Here each becomes the same bytes, and what has no single
//! meaning is refused. What a lax upstream could still make of those bytes is the matter of [`super::readings`].

use std::borrow::Cow;

use http::uri::PathAndQuery;

/// Why a path has no canonical form. Texts never repeat the path, which may hold secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path is empty")]
    Empty,
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    #[error("the path is longer than {MAX_PATH} bytes")]
    TooLong,
    #[error("a question mark or number sign stands inside the path")]
    StrayDelimiter,
    #[error("a percent sign without two hexadecimal digits after it")]
    MalformedEscape,
    #[error("a dot segment leads above the root")]
    DotSegmentAboveRoot,
    #[error("a dot segment is written with percent-escapes")]
    EncodedDotSegment,
    #[error("a dot segment, which the proxy that asks would forward unresolved")]
    DotSegment,
    #[error("a backslash, plain or percent-encoded")]
    Backslash,
    #[error("a control character, plain or percent-encoded")]
    ControlCharacter,
    #[error("a character outside ASCII that is not percent-encoded")]
    NonAscii,
    #[error("the percent-escapes do not spell UTF-8")]
    InvalidUtf8,
    #[error("after the prefix is replaced, the path has more than one meaning")]
    AmbiguousRewrite,
}

impl PathError {
    /// The stable code for answers, logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            PathError::Empty => "empty_path",
            PathError::NotAbsolute => "not_absolute_path",
            PathError::TooLong => "path_too_long",
            PathError::StrayDelimiter => "stray_delimiter",
            PathError::MalformedEscape => "malformed_escape",
            PathError::DotSegmentAboveRoot => "dot_segment_above_root",
            PathError::EncodedDotSegment => "encoded_dot_segment",
            PathError::DotSegment => "dot_segment",
            PathError::Backslash => "backslash",
            PathError::ControlCharacter => "control_character",
            PathError::NonAscii => "non_ascii",
            PathError::InvalidUtf8 => "invalid_utf8",
            PathError::AmbiguousRewrite => "ambiguous_rewrite",
        }
    }
}

/// A path in its one form; only [`canonical`] and [`super::rewrite`] make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    text: Cow<'a, str>,
    traits: Traits,
}

/// What one look at the bytes tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Traits {
    /// There are escapes or dot segments: the bytes may have to change.
    unsettled: bool,
    /// An upstream may read the path in another way (apart from letter case).
    odd: bool,
    uppercase: bool,
    encoded_slash: bool,
}

impl CanonicalPath<'_> {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same path.
    pub(super) fn borrowed(&self) -> CanonicalPath<'_> {
        CanonicalPath { text: Cow::Borrowed(&self.text), traits: self.traits }
    }

    /// No upstream reads this path in another way, unless it ignores letter case.
    ///
    /// That is: no `%`, `;`, empty inner segment, or segment that ends with a dot.
    pub fn is_plain(&self) -> bool {
        !self.traits.odd
    }

    /// Some letter is upper-case, so an upstream that ignores case reads another path.
    pub fn has_uppercase(&self) -> bool {
        self.traits.uppercase
    }

    /// Contains `%2F`, which only routes with `allow_encoded_slashes` accept.
    pub fn has_encoded_slash(&self) -> bool {
        self.traits.encoded_slash
    }

    /// The request target to forward: this path and `query`. Shares the bytes of `original` where nothing changed.
    ///
    /// `query` must come from a parsed URI; otherwise this may fail, as [`PathError::AmbiguousRewrite`].
    pub fn target(&self, original: &PathAndQuery, query: Option<&str>) -> Result<PathAndQuery, PathError> {
        if original.path() == self.text && original.query() == query {
            return Ok(original.clone());
        }
        let target = match query {
            Some(query) => {
                let mut target = String::with_capacity(self.text.len() + 1 + query.len());
                target.push_str(&self.text);
                target.push('?');
                target.push_str(query);
                target
            }
            None => self.text.clone().into_owned(),
        };
        PathAndQuery::try_from(target).map_err(|_| PathError::AmbiguousRewrite)
    }
}

/// Brings `path` (without a query; RFC 3986, 3.3) into its canonical form.
///
/// Escapes of unreserved characters are decoded and the others upper-cased (6.2.2); dot segments are resolved
/// (5.2.4). Everything that has no one meaning is an error. The ordinary path is borrowed, not copied.
pub fn canonical(path: &str) -> Result<CanonicalPath<'_>, PathError> {
    let traits = look(path)?;
    if !traits.unsettled {
        return Ok(CanonicalPath { text: Cow::Borrowed(path), traits });
    }
    let settled = settle(path)?;
    let traits = look(&settled)?;
    let text = if settled == path { Cow::Borrowed(path) } else { Cow::Owned(settled) };
    Ok(CanonicalPath { text, traits })
}

/// Whether `path` has what [`canonical`] could change: one look, for those who ask about another spelling only.
pub fn may_be_respelled(path: &str) -> bool {
    let mut before = 0;
    path.bytes().any(|byte| {
        byte == b'%' || (byte == b'.' && before == b'/') || {
            before = byte;
            false
        }
    })
}

/// Refuses a path that would become another one, where somebody else forwards it as it came. The other spellings of
/// one canonical path (escapes in lower case or of plain letters) mean the same to everybody, or nothing.
pub(super) fn without_dot_segments(path: &str) -> Result<(), PathError> {
    let dots = path.contains("/.") && path.split('/').any(|segment| segment == "." || segment == "..");
    if dots { Err(PathError::DotSegment) } else { Ok(()) }
}

/// `text`, if it is canonical as it stands.
pub(super) fn already_canonical(text: Cow<'_, str>) -> Result<Option<CanonicalPath<'_>>, PathError> {
    let traits = look(&text)?;
    let settled = !traits.unsettled || settle(&text)? == text;
    Ok(settled.then_some(CanonicalPath { text, traits }))
}

/// One pass over the bytes: refuses what no path may hold and tells what is special about the rest.
fn look(path: &str) -> Result<Traits, PathError> {
    let bytes = path.as_bytes();
    match bytes.first() {
        None => return Err(PathError::Empty),
        Some(b'/') => {}
        Some(_) => return Err(PathError::NotAbsolute),
    }
    if bytes.len() > MAX_PATH {
        return Err(PathError::TooLong);
    }
    let mut traits = Traits::default();
    let mut segment = 1;
    for (at, &byte) in bytes.iter().enumerate().skip(1) {
        if PLAIN[usize::from(byte)] {
            continue;
        }
        match byte {
            b'/' => {
                traits.end_segment(&bytes[segment..at]);
                traits.odd |= segment == at;
                segment = at + 1;
            }
            b'A'..=b'Z' => traits.uppercase = true,
            b'%' => {
                traits.unsettled = true;
                traits.odd = true;
                traits.encoded_slash |= bytes[at + 1..].starts_with(b"2F");
            }
            b';' => traits.odd = true,
            b'\\' => return Err(PathError::Backslash),
            b'?' | b'#' => return Err(PathError::StrayDelimiter),
            // A space cannot come off the wire; it would end the request line.
            0..=b' ' | 0x7f => return Err(PathError::ControlCharacter),
            0x80.. => return Err(PathError::NonAscii),
            _ => {}
        }
    }
    traits.end_segment(&bytes[segment..]);
    Ok(traits)
}

impl Traits {
    fn end_segment(&mut self, segment: &[u8]) {
        if segment.ends_with(b".") {
            self.odd = true;
            self.unsettled |= segment == b"." || segment == b"..";
        }
    }
}

/// Decodes, upper-cases and resolves. `path` has passed [`look`].
fn settle(path: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len());
    let mut decoded = Vec::new();
    let mut segments = path[1..].split('/').peekable();
    while let Some(raw) = segments.next() {
        let start = out.len();
        out.push('/');
        let encoded_dot = settle_segment(raw, &mut out, &mut decoded)?;
        let climb = match &out[start + 1..] {
            "." => false,
            ".." => true,
            _ => continue,
        };
        if encoded_dot {
            return Err(PathError::EncodedDotSegment);
        }
        out.truncate(start);
        if climb {
            let parent = out.rfind('/').ok_or(PathError::DotSegmentAboveRoot)?;
            out.truncate(parent);
        }
        if segments.peek().is_none() {
            out.push('/');
        }
    }
    Ok(out)
}

/// Appends the canonical form of one segment; tells whether a dot in it was written as an escape.
fn settle_segment(raw: &str, out: &mut String, decoded: &mut Vec<u8>) -> Result<bool, PathError> {
    let mut encoded_dot = false;
    decoded.clear();
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            out.push(char::from(byte));
            continue;
        }
        let value = escape(bytes.next(), bytes.next()).ok_or(PathError::MalformedEscape)?;
        decoded.push(value);
        match value {
            b'\\' => return Err(PathError::Backslash),
            0..=0x1f | 0x7f => return Err(PathError::ControlCharacter),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded_dot |= value == b'.';
                out.push(char::from(value));
            }
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(value >> 4)]));
                out.push(char::from(HEX[usize::from(value & 15)]));
            }
        }
    }
    // Overlong forms (C0 AF for a slash) are no UTF-8 and fail here.
    std::str::from_utf8(decoded).map_err(|_| PathError::InvalidUtf8)?;
    Ok(encoded_dot)
}

/// The value of two hexadecimal digits.
pub(super) fn escape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high?)? << 4 | digit(low?)?)
}

/// Bytes that mean themselves to everybody: a table, since it is most of what paths are made of.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        byte += 1;
    }
    table
};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// More than this is no path but an attack; browsers and servers commonly stop at the same length.
const MAX_PATH: usize = 8192;

#[cfg(test)]
mod tests;
