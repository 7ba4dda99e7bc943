//! Headers of requests that hold lists: what a client would rather have, and what it has already. Pure.

use actix_web::http::header::{self, HeaderMap, HeaderName};

/// The items of a header of preferences with their weights in thousandths (RFC 9110 §12.4.2): 1000 where none is said, 0 where
/// what is said is none.
pub fn weighted(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = (&str, u16)> {
    items(headers, name).map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let named = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0f32));
        // "NaN" is a number to the parser, and 0 to the cast.
        (named, (weight.clamp(0.0, 1.0) * 1000.0) as u16)
    })
}

/// Whether a header of preferences names `wanted`, and not to forbid it. `*` does not count: it says nothing of what the client
/// would rather have.
pub fn accepts(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    weighted(headers, name).any(|(named, weight)| weight > 0 && named.eq_ignore_ascii_case(wanted))
}

/// What a client says it has, by the `ETag`s in `If-None-Match` without their quotes. A weak one counts like a strong one
/// (RFC 9110 §13.1.2): proxies that compress make them weak.
pub fn known_tags(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    items(headers, header::IF_NONE_MATCH).filter_map(|tag| {
        let tag = tag.trim();
        tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')
    })
}

fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn with(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_coding_counts_where_it_is_named_and_not_forbidden() {
        for (value, br) in [
            ("gzip, deflate, br", true),
            ("gzip;q=1.0, BR;q=0.5", true),
            ("br;level=4;q=0.5", true),
            ("br ; q=0", false),
            ("br;q=0.000", false),
            ("br;q=much", false),
            ("br;q=NaN", false),
            ("br;q=-1", false),
            ("*", false),
            ("brotli", false),
            ("", false),
        ] {
            let headers = with(header::ACCEPT_ENCODING, &[value]);
            assert_eq!(accepts(&headers, header::ACCEPT_ENCODING, "br"), br, "{value}");
        }
    }

    #[test]
    fn browsers_accept_pages_and_programs_that_take_anything_do_not() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for (value, expected) in [(browser, true), ("*/*", false), ("application/json", false)] {
            assert_eq!(
                accepts(&with(header::ACCEPT, &[value]), header::ACCEPT, "text/html"),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn tags_are_read_from_all_lines_whether_weak_or_strong() {
        let headers = with(header::IF_NONE_MATCH, &["\"a\", W/\"b\"", "\"c\"", "d, \"", "*"]);
        assert_eq!(known_tags(&headers).collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
