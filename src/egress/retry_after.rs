//! When a service wants to be asked again (RFC 9110, section 10.2.3). Pure.

use crate::kernel::Moment;

/// The longest wait that is believed, in seconds: a day.
const LONGEST: i64 = 24 * 3600;

/// Seconds, or a date. At most a day counts, and nothing that is over.
#[must_use]
pub fn retry_after(text: &str, now: Moment) -> Option<Moment> {
    let text = text.trim();
    let longest = now.plus_seconds(LONGEST);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are a long time.
        return Some(text.parse().map_or(longest, |seconds: i64| now.plus_seconds(seconds.min(LONGEST))));
    }
    let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let at = Moment::from_millis(i64::try_from(since.as_millis()).ok()?);
    (at > now).then(|| at.min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_count_up_to_a_day_and_nothing_else_does() {
        // Tue, 05 May 2026 14:05:00 GMT
        let now = Moment::from_millis(1_777_989_900_000);
        let seconds = |text: &str| retry_after(text, now).map(|at| (at.millis() - now.millis()) / 1000);
        for (text, expected) in [("0", 0), (" 120 ", 120), ("99999999999999999999999", LONGEST), ("Tue, 05 May 2026 14:06:00 GMT", 60)] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        assert_eq!(seconds("Tue, 05 May 2099 14:06:00 GMT"), Some(LONGEST));
        for text in ["", "-1", "1.5", "soon", "Tue, 05 May 2026 14:04:00 GMT", "1e9"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
