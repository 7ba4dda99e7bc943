//! The session of one connection: which tracks a player has set up, and whether they play. Pure.
//!
//! ```text
//! nothing ──SETUP──▶ ready ──PLAY──▶ playing ──PAUSE──▶ ready
//!    ▲                 └──────TEARDOWN──────┴───────────────┘│
//!    └───────────────────────────────────────────────────────┘
//! ```
//!
//! It ends with its connection, of which there is one for each session.

use std::collections::BTreeMap;

use common::id::{SourceName, StreamerId};
use common::rtp_stream::{Description, Lane, Start, Track};
use rtsp_types::StatusCode;

use super::request::{Refusal, TRACK, Target, Transport};

/// What a session may be silent for, in seconds, while it does not play.
pub const TIMEOUT_S: u64 = 60;

/// Numbers of the channels of a track: packets and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    media: u8,
    report: u8,
}

/// A session.
#[derive(Debug, PartialEq, Eq)]
pub struct Session {
    id: String,
    stream: (StreamerId, SourceName),
    tracks: BTreeMap<Track, Channels>,
    playing: bool,
}

impl Session {
    /// A session of the stream that `target` is of, without tracks. `id` names it, and must not be guessed.
    pub fn new(id: String, target: &Target) -> Self {
        let stream = (target.id.clone(), target.source.clone());
        Self { id, stream, tracks: BTreeMap::new(), playing: false }
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The streamer and the source that it is of.
    pub fn stream(&self) -> &(StreamerId, SourceName) {
        &self.stream
    }

    /// Whether packets are sent.
    pub fn is_playing(&self) -> bool {
        self.playing
    }

    /// Checks that a request names this session.
    ///
    /// # Errors
    /// It names another one, or none.
    pub fn named(&self, id: Option<&str>) -> Result<(), Refusal> {
        if id == Some(self.id.as_str()) { Ok(()) } else { Err(no_session()) }
    }

    /// Adds the track of `target`, or changes its channels. The value of `Transport` of the response.
    ///
    /// # Errors
    /// The stream has no such track, none of the ways is known, or the channels are taken.
    pub fn set_up(
        &mut self,
        target: &Target,
        ways: &[Transport],
        description: &Description,
    ) -> Result<String, Refusal> {
        if self.playing {
            let detail = "tracks cannot be set up while the session plays";
            return Err(Refusal::new(StatusCode::MethodNotValidInThisState, detail));
        }
        if (&target.id, &target.source) != (&self.stream.0, &self.stream.1) {
            return Err(another_stream());
        }
        // A stream without sound has one track, which needs no name.
        let track = match (target.track, &description.audio) {
            (Some(Track::Audio), None) => {
                return Err(Refusal::new(StatusCode::NotFound, "the stream has no sound"));
            }
            (Some(track), _) => track,
            (None, None) => Track::Video,
            (None, Some(_)) => {
                let detail = format!("name the track: {TRACK}0 or {TRACK}1");
                return Err(Refusal::new(StatusCode::AggregateOperationNotAllowed, detail));
            }
        };
        let interleaved = ways.iter().find_map(|way| match way {
            Transport::Interleaved(channels) => Some(*channels),
            Transport::Other => None,
        });
        let Some(wanted) = interleaved else {
            let detail = "packets come only by the connection itself: RTP/AVP/TCP;interleaved=0-1";
            return Err(Refusal::new(StatusCode::UnsupportedTransport, detail));
        };
        let (media, report) = wanted.unwrap_or(match track {
            Track::Video => (0, 1),
            Track::Audio => (2, 3),
        });
        let others = self.tracks.iter().filter(|(other, _)| **other != track);
        let taken = others.flat_map(|(_, channels)| [channels.media, channels.report]).collect::<Vec<_>>();
        if taken.contains(&media) || taken.contains(&report) {
            return Err(Refusal::new(StatusCode::BadRequest, "another track has these channels"));
        }
        self.tracks.insert(track, Channels { media, report });
        Ok(format!("RTP/AVP/TCP;unicast;interleaved={media}-{report}"))
    }

    /// Packets are sent from now on. The value of `RTP-Info` of the response; `base` is the address of the stream.
    ///
    /// # Errors
    /// No track was set up.
    pub fn play(&mut self, base: &str, description: &Description) -> Result<String, Refusal> {
        if self.tracks.is_empty() {
            return Err(no_session());
        }
        self.playing = true;
        let start = |track: &Track| match track {
            Track::Video => Some((0, description.video)),
            Track::Audio => description.audio.map(|start| (1, start)),
        };
        let info = self.tracks.keys().filter_map(start).map(|(number, start)| {
            let Start { sequence, timestamp, .. } = start;
            format!("url={base}{TRACK}{number};seq={sequence};rtptime={timestamp}")
        });
        Ok(info.collect::<Vec<_>>().join(","))
    }

    /// No packets are sent from now on.
    pub fn pause(&mut self) {
        self.playing = false;
    }

    /// The number of the channel for what comes on a lane; none for a track that was not set up.
    pub fn channel(&self, lane: Lane) -> Option<u8> {
        match lane {
            Lane::Description => None,
            Lane::Media(track) => self.tracks.get(&track).map(|channels| channels.media),
            Lane::Report(track) => self.tracks.get(&track).map(|channels| channels.report),
        }
    }
}

/// A request that needs a session names none that there is.
pub fn no_session() -> Refusal {
    Refusal::new(StatusCode::SessionNotFound, "there is no such session on this connection: SETUP makes one")
}

/// A request is about another stream than that of its session.
pub fn another_stream() -> Refusal {
    let detail = "a session is of one stream: set up another one on a connection of its own";
    Refusal::new(StatusCode::AggregateOperationNotAllowed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(source: &str, track: Option<Track>) -> Target {
        Target { id: StreamerId::parse("demo").unwrap(), source: source.to_owned(), track }
    }

    fn description(sound: bool) -> Description {
        let start = |ssrc| Start { ssrc, sequence: 5, timestamp: 6 };
        Description { sps: vec![], pps: vec![], video: start(1), audio: sound.then(|| start(2)) }
    }

    fn status(refused: Result<String, Refusal>) -> u16 {
        refused.unwrap_err().status.into()
    }

    #[test]
    fn tracks_are_set_up_played_and_paused() {
        let [video, audio] = [Track::Video, Track::Audio].map(|track| target("main", Some(track)));
        let mut session = Session::new("secret".into(), &video);
        assert_eq!(session.named(Some("other")), Err(no_session()));
        assert_eq!(session.play("rtsp://h/", &description(true)), Err(no_session()), "it has no tracks");
        let way = [Transport::Other, Transport::Interleaved(Some((4, 9)))];
        let set_up = session.set_up(&video, &way, &description(true)).unwrap();
        assert_eq!(set_up, "RTP/AVP/TCP;unicast;interleaved=4-9");
        session.set_up(&audio, &[Transport::Interleaved(None)], &description(true)).unwrap();
        assert_eq!(session.channel(Lane::Report(Track::Video)), Some(9));
        assert_eq!(session.channel(Lane::Media(Track::Audio)), Some(2));
        let info = session.play("rtsp://h/demo/main/", &description(true)).unwrap();
        assert_eq!(
            info,
            "url=rtsp://h/demo/main/trackID=0;seq=5;rtptime=6,url=rtsp://h/demo/main/trackID=1;seq=5;rtptime=6"
        );
        assert_eq!(status(session.set_up(&video, &way, &description(true))), 455);
        session.pause();
        assert!(!session.is_playing() && session.named(Some("secret")).is_ok());
    }

    #[test]
    fn what_cannot_be_set_up_is_refused() {
        let any = [Transport::Interleaved(None)];
        let mut session = Session::new("secret".into(), &target("main", None));
        let mut set_up = |target: Target, ways: &[Transport], sound| {
            session.set_up(&target, ways, &description(sound)).map_err(|refusal| u16::from(refusal.status))
        };
        let [video, audio] = [Some(Track::Video), Some(Track::Audio)];
        assert_eq!(set_up(target("other", video), &any, true), Err(459));
        assert_eq!(set_up(target("main", audio), &any, false), Err(404));
        assert_eq!(set_up(target("main", None), &any, true), Err(459));
        assert_eq!(set_up(target("main", video), &[Transport::Other], true), Err(461));
        assert!(set_up(target("main", None), &any, false).is_ok(), "there is only one");
        assert_eq!(set_up(target("main", audio), &[Transport::Interleaved(Some((7, 1)))], true), Err(400));
        assert_eq!(session.channel(Lane::Media(Track::Audio)), None);
    }
}
