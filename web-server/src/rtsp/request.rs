//! What a request asks for, and what it is asked with. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::id::{MAIN_SOURCE, SourceName, StreamerId};
use common::rtp_stream::Track;
use rtsp_types::headers::{ACCEPT, AUTHORIZATION, CSEQ, REQUIRE, SESSION, TRANSPORT};
use rtsp_types::{HeaderName, Method, Request, StatusCode, Url, Version};

use crate::secret::Secret;

/// What a track's URL has at its end, before its number.
pub const TRACK: &str = "trackID=";
/// What a description is.
const SDP: &str = "application/sdp";

/// A request that can be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Its number, which the response repeats.
    pub cseq: String,
    /// The session that it is about.
    pub session: Option<String>,
    /// The token or secret that it brings.
    pub token: Option<Secret>,
    /// What it asks for.
    pub verb: Verb,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// What can be asked for.
    Options,
    /// What the stream is.
    Describe(Target),
    /// A track, by the first of these ways that we know.
    Setup(Target, Vec<Transport>),
    /// That packets come.
    Play,
    /// That none come for a while.
    Pause,
    /// Nothing: the player says that it is still there.
    KeepAlive,
    /// The end of the session.
    Teardown,
}

/// What a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The streamer.
    pub id: StreamerId,
    /// One of its sources.
    pub source: SourceName,
    /// One of that source's tracks.
    pub track: Option<Track>,
}

/// One way to get packets (RFC 2326 §12.39).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Between responses on the connection, with the numbers of the channels for packets and reports if the player names them.
    Interleaved(Option<(u8, u8)>),
    /// Any other.
    Other,
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// For programs.
    pub status: StatusCode,
    /// For people.
    pub detail: String,
}

impl Refusal {
    /// A request that is refused with a reason.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

/// Reads a request.
///
/// # Errors
/// See [`Refusal`].
pub fn read(request: &Request<Vec<u8>>) -> Result<Asked, Refusal> {
    if request.version() != Version::V1_0 {
        return Err(Refusal::new(StatusCode::RTSPVersionNotSupported, "this server speaks RTSP/1.0"));
    }
    let bad = |detail: &str| Err(Refusal::new(StatusCode::BadRequest, detail));
    let Some(cseq) = header(request, &CSEQ).filter(|text| text.parse::<u32>().is_ok()) else {
        return bad("CSeq must be a number");
    };
    if let Some(feature) = header(request, &REQUIRE) {
        let detail = format!("nothing that Require names is known: {feature}");
        return Err(Refusal::new(StatusCode::OptionNotSupported, detail));
    }
    let url =
        || request.request_uri().ok_or_else(|| Refusal::new(StatusCode::BadRequest, "* names no stream"));
    let verb = match request.method() {
        Method::Options => Verb::Options,
        Method::Describe => {
            let accepts =
                header(request, &ACCEPT).is_none_or(|text| text.contains(SDP) || text.contains("*/*"));
            if !accepts {
                let detail = format!("a description is {SDP}, which the request does not accept (Accept)");
                return Err(Refusal::new(StatusCode::NotAcceptable, detail));
            }
            Verb::Describe(target(url()?)?)
        }
        Method::Setup => {
            let Some(transport) = header(request, &TRANSPORT) else {
                return bad("SETUP needs Transport");
            };
            Verb::Setup(target(url()?)?, transport.split(',').map(self::transport).collect())
        }
        Method::Play => Verb::Play,
        Method::Pause => Verb::Pause,
        Method::GetParameter => Verb::KeepAlive,
        Method::Teardown => Verb::Teardown,
        other => {
            let detail = format!("this server does not know {}", <&str>::from(other));
            return Err(Refusal::new(StatusCode::NotImplemented, detail));
        }
    };
    // What follows the id, such as a timeout, says nothing to us.
    let session = header(request, &SESSION).and_then(|text| text.split(';').next());
    let token = header(request, &AUTHORIZATION)
        .and_then(authorization)
        .or_else(|| request.request_uri().and_then(token_of_url));
    Ok(Asked { cseq: cseq.to_owned(), session: session.map(|id| id.trim().to_owned()), token, verb })
}

/// The number of a request, for the response to one that cannot be served.
pub fn cseq(request: &Request<Vec<u8>>) -> Option<&str> {
    header(request, &CSEQ).filter(|text| text.parse::<u32>().is_ok())
}

fn header<'a>(request: &'a Request<Vec<u8>>, name: &HeaderName) -> Option<&'a str> {
    request.header(name).map(|value| value.as_str().trim())
}

/// What a URL names: `/{id}`, `/{id}/{source}`, `/{id}/{source}/trackID={number}`. A player that knows no better appends the track to a
/// query.
fn target(url: &Url) -> Result<Target, Refusal> {
    let not_found = |detail: String| Refusal::new(StatusCode::NotFound, detail);
    let query = url.query().and_then(|query| query.rsplit_once('/'));
    let query = query.map(|(_, last)| last).filter(|last| last.starts_with(TRACK));
    let mut segments = url.path().split('/').filter(|segment| !segment.is_empty()).chain(query);
    let id = segments
        .next()
        .ok_or_else(|| not_found("the URL names no streamer: rtsp://…/{id}/{source}".into()))?;
    let id = StreamerId::parse(id).map_err(|error| not_found(error.to_string()))?;
    let mut rest = segments.peekable();
    let source = rest.next_if(|segment| !segment.starts_with(TRACK)).unwrap_or(MAIN_SOURCE).to_owned();
    // The names of sources follow the rules of ids.
    StreamerId::parse(&*source).map_err(|error| not_found(error.to_string()))?;
    let track = match rest.next().map(|segment| segment.strip_prefix(TRACK)) {
        None => None,
        Some(Some("0")) => Some(Track::Video),
        Some(Some("1")) => Some(Track::Audio),
        Some(_) => return Err(not_found(format!("tracks are {TRACK}0 and {TRACK}1"))),
    };
    match rest.next() {
        Some(more) => Err(not_found(format!("nothing is at {more:?}"))),
        None => Ok(Target { id, source, track }),
    }
}

fn transport(text: &str) -> Transport {
    let mut parts = text.split(';').map(str::trim);
    let is_ours = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("RTP/AVP/TCP"));
    if !is_ours {
        return Transport::Other;
    }
    let channels = parts.find_map(|part| part.strip_prefix("interleaved="));
    let Some(channels) = channels else { return Transport::Interleaved(None) };
    let numbers = match channels.split_once('-') {
        Some((media, report)) => media.parse().ok().zip(report.parse().ok()),
        None => channels.parse::<u8>().ok().and_then(|media| Some((media, media.checked_add(1)?))),
    };
    // Channels that are none cannot be used.
    numbers
        .filter(|(media, report)| media != report)
        .map_or(Transport::Other, |numbers| Transport::Interleaved(Some(numbers)))
}

/// The password of `Basic`, or the user where there is none; or what comes after `Bearer`.
fn authorization(text: &str) -> Option<Secret> {
    let (scheme, value) = text.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Secret::new(value));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let login = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    let (user, password) = login.split_once(':').unwrap_or((&login, ""));
    Some(Secret::new(if password.is_empty() { user } else { password }))
}

/// `token=` of a URL's query, without the track that a player may have appended.
fn token_of_url(url: &Url) -> Option<Secret> {
    let token = url.query_pairs().find(|(name, _)| name == "token")?.1;
    let end = token.rfind(&format!("/{TRACK}")).unwrap_or(token.len());
    Some(Secret::new(token[..end].trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Asked, StatusCode> {
        let message = rtsp_types::Message::<Vec<u8>>::parse(text.as_bytes()).unwrap().0;
        let rtsp_types::Message::Request(request) = message else { panic!("a request") };
        read(&request).map_err(|refusal| refusal.status)
    }

    fn ask(line: &str, headers: &str) -> Result<Asked, StatusCode> {
        read_text(&format!("{line} RTSP/1.0\r\nCSeq: 7\r\n{headers}\r\n"))
    }

    #[test]
    fn a_url_names_a_streamer_a_source_and_a_track() {
        let target = |url: &str| match ask(&format!("DESCRIBE {url}"), "") {
            Ok(Asked { verb: Verb::Describe(target), .. }) => {
                Ok((target.id.to_string(), target.source.to_string(), target.track))
            }
            Ok(other) => panic!("{other:?}"),
            Err(status) => Err(u16::from(status)),
        };
        let of = |id: &str, source: &str, track| Ok((id.to_owned(), source.to_owned(), track));
        for (url, expected) in [
            ("rtsp://h/demo", of("demo", "main", None)),
            ("rtsp://h:8554/demo/door/", of("demo", "door", None)),
            ("rtsp://h/demo/door/trackID=0", of("demo", "door", Some(Track::Video))),
            ("rtsp://u:p@h/demo/trackID=1?token=x", of("demo", "main", Some(Track::Audio))),
            ("rtsp://h/demo/door?token=x/trackID=1", of("demo", "door", Some(Track::Audio))),
            ("rtsp://h/", Err(404)),
            ("rtsp://h/-", Err(404)),
            ("rtsp://h/demo/a%20b", Err(404)),
            ("rtsp://h/demo/door/trackID=2", Err(404)),
            ("rtsp://h/demo/door/trackID=0/more", Err(404)),
            ("rtsp://h/demo/door/more", Err(404)),
            ("*", Err(400)),
        ] {
            assert_eq!(target(url), expected, "{url}");
        }
    }

    #[test]
    fn a_token_comes_as_a_password_as_a_bearer_or_in_the_url() {
        let token = |url: &str, header: &str| {
            ask(&format!("DESCRIBE rtsp://h/demo{url}"), header).unwrap().token.map(|t| t.expose().to_owned())
        };
        for (url, header, expected) in [
            ("", "Authorization: Basic dTphLmIuYw==\r\n", Some("a.b.c")),
            ("", "Authorization: basic YS5iLmM6\r\n", Some("a.b.c")),
            ("", "Authorization: Basic !\r\n", None),
            ("", "Authorization: Digest username=\"u\"\r\n", None),
            ("", "Authorization: Bearer a.b.c\r\n", Some("a.b.c")),
            ("?token=a.b.c", "", Some("a.b.c")),
            ("?x=1&token=a%2Eb.c/trackID=1", "", Some("a.b.c")),
            ("?token=a.b.c/", "", Some("a.b.c")),
            ("?tokens=a", "", None),
            ("", "", None),
        ] {
            assert_eq!(token(url, header).as_deref(), expected, "{url} {header}");
        }
    }

    #[test]
    fn ways_are_read_as_far_as_they_are_known() {
        let ways = |text: &str| match ask("SETUP rtsp://h/demo/trackID=0", &format!("Transport: {text}\r\n"))
        {
            Ok(Asked { verb: Verb::Setup(_, ways), .. }) => ways,
            other => panic!("{other:?}"),
        };
        let tcp = |channels| Transport::Interleaved(channels);
        for (text, expected) in [
            ("RTP/AVP/TCP;unicast;interleaved=0-1", vec![tcp(Some((0, 1)))]),
            ("RTP/AVP;unicast;client_port=4-5, rtp/avp/tcp", vec![Transport::Other, tcp(None)]),
            ("RTP/AVP/TCP;interleaved=6", vec![tcp(Some((6, 7)))]),
            ("RTP/AVP/TCP;interleaved=255", vec![Transport::Other]),
            ("RTP/AVP/TCP;interleaved=3-3", vec![Transport::Other]),
            ("RTP/AVP/TCP;interleaved=300-301", vec![Transport::Other]),
        ] {
            assert_eq!(ways(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_its_status() {
        let status = |answer: Result<Asked, StatusCode>| answer.map(|asked| asked.verb).map_err(u16::from);
        for (line, headers, expected) in [
            ("RECORD rtsp://h/demo", "", Err(501)),
            ("SETUP rtsp://h/demo/trackID=0", "", Err(400)),
            ("DESCRIBE rtsp://h/demo", "Accept: text/html\r\n", Err(406)),
            ("PLAY rtsp://h/demo", "Require: eternity\r\n", Err(551)),
            ("OPTIONS *", "", Ok(Verb::Options)),
            ("GET_PARAMETER rtsp://h/demo", "", Ok(Verb::KeepAlive)),
        ] {
            assert_eq!(status(ask(line, headers)), expected, "{line}");
        }
        assert_eq!(status(read_text("OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n")), Err(505));
        assert_eq!(status(read_text("OPTIONS * RTSP/1.0\r\n\r\n")), Err(400));
        assert_eq!(status(read_text("OPTIONS * RTSP/1.0\r\nCSeq: one\r\n\r\n")), Err(400));
        let play = ask("PLAY rtsp://h/demo", "Session: abc;timeout=60\r\n").unwrap();
        assert_eq!((play.cseq.as_str(), play.session.as_deref()), ("7", Some("abc")));
    }
}
