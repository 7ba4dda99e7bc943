//! A peer's end of a peer connection, on one of two stacks.
//!
//! ```text
//!                    ┌─▶ SansIo      the crate rtc: a socket and a state machine, driven by the caller's thread
//! Swarm, Player ─────┤
//!      (Endpoint)    └─▶ AsyncLayer  the crate webrtc: tasks of its own, which are driven by tokio
//! ```
//!
//! Both crates are of one project, and `webrtc` is a layer over `rtc`: ICE, DTLS, SRTP and SCTP are the same code on both
//! stacks. What differs is all that an application sees. `AsyncLayer` is used as that crate's documentation says, with its
//! default interceptors: it sends NACKs and receiver reports, its tracks come by `on_track`, and it joins and restarts with
//! candidates that it gathers itself. `SansIo` takes shortcuts that keep hundreds of peers cheap and sends no reports at
//! all. So the former shows what an ordinary application gets from the server, the latter what the wire carries. Neither shows
//! a mistake that both ends make because they share `rtc`; that is what Chromium is for, in the tests `e2e`.

mod async_layer;
mod codecs;
mod sans_io;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use common::input::{GENERAL_CHANNEL, KEYS_CHANNEL, MOTION_CHANNEL};
use rtc::data_channel::RTCDataChannelInit;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc::peer_connection::configuration::setting_engine::{
    SctpMaxMessageSize, SettingEngine, SettingEngineBuilder,
};
use rtc::peer_connection::transport::RTCDtlsRole;

use crate::{Channel, Error, Event, Media, Outgoing, Said};
use async_layer::{AsyncLayer, Runtime};
pub use codecs::media_engine;
use sans_io::SansIo;
pub use sans_io::{BUFFER_BYTES, arrival};

/// Peers connect from here, unless they are told another address.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// By which crate a peer does WebRTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// `rtc`, the sans-IO core: what the streamer itself is built on.
    Rtc,
    /// `webrtc`, the asynchronous layer over it.
    Webrtc,
}

impl Stack {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Rtc, Self::Webrtc];
}

impl fmt::Display for Stack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Rtc => "rtc",
            Self::Webrtc => "webrtc",
        })
    }
}

impl std::str::FromStr for Stack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|stack| stack.to_string() == text);
        found.ok_or_else(|| format!("{text:?} is neither \"rtc\" nor \"webrtc\""))
    }
}

/// Which end of the negotiation an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Answers the streamer's offers, and has the data channels of the native protocol.
    Viewer,
    /// Offers to receive one video and one audio track.
    Player,
}

/// One end of a peer connection. Dropping it ends it as a crash would, without a goodbye, once its [`Endpoints`] are dropped
/// too.
pub trait Endpoint: Send {
    /// Readable when there is something to take.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Takes an offer, the first one or a later one, and returns the answer with all candidates in it.
    ///
    /// # Errors
    /// The stack refuses the offer.
    fn answer(&mut self, offer: String) -> Result<String, Error>;

    /// Returns an offer without candidates. With `restart` it restarts ICE, on another socket.
    ///
    /// # Errors
    /// The stack or the system refuses.
    fn offer(&mut self, restart: bool) -> Result<String, Error>;

    /// The candidates that belong to the last offer, as in `a=` lines.
    fn candidates(&self) -> Vec<String>;

    /// Takes the answer to the last offer.
    ///
    /// # Errors
    /// The stack refuses it.
    fn accept(&mut self, answer: String) -> Result<(), Error>;

    /// Takes what has come. `buffer` has [`BUFFER_BYTES`] and keeps nothing between calls.
    fn take(&mut self, buffer: &mut [u8], each: &mut dyn FnMut(Event));

    /// Runs timers that are due.
    fn timers(&mut self, now: Instant, each: &mut dyn FnMut(Event));

    /// Sends a text on a data channel. False when it is not open.
    fn send_text(&mut self, channel: Channel, text: &str) -> bool;

    /// Sends RTP, whatever was negotiated; only on [`Stack::Rtc`].
    fn send_rtp(&mut self, _: &Outgoing) {}

    /// Says something of a stream that it receives; only on [`Stack::Rtc`].
    fn say(&mut self, _ssrc: u32, _said: &[Said]) {}

    /// Says goodbye.
    fn close(&mut self);
}

/// Makes endpoints of one stack.
pub struct Endpoints {
    media: Media,
    address: IpAddr,
    certificate: RTCCertificate,
    /// For [`Stack::Webrtc`] alone.
    runtime: Option<Runtime>,
}

impl Endpoints {
    /// Without any yet.
    ///
    /// # Errors
    /// When there is no randomness, descriptor or thread left.
    pub fn new(stack: Stack, media: Media) -> Result<Self, Error> {
        let provider = rtc::crypto::default_provider().map_err(failed("certificate"))?;
        let params = CertificateParams::new(vec!["native-peer".to_owned()]).map_err(failed("certificate"))?;
        let scheme = rtc::crypto::SignatureScheme::EcdsaP256Sha256;
        let certificate = RTCCertificate::generate(provider.crypto(), scheme, params);
        let runtime = match stack {
            Stack::Rtc => None,
            Stack::Webrtc => Some(Runtime::start()?),
        };
        let certificate = certificate.map_err(failed("certificate"))?;
        Ok(Self { media, address: LOCAL, certificate, runtime })
    }

    /// Those that are opened from now on connect from this address of the machine.
    pub fn connect_from(&mut self, address: IpAddr) {
        self.address = address;
    }

    /// One more.
    ///
    /// # Errors
    /// The stack or the system refuses.
    pub fn open(&self, purpose: Purpose) -> Result<Box<dyn Endpoint>, Error> {
        let Self { media, address, runtime, .. } = self;
        let certificate = self.certificate.clone();
        Ok(match runtime {
            None => Box::new(SansIo::open(purpose, *media, certificate, *address)?),
            Some(runtime) => Box::new(AsyncLayer::open(runtime, purpose, *media, certificate, *address)?),
        })
    }
}

fn failed<E: fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Rtc(what, error.to_string())
}

fn settings(purpose: Purpose) -> SettingEngine {
    let settings = SettingEngineBuilder::new().with_multicast_dns_mode(MulticastDnsMode::Disabled);
    match purpose {
        Purpose::Viewer => settings
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
            .with_answering_dtls_role(RTCDtlsRole::Client)
            // As of browsers.
            .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(256 * 1024))
            .build(),
        Purpose::Player => settings.with_discard_local_candidates_during_ice_restart(true).build(),
    }
}

/// The channels that a peer of this kind makes: label and properties.
fn data_channels(purpose: Purpose) -> Vec<(Channel, &'static str, RTCDataChannelInit)> {
    let ours = match purpose {
        Purpose::Viewer => vec![
            (Channel::Keys, KEYS_CHANNEL),
            (Channel::Motion, MOTION_CHANNEL),
            (Channel::General, GENERAL_CHANNEL),
        ],
        Purpose::Player => Vec::new(),
    };
    let with_properties = |(channel, (label, id)): (Channel, (&'static str, u16))| {
        let lossy = channel == Channel::Motion;
        let max_retransmits = lossy.then_some(0);
        let init = RTCDataChannelInit {
            ordered: !lossy,
            max_retransmits,
            negotiated: Some(id),
            ..Default::default()
        };
        (channel, label, init)
    };
    ours.into_iter().map(with_properties).collect()
}
