//! Addresses that may hold a secret: in the user information, the path, the query or the fragment, as cameras and
//! streaming services differ in where they want it.
//!
//! Such an address has two forms. The whole one is what clients give and connections need: it travels by
//! [`Serialize`] between the processes and into the database, and is read by [`SecretUrl::expose`] alone. All that is
//! shown is the redacted one: by `Display`, `Debug` and [`SecretUrl::redacted`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

/// What is shown instead of a secret.
const HIDDEN: &str = "***";
/// How to write what would otherwise end the user information.
const HINT: &str = "must be a URL whose user and password are percent-encoded: write %23 for '#', %2F for '/', %3F for '?', %40 \
                    for '@', %3A for ':' and %25 for '%'";

/// A URL, file or name of a stream. It may hold a secret, so it is shown with `***` for everything but scheme, host and
/// port of a URL.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
#[ts(type = "string")]
pub struct SecretUrl(String);

/// A URL that does not say for certain where its user information ends (RFC 3986 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{HINT}")]
pub struct Ambiguous;

impl SecretUrl {
    /// From a text as it was given.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole address, for whoever connects to it. Not for logs, messages or arguments of processes.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The address as it may be shown.
    #[must_use]
    pub fn redacted(&self) -> Self {
        Self(self.to_string())
    }

    /// Checks that it is certain what of a URL is user and password, and what is the host.
    ///
    /// # Errors
    /// [`Ambiguous`], usually because of a password that is not percent-encoded.
    pub fn check(&self) -> Result<(), Ambiguous> {
        match Form::of(&self.0) {
            Form::Url { parts: None, .. } => Err(Ambiguous),
            Form::Url { .. } | Form::Opaque(_) | Form::Local => Ok(()),
        }
    }

    /// The secret parts of the address, longest first: user information, password, path, query and their pieces.
    /// Empty for files and names.
    pub fn secrets(&self) -> Vec<&str> {
        /// Shorter pieces of a path or query are words such as `live`, `true` or `channel`.
        const MIN_PIECE: usize = 8;
        let Form::Url { rest, .. } = Form::of(&self.0) else { return Vec::new() };
        let (authority, tail) = split_authority(rest);
        let login = authority.rsplit_once('@').map(|(login, _)| login);
        let password = login.and_then(|login| login.split_once(':')).map(|(_, password)| password);
        let pieces = tail.split(['/', '?', '#', '&', ';']).filter(|piece| piece.len() >= MIN_PIECE);
        // Values of a query are secrets more often than segments of a path are.
        let query = tail.split_once('?').map_or("", |(_, query)| query);
        let values = query.split(['&', ';', '#']).filter_map(|pair| pair.split_once('='));
        let values = values.map(|(_, value)| value).filter(|value| value.len() > 3);
        let mut all: Vec<&str> =
            login.into_iter().chain(password).chain([tail, query]).chain(pieces).chain(values).collect();
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all.dedup();
        all
    }
}

/// The text with every URL in it redacted, as programs repeat addresses in what they print.
pub fn redact_urls(text: &str) -> String {
    map_urls(text, |url| SecretUrl::new(url).to_string())
}

/// The text without any URL, path of a file or IP address, for those who are not to know where something comes from.
pub fn hide_addresses(text: &str) -> String {
    let is_address = |word: &str| word.parse::<SocketAddr>().is_ok() || word.parse::<IpAddr>().is_ok();
    let hidden = hide_paths(&map_urls(text, |_| HIDDEN.to_owned()));
    let words = hidden.split_inclusive(char::is_whitespace).map(|word| {
        let address = word.trim_matches(|c: char| !c.is_ascii_hexdigit() && c != '[' && c != ']');
        if is_address(address) { word.replace(address, HIDDEN) } else { word.to_owned() }
    });
    words.collect()
}

/// Paths may have spaces in them: hidden is all up to the quotation mark that ends one, or the colon after which programs say what is
/// wrong with it.
fn hide_paths(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = path_begin(rest) {
        let (before, path) = rest.split_at(at);
        let quote = before.chars().next_back().filter(|last| "'\"".contains(*last));
        let end = match quote {
            Some(quote) => path.find(quote),
            None => path.find(": "),
        };
        let end = end.unwrap_or(path.trim_end_matches(['.', ',', ')']).len());
        shown.push_str(before);
        shown.push_str(HIDDEN);
        rest = &path[end..];
    }
    shown + rest
}

/// Where the first absolute path begins, with `file:` if that is said of it.
fn path_begin(text: &str) -> Option<usize> {
    let named = text.find("file:");
    let mut before = ' ';
    let slash = text.char_indices().find_map(|(at, c)| {
        let begins = c == '/' && (before.is_whitespace() || "'\"(=".contains(before));
        before = c;
        // A slash by itself is punctuation.
        let is_path = text[at..].chars().nth(1).is_some_and(|next| !next.is_whitespace());
        (begins && is_path).then_some(at)
    });
    [named, slash].into_iter().flatten().min()
}

fn map_urls(text: &str, show: impl Fn(&str) -> String) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let scheme = rest[..at].bytes().rev().take_while(|byte| is_of_scheme(*byte)).count();
        let (before, url) = rest.split_at(at - scheme);
        let end = url.find(|c: char| c.is_whitespace() || c.is_control() || "'\"<>|".contains(c));
        // Punctuation of the sentence that the URL stands in.
        let url = url[..end.unwrap_or(url.len())].trim_end_matches([':', ',', ';', '.', ')']);
        let url = if url.len() < scheme + 3 { &rest[at - scheme..at + 3] } else { url };
        shown.push_str(before);
        shown.push_str(&show(url));
        rest = &rest[before.len() + url.len()..];
    }
    shown + rest
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Form::of(&self.0) {
            Form::Local => f.write_str(&self.0),
            Form::Opaque(scheme) => write!(f, "{scheme}:{HIDDEN}"),
            Form::Url { scheme, parts: None, .. } => write!(f, "{scheme}://{HIDDEN}"),
            Form::Url { scheme, parts: Some(parts), .. } => {
                let login = if parts.has_login { "***@" } else { "" };
                let tail = match parts.tail {
                    "" | "/" => parts.tail.to_owned(),
                    _ => format!("/{HIDDEN}"),
                };
                write!(f, "{scheme}://{login}{}{tail}", parts.host)
            }
        }
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// What an address is.
enum Form<'a> {
    /// A file of this machine or the name of a stream, which hold no secret.
    Local,
    /// `scheme:something`, which is of no form that we know.
    Opaque(&'a str),
    /// `scheme://rest`; without parts if it is [`Ambiguous`].
    Url { scheme: &'a str, rest: &'a str, parts: Option<Parts<'a>> },
}

struct Parts<'a> {
    has_login: bool,
    /// With its port.
    host: &'a str,
    /// Path, query and fragment.
    tail: &'a str,
}

impl<'a> Form<'a> {
    fn of(text: &'a str) -> Self {
        let Some((scheme, rest)) = text.split_once(':') else { return Self::Local };
        // A single letter is a drive, and a file may have a colon in its name.
        if scheme.len() < 2 || !scheme.bytes().all(is_of_scheme) {
            return match text.split_once("://") {
                Some((_, rest)) => Self::Url { scheme: HIDDEN, rest, parts: None },
                None => Self::Local,
            };
        }
        if scheme.eq_ignore_ascii_case("file") {
            return Self::Local;
        }
        match rest.strip_prefix("//") {
            Some(rest) => Self::Url { scheme, rest, parts: Parts::of(rest) },
            None => Self::Opaque(scheme),
        }
    }
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Option<Self> {
        let (authority, tail) = split_authority(rest);
        let (login, host) = match authority.split_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, authority),
        };
        let (name, port) = match host.rfind(']') {
            Some(end) => host.split_at(end + 1),
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let port_fits = match port.strip_prefix(':') {
            Some(digits) => digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()),
            None => port.is_empty(),
        };
        // An '@' further on may be the end of the user information, with what seems to be host and port a part of it.
        let is_certain = !tail.contains('@') || is_surely_host(name);
        (is_host(name) && port_fits && is_certain).then_some(Self { has_login: login.is_some(), host, tail })
    }
}

fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

fn is_of_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

/// Is it of the form of a host? Empty, where the scheme means every address of this machine.
fn is_host(name: &str) -> bool {
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.chars().all(|c| c.is_ascii_hexdigit() || ":.%".contains(c)),
        None => name.chars().all(|c| c.is_alphanumeric() || "-._".contains(c)),
    }
}

fn is_surely_host(name: &str) -> bool {
    name.starts_with('[') || name.contains('.') || name == "localhost"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        SecretUrl::new(text).to_string()
    }

    #[test]
    fn only_scheme_host_and_port_are_shown() {
        for (url, expected) in [
            ("rtsp://admin:pw@10.0.0.7:554/a?b=c@d", "rtsp://***@10.0.0.7:554/***"),
            ("http://127.0.0.1:9/flv?user=admin&password=pw", "http://127.0.0.1:9/***"),
            ("https://h/live/KEY#x", "https://h/***"),
            ("rtmp://[::1]:1935/app", "rtmp://[::1]:1935/***"),
            ("srt://:9000?passphrase=pw", "srt://:9000/***"),
            ("udp://@239.0.0.1:1234", "udp://***@239.0.0.1:1234"),
            ("rtsp://h", "rtsp://h"),
            ("rtsp://h/", "rtsp://h/"),
            ("data:secret", "data:***"),
            ("camera1", "camera1"),
            ("/srv/a.mp4", "/srv/a.mp4"),
            ("file:///srv/a.mp4", "file:///srv/a.mp4"),
        ] {
            assert_eq!(shown(url), expected);
            assert_eq!(format!("{:?}", SecretUrl::new(url)), format!("{expected:?}"));
            assert_eq!(shown(expected), expected, "nothing is lost by redacting twice");
            SecretUrl::new(url).check().unwrap();
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_refused_and_not_shown() {
        for raw in [
            "geh#eim", "geh/eim", "geh?eim", "geh@eim", "12/3@x", "12#3", "12?3", "a:b/c", "/", "#1", "x@y@z",
        ] {
            let url = SecretUrl::new(format!("rtsp://admin:{raw}@camera/x"));
            let error = url.check().unwrap_err().to_string();
            assert!(error.contains("%40") && !error.contains("geh"), "{raw}: {error}");
            assert_eq!(url.to_string(), "rtsp://***", "{raw}");
        }
        assert!(SecretUrl::new("rtsp://admin:g%23e%2F%3F%40h@camera/x").check().is_ok());
        assert!(
            SecretUrl::new("rtsp://a:b@10.0.0.7/x?mail=a@b").check().is_ok(),
            "an '@' later on is none of the login"
        );
        assert_eq!(shown("concat:http://u:pw@h/x|http://h"), "concat:***");
        assert_eq!(shown("a b://u:pw@h/x"), "***://***");
    }

    #[test]
    fn urls_within_a_text_are_redacted() {
        for (text, expected) in [
            ("http://h:9/flv?p=pw: Connection refused", "http://h:9/***: Connection refused"),
            (
                "[hls @ 0x1] Opening 'https://cdn/a/KEY.ts' for reading",
                "[hls @ 0x1] Opening 'https://cdn/***' for reading",
            ),
            ("tcp://b rtsp://u:p@d/e, f", "tcp://b rtsp://***@d/***, f"),
            ("nothing: here, at all", "nothing: here, at all"),
            ("é://x", "é***://***"),
            ("http://", "http://"),
        ] {
            assert_eq!(redact_urls(text), expected);
        }
    }

    #[test]
    fn no_address_is_left_for_those_who_may_not_know_it() {
        let text = "connect to 10.0.0.7:554: refused (http://camera:80/x), [::1]:9 and 10.0.0.8.";
        assert_eq!(hide_addresses(text), "connect to ***: refused (***), *** and ***.");
        assert_eq!(
            hide_addresses("the camera does not answer within 10 s"),
            "the camera does not answer within 10 s"
        );
    }

    #[test]
    fn no_path_is_left_either() {
        for (text, expected) in [
            (
                "ffmpeg: file:/srv/S3c.mp4: No such file or directory",
                "ffmpeg: ***: No such file or directory",
            ),
            ("ffmpeg: file:/srv/My films/a: b.mp4: no", "ffmpeg: ***: b.mp4: no"),
            ("cannot open '/srv/My film.mp4' (no)", "cannot open '***' (no)"),
            ("the program /usr/bin/x ended", "the program ***"),
            ("of 25 / 30 pictures, and/or none", "of 25 / 30 pictures, and/or none"),
            ("file:", "***"),
        ] {
            assert_eq!(hide_addresses(text), expected);
        }
    }

    #[test]
    fn it_travels_whole() {
        let url = SecretUrl::new("http://u:pw@h/x?password=pw");
        let json = serde_json::to_string(&url).unwrap();
        assert_eq!(serde_json::from_str::<SecretUrl>(&json).unwrap(), url);
        assert_eq!(url.secrets(), ["/x?password=pw", "password=pw", "u:pw", "pw"]);
    }

    proptest! {
        #[test]
        fn no_password_is_shown_wherever_it_is(
            password in "[#/?@:a-z0-9%]{0,6}SECRET[#/?@:a-z0-9%]{0,6}",
            form in 0_usize..4,
        ) {
            let url = match form {
                0 => format!("rtsp://admin:{password}@10.0.0.7/x"),
                1 => format!("rtsp://h/{password}/x"),
                2 => format!("http://h/flv?password={password}"),
                _ => format!("http://h/flv#{password}"),
            };
            prop_assert!(!shown(&url).contains("SECRET"), "{}", shown(&url));
            let line = redact_urls(&format!("é {url}: no"));
            prop_assert!(!line.contains("SECRET"), "{}", line);
        }

        #[test]
        fn any_text_can_be_redacted(text in "\\PC*", url in "[a-z:/@é' ]{0,20}") {
            drop(redact_urls(&text));
            drop((hide_addresses(&text), hide_addresses(&url)));
            drop(redact_urls(&url));
            drop((shown(&text), SecretUrl::new(url).secrets().len()));
        }
    }
}
