//! Command lines for ffmpeg: pure text, so that tests can check them.
//!
//! Picture and sound leave ffmpeg by separate pipes: with both in one, its writer holds either back until
//! it has one of the other.

use std::os::fd::RawFd;

use common::spec::{SecretUrl, VideoMode};

use super::secrets::percent_decoded;
use crate::encode::rate::default_bitrate;
use crate::media::Size;

/// An input of ffmpeg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A URL.
    Url(String),
    /// A URL that may contain a secret, even in its path or query: passed on standard input ([`playlist`]), as everybody on this machine can see
    /// arguments.
    Secret(String),
    /// A file, read at its own speed; `true`: in a loop.
    File(String, bool),
    /// Its standard input, in this container; written by a program.
    Program(Container),
    /// Its standard input, written by us, with timestamps that are kept: H.264 and sound in FLV.
    OurFlv,
    /// The same: VP8, VP9 or AV1 in IVF.
    OurIvf,
}

/// The container that a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// MPEG transport stream.
    MpegTs,
    /// Fragmented MP4.
    Mp4,
    /// H.264 without a container and so without timestamps: the times of arrival are used.
    H264,
    /// VP8, VP9 or AV1, frame by frame.
    Ivf,
    /// Something else, which ffmpeg detects.
    Unknown,
}

impl Container {
    /// How many bytes [`Container::of`] needs.
    pub const SAMPLE: usize = 12;

    /// The container of data that begins with these bytes.
    pub fn of(beginning: &[u8]) -> Self {
        match beginning {
            [0x47, ..] => Self::MpegTs,
            [_, _, _, _, b'f', b't', b'y', b'p', ..] | [_, _, _, _, b's', b't', b'y', b'p', ..] => Self::Mp4,
            [0, 0, 1, ..] | [0, 0, 0, 1, ..] => Self::H264,
            [b'D', b'K', b'I', b'F', ..] => Self::Ivf,
            _ => Self::Unknown,
        }
    }
}

/// How the picture is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Passed through; refused if it has another codec.
    Copy(Codecs),
    /// Re-encoded with this encoder.
    Encode(Encoder),
    /// Decoded to I420 and fitted into this size, with black bars.
    Decode(Size),
}

/// Codecs that can be passed through, by the container in which they leave ffmpeg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codecs {
    /// H.264, in MPEG-TS.
    H264,
    /// VP8, VP9 and AV1, in IVF.
    Open,
}

/// An encoder of ffmpeg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoder {
    /// H.264, by libx264.
    H264,
    /// VP8, by libvpx.
    Vp8,
}

impl Action {
    /// From a spec. Copying starts with the usual codec; if it is another one, ffmpeg refuses it.
    pub fn of(mode: VideoMode) -> Self {
        match mode {
            VideoMode::H264 => Self::Encode(Encoder::H264),
            VideoMode::Vp8 => Self::Encode(Encoder::Vp8),
            VideoMode::Copy => Self::Copy(Codecs::H264),
        }
    }

    /// The container in which the picture leaves ffmpeg.
    pub fn gives(self) -> Carrier {
        match self {
            Self::Copy(Codecs::Open) | Self::Encode(Encoder::Vp8) => Carrier::Ivf,
            Self::Copy(Codecs::H264) | Self::Encode(Encoder::H264) => Carrier::MpegTs,
            Self::Decode(size) => Carrier::Raw(size),
        }
    }
}

/// What leaves ffmpeg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// MPEG-TS.
    MpegTs,
    /// IVF.
    Ivf,
    /// One picture after the other in I420, all of this size.
    Raw(Size),
}

/// How the picture is processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// How the picture is treated.
    pub action: Action,
    /// Scaled to this height.
    pub height: Option<u32>,
    /// De-interlaced, at the cost of one picture of delay.
    pub interlaced: bool,
    /// Encoded at this bitrate; chosen from the size if absent.
    pub bitrate_kbps: Option<u32>,
    /// Size and frame rate before scaling, where they are known.
    pub known: Option<(Size, u32)>,
    /// Its colours are those of HDTV without being declared: they follow from its size, which is about to change.
    pub hdtv: bool,
}

/// A whole command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The input.
    pub input: Input,
    /// How the picture is processed, and the descriptor that it is written to.
    pub picture: Option<(Picture, RawFd)>,
    /// The descriptor that sound is written to, as Opus; none if absent.
    pub sound: Option<RawFd>,
}

/// Protocols for remote inputs. Files of this machine are not among them: a playlist from elsewhere must not
/// name one.
const REMOTE_PROTOCOLS: &str = "rtsp,rtp,srtp,udp,tcp,tls,http,https,httpproxy,hls,crypto,rtmp,rtmps,srt";
/// The same for a playlist that we write.
const PLAYLIST_PROTOCOLS: &str =
    "pipe,rtsp,rtp,srtp,udp,tcp,tls,http,https,httpproxy,hls,crypto,rtmp,rtmps,srt";
/// Protocols that a file may refer to.
const FILE_PROTOCOLS: &str = "file,crypto";
/// Protocols for standard input alone.
const PIPE_PROTOCOLS: &str = "pipe";
/// How long ffmpeg analyses a stream by URL before it is shown; its default is 5 s and more.
const LIVE: &str = "-fpsprobesize 0 -analyzeduration 1000000";
/// The same in a playlist.
const LIVE_OPTIONS: &str = "option fpsprobesize 0\noption analyzeduration 1000000\n";
/// Size that is assumed where none is known.
const ASSUMED: (Size, u32) = (Size { width: 1280, height: 720 }, 30);
/// Bitrate of sound, bits per second: as that of our own encoder.
const SOUND_BPS: &str = "96k";
/// Interval of keyframes: a peer that joins waits this long at most, and a seamless switch needs a short cached GOP.
const KEYFRAMES: &str = "expr:if(isnan(prev_forced_t),1,gte(t,prev_forced_t+2))";

impl Input {
    /// From the text of a spec.
    pub fn of(input: &SecretUrl, repeat: bool) -> Self {
        let text = input.expose();
        match text.split_once("://") {
            Some(("file", path)) => {
                // RFC 8089: the host is this machine, whether it is named or not.
                let path =
                    path.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(path);
                Self::File(percent_decoded(path), repeat)
            }
            Some(_) if input.redacted() != *input => Self::Secret(text.to_owned()),
            Some(_) => Self::Url(text.to_owned()),
            None => Self::File(text.to_owned(), repeat),
        }
    }
}

impl Input {
    /// Whether ffmpeg is the first to parse the pictures, as it is not for those that we write to it.
    fn is_theirs(&self) -> bool {
        !matches!(self, Self::OurFlv | Self::OurIvf)
    }

    /// Selects the video. For a file, ffmpeg chooses: the one that is marked as default, then the largest; in some files covers come
    /// first, and not all are marked as such. For anything else it is the first that is no cover, so that
    /// picture and sound belong to one program.
    fn film(&self) -> &'static str {
        match self {
            Self::File(..) => "-an -sn -dn",
            _ => "-map 0:V:0 -an -sn -dn",
        }
    }
}

/// A playlist for ffmpeg's demuxer `concat`, with only this URL.
pub fn playlist(url: &str) -> String {
    let transport = if url.starts_with("rtsp") { "option rtsp_transport tcp\n" } else { "" };
    format!("ffconcat version 1.0\nfile '{}'\n{LIVE_OPTIONS}{transport}", url.replace('\'', r"'\''"))
}

impl Plan {
    /// The arguments of ffmpeg.
    pub fn arguments(&self) -> Vec<String> {
        // Messages have levels. Some of lower levels tell what is passed through, and whether there is sound.
        let level = if self.describes() { "level+info" } else { "level+error" };
        let mut all = words("-hide_banner -nostdin -nostats -loglevel");
        all.push(level.to_owned());
        self.push_input(&mut all);
        if let Some((picture, fd)) = self.picture {
            all.extend(words(self.input.film()));
            push_picture(&mut all, picture, &self.input);
            push_output(&mut all, picture.action.gives(), fd);
        }
        if let Some(fd) = self.sound {
            all.extend(words("-map 0:a:0? -sn -dn -af aresample=async=1 -ac 2 -ar 48000"));
            // An output without a stream is an error, and restarting without it would mean to connect twice. Where there is no
            // sound, ffmpeg maps a picture of its choice instead, which is ignored.
            let instead = self.picture.is_some() && self.input.is_theirs();
            all.extend(words(if instead { "-c:v copy -frames:v 1" } else { "-vn" }));
            all.extend(words("-c:a libopus -application lowdelay -frame_duration 20 -vbr on -b:a"));
            all.push(SOUND_BPS.into());
            push_output(&mut all, Carrier::MpegTs, fd);
        }
        all
    }

    /// Whether ffmpeg is to describe its streams: the container may say how the picture is to be shown, whether there is sound, and whether the
    /// picture of a file is only its cover.
    fn describes(&self) -> bool {
        let copied = |(picture, _): (Picture, RawFd)| matches!(picture.action, Action::Copy(_));
        let file = matches!(self.input, Input::File(..));
        self.input.is_theirs() && (file || self.sound.is_some() || self.picture.is_some_and(copied))
    }

    fn push_input(&self, all: &mut Vec<String>) {
        let (protocols, options, input) = match &self.input {
            Input::Url(url) if url.starts_with("rtsp") => (
                REMOTE_PROTOCOLS,
                "-rtsp_transport tcp -fpsprobesize 0 -analyzeduration 1000000",
                url.clone(),
            ),
            Input::Url(url) => (REMOTE_PROTOCOLS, LIVE, url.clone()),
            Input::Secret(_) => (PLAYLIST_PROTOCOLS, "-f concat -safe 0", "pipe:0".into()),
            Input::File(path, false) => (FILE_PROTOCOLS, "-re", format!("file:{path}")),
            Input::File(path, true) => (FILE_PROTOCOLS, "-re -stream_loop -1", format!("file:{path}")),
            Input::Program(container) => (PIPE_PROTOCOLS, container.options(), "pipe:0".into()),
            // Its packets are self-describing, so nothing needs to be analysed.
            Input::OurFlv => (
                PIPE_PROTOCOLS,
                "-copyts -threads 1 -probesize 32 -analyzeduration 0 -fpsprobesize 0 -f flv",
                "pipe:0".into(),
            ),
            Input::OurIvf => (
                PIPE_PROTOCOLS,
                "-copyts -threads 1 -probesize 32 -analyzeduration 0 -fpsprobesize 0 -f ivf",
                "pipe:0".into(),
            ),
        };
        all.extend(["-protocol_whitelist".to_owned(), protocols.to_owned()]);
        all.extend(words(options));
        all.extend(["-i".to_owned(), input]);
    }
}

impl Container {
    fn options(self) -> &'static str {
        match self {
            Self::MpegTs => "-fpsprobesize 0 -analyzeduration 1000000 -f mpegts",
            Self::Mp4 => "-fpsprobesize 0 -analyzeduration 1000000 -f mp4",
            Self::H264 => "-fpsprobesize 0 -analyzeduration 0 -use_wallclock_as_timestamps 1 -f h264",
            Self::Ivf => "-fpsprobesize 0 -analyzeduration 0 -f ivf",
            Self::Unknown => "-fpsprobesize 0 -analyzeduration 1000000",
        }
    }
}

fn push_picture(all: &mut Vec<String>, picture: Picture, input: &Input) {
    let encoder = match picture.action {
        // The filter stops after the first round of a loop; the container's muxer does the same job.
        // ffmpeg's messages tell if it is not H.264.
        Action::Copy(Codecs::H264) if matches!(input, Input::File(_, true)) => {
            return all.extend(words("-c:v copy"));
        }
        // Refuses other codecs than H.264, with a message.
        Action::Copy(Codecs::H264) => return all.extend(words("-c:v copy -bsf:v h264_mp4toannexb")),
        Action::Copy(Codecs::Open) => return all.extend(words("-c:v copy")),
        Action::Encode(encoder) => encoder,
        Action::Decode(size) => {
            all.extend(["-vf".to_owned(), fitting(picture, size)]);
            return all.extend(words("-fps_mode passthrough -c:v rawvideo -pix_fmt yuv420p"));
        }
    };
    let filters = filters(picture, encoder, input.is_theirs());
    all.extend(["-vf".to_owned(), filters]);
    all.extend(words("-fps_mode passthrough -g 600 -force_key_frames"));
    all.push(KEYFRAMES.into());
    // Rate control by timestamps. By frame rate, which ffmpeg invents where none is declared, there would be
    // far too few bits or too many.
    match encoder {
        Encoder::H264 => {
            all.extend(words("-c:v libx264 -preset veryfast -tune zerolatency"));
            all.extend(words("-profile:v baseline -bf 0 -sc_threshold 0 -forced-idr 1 -x264-params"));
            all.push(format!("fps={}:force-cfr=0", picture.known.map_or(ASSUMED.1, |(_, fps)| fps.max(1))));
        }
        Encoder::Vp8 => {
            all.extend(words("-c:v libvpx -deadline realtime -cpu-used 8 -lag-in-frames 0 -auto-alt-ref 0"));
            // Timestamps of its container are in units of the encoder, which default to the length of a frame.
            all.extend(words("-error-resilient 1 -enc_time_base 1:1000"));
        }
    }
    let kbps = picture.bitrate_kbps.unwrap_or_else(|| default_kbps(picture));
    // Half a second's worth may be sent at once: keyframes are large.
    for (name, kbps) in [("-b:v", kbps), ("-maxrate", kbps), ("-bufsize", kbps / 2)] {
        all.extend([name.to_owned(), format!("{}k", kbps.max(1))]);
    }
}

/// Filters between the decoder and the encoder. ffmpeg itself rotates pictures upright before.
fn filters(picture: Picture, encoder: Encoder, theirs: bool) -> String {
    let mut all: Vec<String> = Vec::new();
    match (picture.interlaced, theirs) {
        (true, _) => all.push("yadif".into()),
        // Only pictures that are marked as interlaced; detecting it would take one more picture of delay.
        (false, true) => all.push("yadif=deint=interlaced".into()),
        (false, false) => {}
    }
    if picture.hdtv {
        all.push("setparams=colorspace=bt709".into());
    }
    // Pixels become square, as no later stage keeps an aspect ratio. Does nothing for square ones.
    let size = match picture.height {
        Some(height) => format!("trunc(iw*sar*{height}/ih/2+0.5)*2:{height}"),
        None => "trunc(iw*sar+0.5):ih".into(),
    };
    // H.264 declares its colours; VP8 always has these (RFC 6386 §9.2).
    let colours = if encoder == Encoder::Vp8 { ":out_color_matrix=bt601:out_range=tv" } else { "" };
    all.push(format!("scale={size}{colours}"));
    // Sides must be even.
    all.push("crop=trunc(iw/2)*2:trunc(ih/2)*2,setsar=1,format=yuv420p".into());
    all.join(",")
}

/// Filters that fit pictures into a size, in the colours that cameras have.
fn fitting(picture: Picture, Size { width, height }: Size) -> String {
    let known = if picture.hdtv { "setparams=colorspace=bt709," } else { "" };
    format!(
        "{known}scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2:out_color_matrix=bt601:out_range=tv,\
         pad={width}:{height}:-1:-1,setsar=1,format=yuv420p"
    )
}

fn default_kbps(picture: Picture) -> u32 {
    let (size, fps) = picture.known.unwrap_or(ASSUMED);
    let scaled = picture.height.map(|height| {
        let width = u64::from(size.width) * u64::from(height) / u64::from(size.height.max(1));
        Size { width: u32::try_from(width).unwrap_or(u32::MAX), height }
    });
    default_bitrate(scaled.unwrap_or(size), fps) / 1000
}

fn push_output(all: &mut Vec<String>, carrier: Carrier, fd: RawFd) {
    const TS: &str = "-f mpegts -muxdelay 0 -muxpreload 0 -omit_video_pes_length 0 -pes_payload_size 0";
    all.extend(words(match carrier {
        Carrier::MpegTs => TS,
        Carrier::Ivf => "-f ivf",
        Carrier::Raw(_) => "-f rawvideo",
    }));
    all.extend(["-flush_packets".to_owned(), "1".to_owned(), format!("pipe:{fd}")]);
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, repeat: bool) -> Input {
        Input::of(&SecretUrl::new(text), repeat)
    }

    fn line(input: Input, mode: VideoMode, height: Option<u32>) -> String {
        let action = Action::of(mode);
        let picture =
            Picture { action, height, interlaced: false, bitrate_kbps: Some(800), known: None, hdtv: false };
        Plan { input, picture: Some((picture, 1)), sound: Some(5) }.arguments().join(" ")
    }

    #[test]
    fn a_file_is_read_at_its_own_speed_and_may_name_nothing_remote() {
        let line = line(of("a b.mp4", true), VideoMode::H264, Some(360));
        assert!(
            line.contains("-protocol_whitelist file,crypto -re -stream_loop -1 -i file:a b.mp4 "),
            "{line}"
        );
        assert!(
            line.contains("scale=trunc(iw*sar*360/ih/2+0.5)*2:360,")
                && line.contains("-b:v 800k -maxrate 800k -bufsize 400k")
        );
        assert!(line.ends_with("-flush_packets 1 pipe:5"));
        assert_eq!(of("file:///x.mp4", false), Input::File("/x.mp4".into(), false));
        assert_eq!(of("file:///a%20b.mp4", false), Input::File("/a b.mp4".into(), false));
        assert_eq!(of("file://localhost/a%25b.mp4", false), Input::File("/a%b.mp4".into(), false));
        assert_eq!(of("/a%20b.mp4", false), Input::File("/a%20b.mp4".into(), false));
    }

    #[test]
    fn live_urls_are_allowed_and_shown_soon() {
        let Input::Secret(url) = of("rtmp://h/live/key", false) else { panic!("a key may be in it") };
        assert_eq!(playlist(&url), format!("ffconcat version 1.0\nfile 'rtmp://h/live/key'\n{LIVE_OPTIONS}"));
        for url in ["rtmp://h", "rtmps://h", "srt://h:9000"] {
            let line = line(Input::Url(url.to_owned()), VideoMode::Copy, None);
            assert!(line.contains(",rtmp,rtmps,srt -fpsprobesize 0 -analyzeduration 1000000 -i "), "{line}");
        }
    }

    #[test]
    fn what_is_encoded_anew_is_whole_and_has_square_pixels() {
        let file = line(of("a.ts", false), VideoMode::H264, None);
        assert!(file.contains("-vf yadif=deint=interlaced,scale=trunc(iw*sar+0.5):ih,crop="), "{file}");
        assert!(file.contains(",setsar=1,format=yuv420p"), "{file}");
        let program = line(Input::Program(Container::MpegTs), VideoMode::Vp8, None);
        assert!(program.contains("yadif=") && program.contains(":ih:out_color_matrix=bt601:out_range=tv,"));
        assert!(!line(Input::OurFlv, VideoMode::H264, None).contains("yadif"));
    }

    #[test]
    fn ffmpeg_chooses_the_film_of_a_file_and_the_first_video_of_a_broadcast() {
        assert!(!line(of("a.mkv", false), VideoMode::H264, None).contains("-map 0:V"));
        for input in [of("http://h", false), Input::Program(Container::MpegTs), Input::OurFlv] {
            assert!(line(input, VideoMode::H264, None).contains(" -map 0:V:0 -an "));
        }
    }

    #[test]
    fn where_there_is_no_sound_one_picture_is_written_in_its_place() {
        let instead = " -c:v copy -frames:v 1 -c:a libopus ";
        assert!(line(of("a.mp4", false), VideoMode::H264, None).contains(instead));
        assert!(line(Input::OurFlv, VideoMode::H264, None).contains(" -vn -c:a libopus "));
    }

    #[test]
    fn what_is_passed_on_is_described() {
        for (input, mode, level) in [
            (of("a.mp4", false), VideoMode::Copy, "info"),
            (Input::Program(Container::MpegTs), VideoMode::Copy, "info"),
            (of("a.mp4", false), VideoMode::H264, "info"),
            (Input::OurFlv, VideoMode::Copy, "error"),
        ] {
            let line = line(input, mode, None);
            assert!(line.contains(&format!("-nostats -loglevel level+{level} ")), "{line}");
        }
        let action = Action::of(VideoMode::H264);
        let picture =
            Picture { action, height: None, interlaced: false, bitrate_kbps: None, known: None, hdtv: false };
        let silent = |input| {
            let plan = Plan { input, picture: Some((picture, 1)), sound: None };
            plan.arguments().join(" ")
        };
        assert!(silent(of("http://h/a", false)).contains(" level+error "));
        // The only picture of a file may be a cover, which only this message tells.
        assert!(silent(of("a.mp4", false)).contains(" level+info "));
    }

    #[test]
    fn a_url_may_not_name_a_file() {
        let line = line(of("https://h/list.m3u8", false), VideoMode::Copy, None);
        assert!(!line.contains("file") && !line.contains("-re ") && !line.contains("libx264"), "{line}");
    }

    #[test]
    fn a_password_is_no_argument() {
        assert!(matches!(of("http://h/flv?user=admin&password=x", false), Input::Secret(_)));
        assert!(matches!(of("https://h/live/key", false), Input::Secret(_)));
        let input = of("rtsp://u:it's@h/x", false);
        let line = line(input.clone(), VideoMode::Copy, None);
        assert!(line.contains("-f concat -safe 0 -i pipe:0 ") && !line.contains("it's"), "{line}");
        let Input::Secret(url) = input else { panic!("secret") };
        let list = r"ffconcat version 1.0
file 'rtsp://u:it'\''s@h/x'
option fpsprobesize 0
option analyzeduration 1000000
option rtsp_transport tcp
";
        assert_eq!(playlist(&url), list);
    }

    #[test]
    fn a_program_is_known_by_its_first_bytes() {
        for (bytes, container) in [
            (&b"\x47\x40\x00\x10"[..], Container::MpegTs),
            (b"\0\0\0\x18ftypisom", Container::Mp4),
            (b"\0\0\0\x01\x67", Container::H264),
            (b"\0\0\x01\x67", Container::H264),
            (b"DKIF\0\0\x20\0VP80", Container::Ivf),
            (b"\x1a\x45\xdf\xa3", Container::Unknown),
            (b"", Container::Unknown),
        ] {
            assert_eq!(Container::of(bytes), container);
        }
    }

    #[test]
    fn bits_are_counted_by_the_times_of_pictures() {
        assert!(line(Input::OurFlv, VideoMode::H264, None).contains("-x264-params fps=30:force-cfr=0 "));
    }

    #[test]
    fn each_codec_leaves_in_a_container_that_holds_it() {
        let sound = "-f mpegts -muxdelay 0 -muxpreload 0 -omit_video_pes_length 0 -pes_payload_size 0 -flush_packets 1 pipe:5";
        let h264 = line(Input::OurFlv, VideoMode::Copy, None);
        assert!(h264.contains("-c:v copy -bsf:v h264_mp4toannexb -f mpegts ") && h264.ends_with(sound));
        let again = line(of("a.mp4", true), VideoMode::Copy, None);
        assert!(again.contains("-c:v copy -f mpegts "), "{again}");
        let vp8 = line(of("a.mp4", false), VideoMode::Vp8, None);
        assert!(vp8.contains("-c:v libvpx -deadline realtime ") && vp8.ends_with(sound), "{vp8}");
        assert!(vp8.contains(" -f ivf -flush_packets 1 pipe:1 ") && !vp8.contains("x264"), "{vp8}");
    }

    #[test]
    fn the_bitrate_follows_the_size() {
        let kbps = |height, known| {
            default_kbps(Picture {
                action: Action::Encode(Encoder::H264),
                height,
                interlaced: false,
                bitrate_kbps: None,
                known,
                hdtv: false,
            })
        };
        let hd = Some((Size { width: 1920, height: 1080 }, 30));
        assert!(kbps(None, hd) > kbps(Some(720), hd) && kbps(Some(720), hd) > kbps(Some(360), hd));
        assert_eq!(kbps(None, None), 2500);
        assert!(kbps(Some(360), Some((Size { width: 9, height: 0 }, 0))) > 0);
    }
}
