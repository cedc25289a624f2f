//! `traceparent` (W3C Trace Context): where somebody else's span stands.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Place, SAMPLED};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    pub place: Place,
    pub flags: u8,
}

impl Parent {
    /// What the client says; `None` if it says nothing, something malformed, or several things.
    pub(super) fn of(headers: &HeaderMap) -> Option<Parent> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Parent::read(value.as_bytes())
    }

    /// Section 3.2: four fields between dashes; version 00 has no more, a later one may.
    fn read(text: &[u8]) -> Option<Parent> {
        let (head, rest) = text.split_at_checked(LENGTH)?;
        let version = number(&head[..2])?;
        let goes_on = rest.first() == Some(&b'-');
        let framed = [2, 35, 52].into_iter().all(|at| head[at] == b'-');
        if !framed || version == 0xff || !(rest.is_empty() || (version > 0 && goes_on)) {
            return None;
        }
        let (trace, id) = (number(&head[3..35])?, number(&head[36..52])? as u64);
        let flags = number(&head[53..55])? as u8;
        (trace != 0 && id != 0).then_some(Parent { place: Place { trace, id }, flags })
    }

    pub(super) fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub(super) fn header(self) -> HeaderValue {
        let text = format!("00-{:032x}-{:016x}-{:02x}", self.place.trace, self.place.id, self.flags);
        HeaderValue::from_str(&text).expect("hexadecimal digits and dashes may stand in a header")
    }
}

/// Of hexadecimal digits in lower case.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

const LENGTH: usize = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".len();
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_again() {
        let parent = Parent::read(GOOD.as_bytes()).unwrap();
        assert_eq!(parent.place.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((parent.place.id, parent.is_sampled()), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(parent.header(), GOOD);
    }

    #[test]
    fn what_is_malformed_is_nothing() {
        for (from, to) in [
            ("00-4", "ff-4"),
            ("4bf9", "4BF9"),
            ("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            ("00f067aa0ba902b7", "0000000000000000"),
            ("-01", "-0g"),
            ("-01", "-01-more"),
            ("-01", "_01"),
            ("-01", ""),
            ("00-4", "0-04"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_eq!(Parent::read(text.as_bytes()), None, "{text}");
        }
        assert!(Parent::read(GOOD.replacen("00-4", "01-4", 1).replace("-01", "-01-more").as_bytes()).is_some());
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        }
        assert_eq!(Parent::of(&twice), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Parent::read(&bytes);
        }

        #[test]
        fn every_place_survives_its_header(trace in 1_u128.., id in 1_u64.., flags: u8) {
            let parent = Parent { place: Place { trace, id }, flags };
            prop_assert_eq!(Parent::read(parent.header().as_bytes()), Some(parent));
        }
    }
}
