//! Numbers and moments as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::UnixTime;

/// RFC 3339, in UTC.
pub fn stamp(at: UnixTime) -> String {
    // The calendar of humantime ends with the year 9999.
    const LAST: u64 = 253_402_300_799;
    let at: SystemTime = UNIX_EPOCH + Duration::from_secs(at.0.min(LAST));
    humantime::format_rfc3339_seconds(at).to_string()
}

/// `12345` as `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds in the largest unit that fits: `90` as `1 minute`.
pub fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{} {unit}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// `part` of `whole` as `4.2 %`; what is there never reads as nothing, nor what is missing as all.
pub fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 * 100.0 / whole.max(1) as f64;
    match share {
        _ if part == 0 => "0 %".to_owned(),
        _ if part >= whole => "100 %".to_owned(),
        _ if share < 0.1 => "less than 0.1 %".to_owned(),
        _ => format!("{:.1} %", share.min(99.9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1, 59, 60, 7199, 86_399, 86_400, 500 * 86_400].map(span),
            ["0 seconds", "1 second", "59 seconds", "1 minute", "1 hour", "23 hours", "1 day", "500 days"]
        );
        let shares = [(0, 0), (0, 5), (1, 1), (1, 3), (1, 1_000_000), (999_999, 1_000_000)];
        assert_eq!(
            shares.map(|(part, whole)| percent(part, whole)),
            ["0 %", "0 %", "100 %", "33.3 %", "less than 0.1 %", "99.9 %"]
        );
        assert_eq!(stamp(UnixTime(0)), "1970-01-01T00:00:00Z");
        assert_eq!(stamp(UnixTime(u64::MAX)), "9999-12-31T23:59:59Z");
    }
}
