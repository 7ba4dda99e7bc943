//! Replies of hosts over HTTP: small XML documents, with a status of their own in the root.

use std::num::NonZeroU16;

use roxmltree::{Document, Node, ParsingOptions};

/// Longest reply that is read, in bytes: a list of thousands of apps.
pub const MAX_REPLY: usize = 1024 * 1024;
/// Most nodes of a reply.
const MAX_NODES: u32 = 50_000;
/// Most apps of a host that are listed.
const MAX_APPS: usize = 1000;
/// Longest name of an app or host, in characters.
const MAX_NAME: usize = 256;

/// Why a reply is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host refuses, with this status.
    #[error("the host answers {status}: {message}")]
    Refused {
        /// As HTTP has them.
        status: u32,
        /// In the host's words.
        message: String,
    },
    /// The document is not the expected one.
    #[error("the host's answer cannot be read: {0}")]
    Malformed(String),
}

impl Error {
    /// The host does not know our certificate (any more).
    pub fn is_unauthorised(&self) -> bool {
        matches!(self, Self::Refused { status: 401, .. })
    }
}

/// A host's description of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Name of the host, as its owner has set it.
    pub name: String,
    /// Stays the same for ever.
    pub unique_id: String,
    /// `appversion`; the last number is negative on hosts that are like Sunshine.
    pub version: [i32; 4],
    /// Port of HTTPS.
    pub https_port: u16,
    /// Hardware address, to wake it; `None` when it does not tell.
    pub mac: Option<[u8; 6]>,
    /// The codecs that it can encode.
    pub codecs: Codecs,
    /// Knows us; only true when asked over TLS.
    pub paired: bool,
    /// Number of the running app.
    pub current_app: Option<u32>,
}

/// Codecs of a host (`ServerCodecModeSupport`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codecs(pub u32);

impl Codecs {
    /// H.264.
    pub fn h264(self) -> bool {
        self.0 == 0 || self.0 & 0x1 != 0
    }

    /// HEVC, 8 bit 4:2:0.
    pub fn hevc(self) -> bool {
        self.0 & 0x100 != 0
    }

    /// AV1, 8 bit 4:2:0.
    pub fn av1(self) -> bool {
        self.0 & 0x1_0000 != 0
    }
}

/// An app of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// The number that the host gives it.
    pub id: u32,
    /// May be empty.
    pub name: String,
    /// Can have a high dynamic range.
    pub hdr: bool,
}

/// A reply, checked for its status, ready to be looked into.
fn with_root<T>(text: &str, read: impl FnOnce(Node<'_, '_>) -> Result<T, Error>) -> Result<T, Error> {
    if text.len() > MAX_REPLY {
        return Err(Error::Malformed(format!("{} bytes are too long", text.len())));
    }
    // No document types, which XML bombs are made of.
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document =
        Document::parse_with_options(text, options).map_err(|error| Error::Malformed(error.to_string()))?;
    let root = document.root_element();
    let status = root.attribute("status_code").and_then(|status| status.parse::<u32>().ok());
    match status {
        Some(200) => read(root),
        Some(status) => {
            let message = short(root.attribute("status_message").unwrap_or("no reason given"));
            Err(Error::Refused { status, message })
        }
        None => Err(Error::Malformed("it has no status_code".into())),
    }
}

fn text<'a>(root: Node<'a, '_>, name: &str) -> Option<&'a str> {
    root.children().find(|node| node.has_tag_name(name)).map(|node| node.text().unwrap_or_default().trim())
}

fn number<T: std::str::FromStr>(root: Node<'_, '_>, name: &str) -> Result<T, Error> {
    let text = text(root, name).ok_or_else(|| Error::Malformed(format!("it has no {name}")))?;
    text.parse().map_err(|_| Error::Malformed(format!("{name} is {:?}", short(text))))
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

/// Text of an element of a reply.
///
/// # Errors
/// [`Error`] when the host refuses or has no such element.
pub fn element(reply: &str, name: &str) -> Result<String, Error> {
    with_root(reply, |root| {
        text(root, name).map(str::to_owned).ok_or_else(|| Error::Malformed(format!("it has no {name}")))
    })
}

/// Reads the reply to `/serverinfo`.
///
/// # Errors
/// [`Error`].
pub fn server_info(reply: &str) -> Result<ServerInfo, Error> {
    with_root(reply, |root| {
        let version = text(root, "appversion").unwrap_or_default();
        let numbers: Vec<i32> = version.split('.').map_while(|part| part.parse().ok()).collect();
        let version = numbers
            .try_into()
            .map_err(|_| Error::Malformed(format!("appversion is {:?}, not four numbers", short(version))))?;
        let busy = text(root, "state").is_some_and(|state| state.ends_with("_SERVER_BUSY"));
        let app = text(root, "currentgame").and_then(|app| app.parse().ok());
        Ok(ServerInfo {
            name: short(text(root, "hostname").unwrap_or_default()),
            unique_id: short(text(root, "uniqueid").unwrap_or_default()),
            version,
            https_port: number::<NonZeroU16>(root, "HttpsPort")?.get(),
            mac: text(root, "mac").and_then(mac),
            codecs: Codecs(number(root, "ServerCodecModeSupport").unwrap_or_default()),
            paired: text(root, "PairStatus") == Some("1"),
            current_app: app.filter(|app| busy && *app != 0),
        })
    })
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> = text.split([':', '-']).map_while(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    <[u8; 6]>::try_from(bytes).ok().filter(|mac| mac.iter().any(|byte| *byte != 0))
}

/// Reads the reply to `/applist`.
///
/// # Errors
/// [`Error`].
pub fn apps(reply: &str) -> Result<Vec<App>, Error> {
    with_root(reply, |root| {
        let apps = root.children().filter(|node| node.has_tag_name("App")).take(MAX_APPS);
        apps.map(|app| {
            Ok(App {
                id: number(app, "ID")?,
                name: short(text(app, "AppTitle").unwrap_or_default()),
                hdr: text(app, "IsHdrSupported") == Some("1"),
            })
        })
        .collect()
    })
}

/// Reads the reply to `/launch` or `/resume`: the URL of the session.
///
/// # Errors
/// [`Error`], also when the host reports that the app was not started.
pub fn session_url(reply: &str) -> Result<String, Error> {
    with_root(reply, |root| {
        let began = ["gamesession", "resume"].iter().any(|name| text(root, name).is_some_and(|n| n != "0"));
        match text(root, "sessionUrl0") {
            Some(url) if began => Ok(short(url)),
            Some(_) => Err(Error::Malformed("the app was not started".into())),
            None => Err(Error::Malformed("it has no sessionUrl0".into())),
        }
    })
}

/// Checks a reply that has nothing in it but its status and perhaps a flag.
///
/// # Errors
/// [`Error`] when the host refuses, or the flag is present and 0.
pub fn done(reply: &str, flag: &str) -> Result<(), Error> {
    with_root(reply, |root| match text(root, flag) {
        Some("0") => Err(Error::Malformed(format!("{flag} is 0"))),
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INFO: &str = r#"<?xml version="1.0" encoding="utf-8"?>
        <root status_code="200"><hostname>desk &amp; co</hostname><appversion>7.1.431.-1</appversion>
        <uniqueid>0123</uniqueid><HttpsPort>47984</HttpsPort><mac>aa:bb:cc:dd:ee:ff</mac>
        <ServerCodecModeSupport>257</ServerCodecModeSupport><PairStatus>1</PairStatus>
        <currentgame>7</currentgame><state>SUNSHINE_SERVER_BUSY</state></root>"#;

    #[test]
    fn a_host_is_read() {
        let info = server_info(INFO).unwrap();
        assert_eq!((&info.name[..], &info.unique_id[..]), ("desk & co", "0123"));
        assert_eq!((info.version, info.https_port), ([7, 1, 431, -1], 47984));
        assert_eq!(info.mac, Some([0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]));
        assert!(info.codecs.h264() && info.codecs.hevc() && !info.codecs.av1() && info.paired);
        assert_eq!(info.current_app, Some(7));
        let free = INFO.replace("BUSY", "FREE").replace("aa:bb:cc:dd:ee:ff", "00:00:00:00:00:00");
        let free = server_info(&free).unwrap();
        assert_eq!((free.current_app, free.mac), (None, None));
    }

    #[test]
    fn the_status_is_the_one_in_the_document() {
        let reply = r#"<root status_code="401" status_message="The client is not authorized."/>"#;
        let error = server_info(reply).unwrap_err();
        assert!(error.is_unauthorised() && error.to_string().contains("not authorized"), "{error}");
        let reply = r#"<root status_code="4294967295"/>"#;
        assert!(matches!(apps(reply), Err(Error::Refused { status: u32::MAX, .. })));
        assert!(matches!(apps("<root/>"), Err(Error::Malformed(_))));
    }

    #[test]
    fn apps_and_sessions_are_read() {
        let reply = r#"<root status_code="200"><App><IsHdrSupported>0</IsHdrSupported><AppTitle>Desktop</AppTitle>
            <ID>1</ID></App><App><AppTitle/><ID>2</ID></App></root>"#;
        let apps = apps(reply).unwrap();
        assert_eq!(apps[0], App { id: 1, name: "Desktop".into(), hdr: false });
        assert_eq!((apps.len(), &apps[1].name[..]), (2, ""));
        let reply = |flag: &str| {
            format!(r#"<root status_code="200"><sessionUrl0>rtspenc://h:48010</sessionUrl0>{flag}</root>"#)
        };
        assert_eq!(session_url(&reply("<gamesession>1</gamesession>")).unwrap(), "rtspenc://h:48010");
        assert_eq!(session_url(&reply("<resume>1</resume>")).unwrap(), "rtspenc://h:48010");
        assert!(session_url(&reply("<gamesession>0</gamesession>")).is_err());
        assert!(done(r#"<root status_code="200"><cancel>0</cancel></root>"#, "cancel").is_err());
    }

    #[test]
    fn bombs_are_refused() {
        let lol = r#"<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
            <root status_code="200"><hostname>&b;</hostname></root>"#;
        assert!(matches!(server_info(lol), Err(Error::Malformed(_))));
        let many = format!(r#"<root status_code="200">{}</root>"#, "<a/>".repeat(60_000));
        assert!(matches!(apps(&many), Err(Error::Malformed(_))));
        let deep = format!("<root status_code=\"200\">{}", "<a>".repeat(40_000));
        assert!(matches!(apps(&deep), Err(Error::Malformed(_))));
        let long = " ".repeat(MAX_REPLY + 1);
        assert!(matches!(apps(&long), Err(Error::Malformed(_))));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = server_info(&text);
            let _ = apps(&format!("<root status_code=\"200\">{text}</root>"));
        }
    }
}
