//! The language that a browser asks for (RFC 9110, section 12.5.4).

use http::{HeaderMap, header::ACCEPT_LANGUAGE};

use super::texts::{ALL, Texts};

/// The texts in the language that is liked best; of equals, the one named first.
pub fn of(headers: &HeaderMap) -> &'static Texts {
    let mut best: Option<(u16, &'static Texts)> = None;
    let values = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')).take(MOST_RANGES) {
        let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
        let Some(texts) = named(tag.trim()) else { continue };
        let liked = weight(parameters.trim());
        if liked > best.map_or(0, |(best, _)| best) {
            best = Some((liked, texts));
        }
    }
    best.map_or(ALL[0], |(_, texts)| texts)
}

fn named(tag: &str) -> Option<&'static Texts> {
    if tag == "*" {
        return Some(ALL[0]);
    }
    let first = |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
    ALL.into_iter().find(|texts| first(texts.lang) == first(tag))
}

/// Thousandths; what is no weight counts as not wanted.
fn weight(parameters: &str) -> u16 {
    if parameters.is_empty() {
        return 1000;
    }
    let text = parameters.strip_prefix("q=").or_else(|| parameters.strip_prefix("Q="));
    let weight = text.and_then(|text| text.trim().parse::<f32>().ok()).filter(|weight| (0.0..=1.0).contains(weight));
    weight.map_or(0, |weight| (weight * 1000.0) as u16)
}

/// More is not a person's list.
const MOST_RANGES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_liked_best_is_spoken() {
        for (accept, lang) in [
            ("", "en"),
            ("pt", "pt"),
            ("pt-BR,pt;q=0.9,en;q=0.8", "pt"),
            ("PT-pt", "pt"),
            ("de-DE, pt;q=0.5, en;q=0.4", "pt"),
            ("en;q=0.2, pt ; q=0.3", "pt"),
            ("en, pt", "en"),
            ("pt;q=0, *;q=0.1", "en"),
            ("pt;q=0", "en"),
            ("*, pt;q=0.9", "en"),
            ("fr, de", "en"),
            ("pt;q=2", "en"),
            ("pt;q=NaN, ;;;,,=", "en"),
            ("ptx", "en"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, accept.parse().unwrap());
            assert_eq!(of(&headers).lang, lang, "{accept}");
        }
        assert_eq!(of(&HeaderMap::new()).lang, "en");
    }
}
