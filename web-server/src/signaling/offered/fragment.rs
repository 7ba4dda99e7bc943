//! SDP fragments of `PATCH` (RFC 8840 §9, as RFC 9725 §4.3 uses them), and the entity tags that go with them. Pure.

use common::ipc::IcePatch;

/// What is wrong with a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A user name fragment without a password, or the other way round.
    #[error("a=ice-ufrag and a=ice-pwd come together")]
    Halved,
    /// It contains neither of them.
    #[error("a fragment has a=ice-ufrag and a=ice-pwd, which say of which ICE session it is")]
    Nameless,
    /// They violate RFC 8839.
    #[error("a=ice-ufrag has from 4 to 256 and a=ice-pwd from 22 to 256 letters, digits, '+' and '/'")]
    Credentials,
    /// It has more candidates than any player needs.
    #[error("at most {MAX_CANDIDATES} candidates at once")]
    TooMany,
}

/// Most candidates of one fragment: more than a connection may have.
const MAX_CANDIDATES: usize = 64;

/// Parses a fragment. All sections share one transport, so it does not matter in which section a line is; duplicates
/// count once.
///
/// # Errors
/// [`Malformed`].
pub fn parse(text: &str) -> Result<IcePatch, Malformed> {
    let mut patch =
        IcePatch { sessions: None, ufrag: String::new(), pwd: String::new(), candidates: Vec::new() };
    for line in text.lines() {
        let Some(attribute) = line.trim_end().strip_prefix("a=") else { continue };
        if let Some(ufrag) = attribute.strip_prefix("ice-ufrag:")
            && patch.ufrag.is_empty()
        {
            patch.ufrag = ufrag.to_owned();
        } else if let Some(pwd) = attribute.strip_prefix("ice-pwd:")
            && patch.pwd.is_empty()
        {
            patch.pwd = pwd.to_owned();
        } else if attribute.starts_with("candidate:") && !patch.candidates.iter().any(|c| c == attribute) {
            if patch.candidates.len() == MAX_CANDIDATES {
                return Err(Malformed::TooMany);
            }
            patch.candidates.push(attribute.to_owned());
        }
    }
    match (patch.ufrag.is_empty(), patch.pwd.is_empty()) {
        (true, true) => return Err(Malformed::Nameless),
        (false, false) => {}
        _ => return Err(Malformed::Halved),
    }
    let good = |text: &str, least: usize| {
        let ice_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        (least..=256).contains(&text.len()) && text.bytes().all(ice_char)
    };
    if good(&patch.ufrag, 4) && good(&patch.pwd, 22) { Ok(patch) } else { Err(Malformed::Credentials) }
}

/// The fragment of an answer: only what a client needs for a restart.
pub fn of_answer(answer: &str) -> String {
    const OF_SESSION: [&str; 2] = ["a=group:BUNDLE", "a=ice-options:"];
    const OF_SECTION: [&str; 4] = ["a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:"];
    let (session, sections) = answer.split_once("\nm=").unwrap_or((answer, ""));
    let mut fragment = String::new();
    let mut keep = |lines: &str, names: &[&str]| {
        for line in lines.lines().filter(|line| names.iter().any(|name| line.starts_with(name))) {
            fragment.push_str(line.trim_end());
            fragment.push_str("\r\n");
        }
    };
    keep(session, &OF_SESSION);
    let first = sections.split("\nm=").next().unwrap_or_default();
    keep(&format!("m={first}"), &[&["m="][..], &OF_SECTION].concat());
    // All candidates are included: none follows.
    fragment + "a=end-of-candidates\r\n"
}

/// Our user name fragment in a description, which identifies the ICE session and changes with each restart.
pub fn session_of(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).map(str::trim_end)
}

/// The tag of an ICE session.
pub fn tag(session: &str) -> String {
    format!("\"{session}\"")
}

/// The ICE sessions that `If-Match` names; `None` for `*`, which is any. Weak tags match nothing (RFC 9110 §13.1.1).
pub fn sessions_in(if_match: &str) -> Option<Vec<String>> {
    let tags = if_match.split(',').map(str::trim);
    let named = |tag: &str| tag.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
    (if_match.trim() != "*").then(|| tags.filter_map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAGMENT: &str = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";

    #[test]
    fn a_fragment_has_credentials_and_candidates() {
        let patch = parse(FRAGMENT).unwrap();
        assert_eq!((patch.ufrag.as_str(), patch.pwd.as_str()), ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"));
        assert_eq!(patch.candidates, ["candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host"]);
    }

    #[test]
    fn what_is_wrong_with_a_fragment_is_told() {
        let pwd = "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n";
        let many: String =
            (0..65).map(|n| format!("a=candidate:{n} 1 udp 1 192.0.2.1 1 typ host\n")).collect();
        for (text, expected) in [
            (String::new(), Malformed::Nameless),
            ("nonsense".into(), Malformed::Nameless),
            ("a=ice-ufrag:EsAw\n".into(), Malformed::Halved),
            (pwd.into(), Malformed::Halved),
            (format!("a=ice-ufrag:Es\n{pwd}"), Malformed::Credentials),
            (format!("a=ice-ufrag:Es w\n{pwd}"), Malformed::Credentials),
            ("a=ice-ufrag:EsAw\na=ice-pwd:short\n".into(), Malformed::Credentials),
            (format!("a=ice-ufrag:EsAw\n{pwd}{many}"), Malformed::TooMany),
        ] {
            assert_eq!(parse(&text), Err(expected), "{text}");
        }
    }

    #[test]
    fn the_fragment_of_an_answer_is_its_transport() {
        let answer = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\na=group:BUNDLE 0 1\r\na=fingerprint:sha-256 00\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\na=rtcp-mux\r\n\
            a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=ice-ufrag:abcd\r\n";
        let expected = "a=group:BUNDLE 0 1\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:0\r\na=ice-ufrag:abcd\r\n\
            a=ice-pwd:secret\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=end-of-candidates\r\n";
        assert_eq!(of_answer(answer), expected);
        assert_eq!(session_of(answer), Some("abcd"));
        assert_eq!(of_answer(""), "m=\r\na=end-of-candidates\r\n");
    }

    #[test]
    fn tags_name_sessions() {
        let sessions = |header: &str| sessions_in(header);
        assert_eq!(sessions(" * "), None);
        assert_eq!(sessions(&tag("abcd")), Some(vec!["abcd".into()]));
        assert_eq!(sessions("\"a\", \"b\""), Some(vec!["a".into(), "b".into()]));
        for nothing in ["", "abcd", "W/\"abcd\"", "\""] {
            assert_eq!(sessions(nothing), Some(Vec::new()), "{nothing}");
        }
    }
}
