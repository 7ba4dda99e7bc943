//! The RTSP session with a camera: chooses among the streams that it offers.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use common::spec::{RtspSpec, RtspTransport, SecretUrl};
use futures_core::Stream as _;
use retina::client::{
    Credentials, InitialTimestampPolicy, PacketItem, PlayOptions, Playing, Session, SessionOptions,
    SetupOptions, Stream, TcpTransportOptions, Transport, UdpTransportOptions,
};
use retina::codec::ParametersRef;
use url::Url;

use super::redirect;
use crate::source::ffmpeg::flv;
use crate::source::ffmpeg::secrets::{Secrets, percent_decoded};

/// Timeout of a camera's response.
const ANSWER: Duration = Duration::from_secs(10);
/// Most redirections in a row.
const MOST_REDIRECTS: usize = 5;
/// Longest reason in a message.
const REASON: usize = 300;
/// Statuses that another reader would get as well.
const REFUSALS: [u16; 3] = [401, 403, 404];
/// Prefixes of errors of `retina` when the camera cannot be reached.
const NOT_THERE: [&str; 2] = ["Unable to connect", "Timeout"];
/// The same when the connection is lost.
const GONE: [&str; 5] = [
    "Unable to connect",
    "Timeout",
    "Error reading from RTSP peer",
    "Error writing to RTSP peer",
    "Error receiving UDP packet",
];

/// The address of a camera, with its credentials. No text that this returns contains the password.
#[derive(Clone)]
pub struct Address {
    url: Url,
    credentials: Option<Credentials>,
    secrets: Secrets,
}

/// One medium of a camera.
#[derive(Debug, Clone)]
pub struct Track {
    /// Its number in the session.
    pub stream: usize,
    /// Ticks of its RTP timestamps per second.
    pub rate: u32,
}

/// Sound of a camera.
#[derive(Debug, Clone)]
pub enum Sound {
    /// Passed through.
    Opus,
    /// Re-encoded; AAC.
    Aac {
        /// `AudioSpecificConfig`.
        config: Vec<u8>,
        /// Samples of a frame.
        frame: i64,
    },
    /// Re-encoded.
    G711(flv::Sound),
}

/// Why a connection failed.
#[derive(Debug)]
pub enum Refused {
    /// Its video has these codecs, which are not depacketized here.
    OtherCodec(String),
    /// Anything else.
    Failed(Lost),
}

/// Why a connection was lost, or could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Without passwords.
    pub reason: String,
    /// The camera accepts the connection, but sends something that is not understood here. Other readers may: this one is strict.
    pub form: bool,
    /// It redirects.
    pub moved: bool,
}

impl From<String> for Lost {
    fn from(reason: String) -> Self {
        Self { reason, form: false, moved: false }
    }
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self::Failed(reason.into())
    }
}

impl From<Lost> for Refused {
    fn from(lost: Lost) -> Self {
        Self::Failed(lost)
    }
}

/// A camera that sends.
pub struct Connection {
    session: Session<Playing>,
    /// Its picture.
    pub picture: Track,
    /// NAL units of the description.
    pub parameter_sets: Vec<Vec<u8>>,
    /// Its sound, if it is supported and wanted.
    pub sound: Option<(Track, Sound)>,
}

impl Address {
    /// Extracts user and password from the URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(url: &SecretUrl) -> Result<Self, String> {
        let secrets = Secrets::of(url);
        let mut parsed =
            Url::parse(url.expose()).map_err(|error| format!("the URL cannot be read: {error}"))?;
        let credentials =
            (!parsed.username().is_empty() || parsed.password().is_some()).then(|| Credentials {
                username: percent_decoded(parsed.username()),
                password: percent_decoded(parsed.password().unwrap_or_default()),
            });
        let cleared = parsed.set_username("").and_then(|()| parsed.set_password(None));
        cleared.map_err(|()| "the URL names no host".to_owned())?;
        Ok(Self { url: parsed, credentials, secrets })
    }

    /// The whole address, with user and password, for another reader.
    pub fn secret(&self) -> SecretUrl {
        let mut url = self.url.clone();
        if let Some(Credentials { username, password }) = &self.credentials {
            // The URL had them before, so it can have them.
            let _ = url.set_username(username);
            let _ = url.set_password(Some(password));
        }
        SecretUrl::new(url)
    }

    /// The target of a redirection. User and password are kept only for the same host.
    ///
    /// # Errors
    /// The reason why it is not known.
    async fn followed(&self) -> Result<Self, String> {
        let url = redirect::target(&self.url).await?;
        let mut next = Self::of(&SecretUrl::new(url))?;
        if next.credentials.is_none() && next.url.host() == self.url.host() {
            next.credentials = self.credentials.clone();
        }
        // Secrets of the previous address stay secret.
        next.secrets.add(&self.secrets);
        Ok(next)
    }

    fn lost(&self, error: &retina::Error, no_answer: &[&str]) -> Lost {
        let form = match error.status_code() {
            Some(code) => !REFUSALS.contains(&code),
            // The crate's errors can be told apart only by their texts.
            None => {
                let text = error.to_string();
                !no_answer.iter().any(|beginning| text.starts_with(beginning))
            }
        };
        let moved = error.status_code().is_some_and(|code| (300..400).contains(&code));
        Lost { reason: self.reason(error), form, moved }
    }

    fn reason(&self, error: &retina::Error) -> String {
        if error.status_code() == Some(401) {
            return match self.credentials {
                Some(_) => "the camera refuses user or password (401)".into(),
                None => "the camera wants a user and a password (401)".into(),
            };
        }
        let text = self.secrets.clean(&error.to_string());
        text.lines().next().unwrap_or_default().chars().take(REASON).collect()
    }
}

impl Connection {
    /// Connects to a camera, following redirections; `address` is then the final one.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn reach(address: &mut Address, spec: &RtspSpec) -> Result<Self, Refused> {
        for _ in 0..=MOST_REDIRECTS {
            match Self::open(address, spec).await {
                Err(Refused::Failed(lost)) if lost.moved => *address = address.followed().await?,
                result => return result,
            }
            if address.url.scheme() != "rtsp" {
                let reason = format!("it sends us to {}", SecretUrl::new(address.url.clone()));
                return Err(Refused::Failed(Lost { reason, form: true, moved: false }));
            }
        }
        Err(Lost::from(format!("the camera sends us elsewhere more than {MOST_REDIRECTS} times")).into())
    }

    /// Connects, chooses streams, and starts them.
    ///
    /// # Errors
    /// [`Refused`].
    async fn open(address: &Address, spec: &RtspSpec) -> Result<Self, Refused> {
        let opened = tokio::time::timeout(ANSWER, Self::negotiate(address, spec)).await;
        if let Ok(opened) = opened {
            return opened;
        }
        let seconds = ANSWER.as_secs();
        if redirect::mumbles(&address.url).await {
            let reason = format!("the camera gives no answer that is understood within {seconds} s");
            return Err(Refused::Failed(Lost { reason, form: true, moved: false }));
        }
        Err(Lost::from(format!("the camera does not answer within {seconds} s")).into())
    }

    async fn negotiate(address: &Address, spec: &RtspSpec) -> Result<Self, Refused> {
        let reason = |error: retina::Error| address.lost(&error, &NOT_THERE);
        let options = SessionOptions::default()
            .creds(address.credentials.clone())
            .user_agent(concat!("oriel/", env!("CARGO_PKG_VERSION")).into())
            .session_group(Arc::default());
        let mut session = Session::describe(address.url.clone(), options).await.map_err(reason)?;
        let streams = session.streams();
        let (picture, parameter_sets) = find_picture(streams)?;
        let sound = if spec.audio { find_sound(streams) } else { None };
        let transport = match spec.transport {
            RtspTransport::Tcp => Transport::Tcp(TcpTransportOptions::default()),
            RtspTransport::Udp => Transport::Udp(UdpTransportOptions::default()),
        };
        for track in std::iter::once(&picture).chain(sound.as_ref().map(|(track, _)| track)) {
            let options = SetupOptions::default().transport(transport.clone());
            session.setup(track.stream, options).await.map_err(reason)?;
        }
        let options = PlayOptions::default().initial_timestamp(InitialTimestampPolicy::Ignore);
        let session = session.play(options).await.map_err(reason)?;
        Ok(Self { session, picture, parameter_sets, sound })
    }

    /// The next packet. Cancel safe.
    ///
    /// # Errors
    /// The reason why there are no more.
    pub async fn next(&mut self, address: &Address) -> Result<PacketItem, Lost> {
        match std::future::poll_fn(|context| Pin::new(&mut self.session).poll_next(context)).await {
            Some(Ok(item)) => Ok(item),
            Some(Err(error)) => Err(address.lost(&error, &GONE)),
            None => Err("the camera has closed the connection".to_owned().into()),
        }
    }
}

fn track(stream: usize, streams: &[Stream]) -> Track {
    Track { stream, rate: streams[stream].clock_rate_hz() }
}

fn find_picture(streams: &[Stream]) -> Result<(Track, Vec<Vec<u8>>), Refused> {
    let is_h264 = |stream: &Stream| stream.media() == "video" && stream.encoding_name() == "h264";
    let Some(index) = streams.iter().position(is_h264) else {
        let others: Vec<_> =
            streams.iter().filter(|stream| stream.media() == "video").map(Stream::encoding_name).collect();
        return Err(match &others[..] {
            [] => Refused::Failed("the camera has no video".to_owned().into()),
            others => Refused::OtherCodec(others.join(" and ")),
        });
    };
    let sets = match streams[index].parameters() {
        // Without this, `retina` would depacketize it; it is depacketized here.
        Some(ParametersRef::Video(parameters)) => match parameters.codec_params() {
            retina::codec::VideoParametersCodec::H264 { sps, pps } => vec![sps.to_vec(), pps.to_vec()],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    Ok((track(index, streams), sets))
}

/// The best sound among the streams.
fn find_sound(streams: &[Stream]) -> Option<(Track, Sound)> {
    let kinds = streams.iter().enumerate().filter(|(_, stream)| stream.media() == "audio").filter_map(
        |(index, stream)| {
            let found = sound(stream);
            if found.is_none() {
                tracing::info!(
                    codec = stream.encoding_name(),
                    "a camera's sound is left out: it cannot be taken"
                );
            }
            found.map(|found| (track(index, streams), found))
        },
    );
    kinds.min_by_key(|(_, sound)| match sound {
        Sound::Opus => 0,
        Sound::Aac { .. } => 1,
        Sound::G711(_) => 2,
    })
}

fn sound(stream: &Stream) -> Option<Sound> {
    let is_telephone =
        stream.clock_rate_hz() == 8000 && stream.channels().is_none_or(|channels| channels.get() == 1);
    match stream.encoding_name() {
        "opus" => Some(Sound::Opus),
        "mpeg4-generic" => match stream.parameters() {
            Some(ParametersRef::Audio(parameters)) if !parameters.extra_data().is_empty() => {
                Some(Sound::Aac {
                    config: parameters.extra_data().to_vec(),
                    frame: parameters.frame_length().map_or(1024, |frame| frame.get().into()),
                })
            }
            _ => None,
        },
        "pcma" if is_telephone => Some(Sound::G711(flv::Sound::PcmA)),
        "pcmu" if is_telephone => Some(Sound::G711(flv::Sound::PcmU)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_out_of_the_url() {
        let address = Address::of(&SecretUrl::new("rtsp://admin:p%40ss@10.0.0.7:554/a?b=c")).unwrap();
        assert_eq!(address.url.as_str(), "rtsp://10.0.0.7:554/a?b=c");
        let credentials = address.credentials.unwrap();
        assert_eq!((&credentials.username[..], &credentials.password[..]), ("admin", "p@ss"));
        assert!(Address::of(&SecretUrl::new("rtsp://h/x")).unwrap().credentials.is_none());
        assert!(Address::of(&SecretUrl::new("rtsp://a b/x")).is_err());
    }

    /// The result for a camera that responds like this to the first request, or cannot be reached.
    async fn answered(answer: Option<&'static str>) -> Lost {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtsp://{}/x", listener.local_addr().unwrap());
        let spec = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
        let camera = async {
            let Some(answer) = answer else { return drop(listener) };
            let (mut connection, _) = listener.accept().await.unwrap();
            assert!(connection.read(&mut [0; 4096]).await.unwrap() > 0);
            connection.write_all(answer.as_bytes()).await.unwrap();
        };
        let address = Address::of(&SecretUrl::new(url)).unwrap();
        let ((), opened) = tokio::join!(camera, Connection::open(&address, &spec));
        match opened {
            Err(Refused::Failed(lost)) => lost,
            Err(refused) => panic!("{refused:?}"),
            Ok(_) => panic!("there is no camera"),
        }
    }

    #[tokio::test]
    async fn what_is_not_understood_is_told_from_what_is_not_there_or_refused() {
        for (answer, form) in [
            (None, false),
            (Some("RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n"), false),
            (Some("RTSP/1.0 403 Forbidden\r\nCSeq: 1\r\n\r\n"), false),
            (Some("RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n"), false),
            (Some("RTSP/1.0 302 Found\r\nCSeq: 1\r\nLocation: rtsp://127.0.0.1:1/y\r\n\r\n"), true),
            (Some("RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nv=0"), true),
            (Some("what do you want?\r\n\r\n"), true),
        ] {
            let lost = answered(answer).await;
            assert_eq!(lost.form, form, "{answer:?}: {lost:?}");
        }
    }
}
