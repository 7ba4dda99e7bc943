//! Values as people write and read them. Pure.

use std::time::Duration;

use common::lifetime::TimeLimit;

/// Whole seconds from `90`, `15m`, `2h`, `7d`, `1h 30m`.
///
/// # Errors
/// What is wrong with the text.
pub fn seconds(text: &str) -> Result<u32, String> {
    let duration = match text.parse() {
        Ok(seconds) => return Ok(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| format!("{text:?} is no time; write 90s, 15m, 2h or 7d"))?,
    };
    if duration.subsec_nanos() != 0 {
        return Err(format!("{text:?} has parts of a second"));
    }
    u32::try_from(duration.as_secs()).map_err(|_| format!("{text:?} is too long"))
}

/// [`seconds`] as a duration.
///
/// # Errors
/// What is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    seconds(text).map(|seconds| Duration::from_secs(seconds.into()))
}

/// [`seconds`], or `never`.
///
/// # Errors
/// What is wrong with the text.
pub fn limit(text: &str) -> Result<TimeLimit, String> {
    if text == "never" { Ok(TimeLimit::Never) } else { seconds(text).map(TimeLimit::After) }
}

/// `1280x720`.
///
/// # Errors
/// It is no size.
pub fn size(text: &str) -> Result<(u32, u32), String> {
    let sides =
        text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    sides.ok_or_else(|| format!("{text:?} is no size; write it as 1280x720"))
}

/// `NAME=VALUE`.
///
/// # Errors
/// It has no name.
pub fn variable(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = parts.ok_or_else(|| format!("{text:?} is no variable; write NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A span of time in its largest unit: `5s`, `3m`, `2h`, `4d`.
pub fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..86_400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// What a log has gained: `now` without the lines at its start that `before` ends with.
pub fn gained<'a>(before: &[String], now: &'a [String]) -> &'a [String] {
    let overlap = (0..=before.len()).map(|from| &before[from..]).find(|rest| now.starts_with(rest));
    &now[overlap.map_or(0, <[String]>::len)..]
}

/// A text without what would steer a terminal, for titles and reasons that come from programs.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_usual_units() {
        for (text, expected) in
            [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("1h 30m", 5400)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "soon", "-1", "100ms", "99999999999s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert_eq!(limit("never"), Ok(TimeLimit::Never));
        assert_eq!(limit("1m"), Ok(TimeLimit::After(60)));
    }

    #[test]
    fn sizes_and_variables_are_read() {
        assert_eq!(size("1280x720"), Ok((1280, 720)));
        for text in ["", "1280", "x", "1280x", "1280x-1", "1280X720"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(variable("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(variable("A").is_err() && variable("=a").is_err());
    }

    #[test]
    fn spans_have_one_unit() {
        for (seconds, expected) in [(-5, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (90_000, "1d")] {
            assert_eq!(span(seconds), expected);
        }
    }

    #[test]
    fn only_new_lines_of_a_log_are_shown() {
        let lines = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        for (before, now, expected) in [
            ("", "ab", "ab"),
            ("ab", "ab", ""),
            ("ab", "abc", "c"),
            ("abc", "bcd", "d"),
            ("aa", "aaa", "a"),
            ("abc", "xyz", "xyz"),
        ] {
            assert_eq!(gained(&lines(before), &lines(now)), lines(expected), "{before} {now}");
        }
    }

    #[test]
    fn titles_do_not_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\nc é"), "a [31mb c é");
    }
}
