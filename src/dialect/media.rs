//! Media types: what a body is said to be, and what the answer may be (RFC 9110, section 12.5.1).

use http::{HeaderMap, HeaderValue, header};

/// The media types that the dialects with JSON and XML know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    ApplicationJson,
    TextJson,
    ApplicationXml,
    TextXml,
}

impl Media {
    pub const ALL: [Media; 4] = [Media::ApplicationJson, Media::TextJson, Media::ApplicationXml, Media::TextXml];

    pub fn is_xml(self) -> bool {
        matches!(self, Media::ApplicationXml | Media::TextXml)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Media::ApplicationJson => "application/json",
            Media::TextJson => "text/json",
            Media::ApplicationXml => "application/xml",
            Media::TextXml => "text/xml",
        }
    }

    /// With the charset, without which old readers of `text/…` assume US-ASCII.
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Media::ApplicationJson => "application/json; charset=utf-8",
            Media::TextJson => "text/json; charset=utf-8",
            Media::ApplicationXml => "application/xml; charset=utf-8",
            Media::TextXml => "text/xml; charset=utf-8",
        })
    }

    /// What the body is said to be.
    pub fn of(headers: &HeaderMap) -> Option<Media> {
        let essence = essence(headers)?;
        Media::ALL.into_iter().find(|media| media.as_str() == essence)
    }

    /// What to answer in.
    pub fn negotiate(headers: &HeaderMap, request: Media) -> Media {
        Media::ALL[negotiate(headers, Some(request.as_str()), &Media::ALL.map(Media::as_str))]
    }
}

/// The one `Content-Type` of a body that is not encoded further, in lower case. Parameters are left to the reader: what
/// is not UTF-8 does not get past it, whatever it is called.
pub fn essence(headers: &HeaderMap) -> Option<String> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(Ok(given)), None) = (types.next().map(HeaderValue::to_str), types.next()) else { return None };
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(|coding| coding == "identity") {
        return None;
    }
    Some(given.split(';').next()?.trim().to_ascii_lowercase())
}

/// The index of what to answer in, of the media types that are `offered`: the best that `Accept` names; among equals
/// what is named more exactly, then what the request itself was in. That as well if nothing is acceptable: old clients
/// rather read it than a 406.
pub fn negotiate(headers: &HeaderMap, request: Option<&str>, offered: &[&str]) -> usize {
    let ranges: Vec<Range> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::read)
        .collect();
    // Of equal ones the request's own type, then its form, then the order of what is offered.
    let rank = |index: &usize| {
        let media = offered[*index];
        let best = ranges.iter().filter_map(|range| Some((range.exactness(media)?, range.quality))).max();
        let (exactness, quality) = best.unwrap_or((0, 0));
        // What is wanted not at all is not wanted more exactly than anything else.
        let exactness = if quality == 0 { 0 } else { exactness };
        (quality, exactness, Some(media) == request, request.is_some_and(|request| is_xml(media) == is_xml(request)))
    };
    (0..offered.len()).rev().max_by_key(rank).unwrap_or(0)
}

fn is_xml(essence: &str) -> bool {
    essence.ends_with("xml")
}

/// One element of `Accept`.
struct Range {
    main: String,
    sub: String,
    /// Thousandths.
    quality: u16,
}

impl Range {
    /// `None` for what nobody can understand.
    fn read(text: &str) -> Option<Range> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let mut quality = 1000;
        for parameter in parts {
            if let Some((name, weight)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                quality = thousandths(weight.trim())?;
            }
        }
        Some(Range { main: main.to_ascii_lowercase(), sub: sub.to_ascii_lowercase(), quality })
    }

    /// How exactly it names `media`; `None` if it does not.
    fn exactness(&self, media: &str) -> Option<u8> {
        let (main, sub) = media.split_once('/')?;
        match (&*self.main, &*self.sub) {
            (named, exact) if named == main && exact == sub => Some(3),
            (named, "*") if named == main => Some(2),
            ("*", "*") => Some(1),
            _ => None,
        }
    }
}

/// `0.5` → 500; also `.5`, which Java's own client sends.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if weight.is_empty() || fraction.len() > 3 || !matches!(whole, "" | "0" | "1") || !digits(fraction) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    Some(if whole == "1" { 1000 } else { fraction })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(accept: &[&'static str], request: Media) -> Media {
        let mut headers = HeaderMap::new();
        accept.iter().for_each(|accept| {
            headers.append(header::ACCEPT, HeaderValue::from_static(accept));
        });
        Media::negotiate(&headers, request)
    }

    #[test]
    fn the_answer_is_what_is_wanted_most() {
        use Media::{ApplicationJson as Json, ApplicationXml as Xml, TextJson, TextXml};
        for (accept, from_json, from_text_xml) in [
            (&[][..], Json, TextXml),
            (&["*/*"], Json, TextXml),
            (&["application/json"], Json, Json),
            (&["text/json"], TextJson, TextJson),
            (&["APPLICATION/XML"], Xml, Xml),
            (&["text/xml"], TextXml, TextXml),
            (&["text/*"], TextJson, TextXml),
            (&["application/*"], Json, Xml),
            (&["application/json;q=0.5, application/xml"], Xml, Xml),
            (&["application/json;q=0.5", "application/xml;q=0.501"], Xml, Xml),
            (&["application/json, application/xml"], Json, Xml),
            (&["application/json, */*;q=0.9"], Json, Json),
            (&["application/json, text/plain, */*"], Json, Json),
            (&["text/html, image/gif, *; q=.2, */*; q=.2"], Json, TextXml),
            (&["*/*, application/json;q=0"], TextJson, TextXml),
            (&["application/json;q=0, text/json;q=0, */*;q=0.1"], Xml, TextXml),
            (&["text/html"], Json, TextXml),
            (&["*/*;q=0"], Json, TextXml),
            (&["application/xml;q=2, application/json;q=0.001"], Json, Json),
            (&["application/xml;q=nan, ;;,,/"], Json, TextXml),
            (&["application/xml; charset=utf-8; Q=1.000"], Xml, Xml),
        ] {
            assert_eq!(negotiated(accept, Json), from_json, "{accept:?}");
            assert_eq!(negotiated(accept, TextXml), from_text_xml, "{accept:?}");
        }
    }

    #[test]
    fn a_body_is_what_one_content_type_says() {
        let of = |types: &[&'static str]| {
            let mut headers = HeaderMap::new();
            types.iter().for_each(|value| {
                headers.append(header::CONTENT_TYPE, HeaderValue::from_static(value));
            });
            Media::of(&headers)
        };
        assert_eq!(of(&["application/json"]), Some(Media::ApplicationJson));
        assert_eq!(of(&["Application/JSON ; charset=UTF-8"]), Some(Media::ApplicationJson));
        assert_eq!(of(&["text/xml; charset=utf-8"]), Some(Media::TextXml));
        for none in [&[][..], &[""], &["text/plain"], &["application/json", "application/json"], &["json"]] {
            assert_eq!(of(none), None, "{none:?}");
        }
        let mut packed = HeaderMap::new();
        packed.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        packed.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(Media::of(&packed), None);
    }
}
