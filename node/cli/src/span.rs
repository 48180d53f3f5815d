//! Spans of time as people write them: `300ms`, `2s`, `5m`, `1h`.

use std::time::Duration;

/// Understands a span; a number without a unit is refused, since nobody agrees on what it means.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{text}` is no span of time: write 300ms, 2s, 5m or 1h")),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` has no number that fits"))?;
    let ms = number.checked_mul(unit_ms).filter(|ms| *ms <= 31 * 24 * 3_600_000);
    match ms {
        Some(0) => Err("a span of time must be above zero".to_owned()),
        Some(ms) => Ok(Duration::from_millis(ms)),
        None => Err(format!("`{text}` is longer than a month")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_need_a_unit_and_a_bound() {
        assert_eq!(parse("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("5m"), Ok(Duration::from_secs(300)));
        for wrong in
            ["", "2", "s", "2 s", "-1s", "0s", "99999999999999999999s", "1000h", "2d", "1.5s"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
