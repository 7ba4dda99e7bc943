//! Cameras: files made by ffmpeg whose pictures form a sequence, and a real RTSP server (GStreamer's) that sends them.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Luma of the first picture of a clip; each further one is [`STEP`] brighter, [`STEPS`] times, then the sequence repeats.
pub const DARKEST: u8 = 30;
/// How much brighter the next picture is: more than encoding changes.
pub const STEP: u8 = 8;
/// Pictures until one is as dark as the first again.
pub const STEPS: u32 = 24;

/// A film to be made.
#[derive(Debug, Clone, Copy)]
pub struct Clip<'a> {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
    /// How long it is.
    pub seconds: u32,
    /// Arguments of ffmpeg for the video encoder.
    pub video: &'a str,
    /// Arguments of ffmpeg for the sound encoder; no sound if absent. The sound is a tone of 440 Hz.
    pub sound: Option<&'a str>,
}

impl Default for Clip<'_> {
    fn default() -> Self {
        let video = "-c:v libx264 -preset ultrafast -bf 0 -g 12 -pix_fmt yuv420p";
        Self { width: 320, height: 180, fps: 12, seconds: 60, video, sound: None }
    }
}

impl Clip<'_> {
    /// Makes it. The container follows from the end of the name.
    ///
    /// # Panics
    /// When ffmpeg fails.
    #[track_caller]
    pub fn make(&self, dir: &Path, name: &str) -> PathBuf {
        let file = dir.join(name);
        let picture = format!(
            "color=c=black:size={}x{}:rate={},format=yuv420p,geq=lum='{DARKEST}+{STEP}*mod(N,{STEPS})':cb=128:cr=128",
            self.width, self.height, self.fps
        );
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", &picture]);
        if self.sound.is_some() {
            ffmpeg.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        }
        ffmpeg.args(["-t", &self.seconds.to_string()]).args(self.video.split_whitespace());
        ffmpeg.args(self.sound.unwrap_or_default().split_whitespace());
        let status = ffmpeg.arg(&file).status().expect("ffmpeg runs: the package \"ffmpeg\" is needed");
        assert!(status.success(), "ffmpeg makes {name}: {status}");
        file
    }
}

/// Which picture of a clip has this luma: counted modulo [`STEPS`].
pub fn number(luma: u8) -> u32 {
    let steps = (f64::from(luma) - f64::from(DARKEST)) / f64::from(STEP);
    steps.round().max(0.0) as u32 % STEPS
}

/// A running RTSP server on the loopback interface. Dropping it kills it, as a camera that loses power.
pub struct RtspServer {
    child: Child,
    port: u16,
}

impl RtspServer {
    /// Starts it on a free port. `mounts` are names with pipelines of GStreamer ([`serve`]).
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start(mounts: &[(&str, String)]) -> Self {
        Self::start_at(0, None, mounts)
    }

    /// As [`RtspServer::start`], at this port (0: a free one), and for `user:password` only.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start_at(port: u16, login: Option<&str>, mounts: &[(&str, String)]) -> Self {
        // Debian's Python, as its packages are for no other.
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", include_str!("rtsp_server.py"), &port.to_string(), login.unwrap_or_default()]);
        command.args(mounts.iter().map(|(name, pipeline)| format!("{name}={pipeline}")));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 runs");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe was asked for");
        // It prints this line and nothing else.
        let _ = BufReader::new(output).read_line(&mut line);
        let port = line.trim().parse().expect(
            "the RTSP server listens: the packages gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-good and \
             gstreamer1.0-plugins-bad are needed",
        );
        Self { child, port }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the stream mounted under this name.
    pub fn url(&self, name: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for RtspServer {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has seen then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pipeline that sends a clip in an MP4 file unchanged: H.264, and sound in this codec (`mpeg4-generic`, `opus`, `pcmu`,
/// `pcma`).
///
/// # Panics
/// When the codec is none of these.
pub fn serve(file: &Path, sound: Option<&str>) -> String {
    let file = file.display();
    let picture = format!(
        "filesrc location={file} ! qtdemux name=d d.video_0 ! queue ! h264parse ! rtph264pay name=pay0 pt=96"
    );
    let payloader = match sound {
        None => return picture,
        Some("mpeg4-generic") => "aacparse ! rtpmp4gpay",
        Some("opus") => "rtpopuspay",
        Some("pcmu") => "rtppcmupay",
        Some("pcma") => "rtppcmapay",
        Some(other) => panic!("{other} is not known"),
    };
    format!("{picture} d.audio_0 ! queue ! {payloader} name=pay1 pt=97")
}

/// A camera that replies to every request with this status and these headers. Returns its address; it listens until
/// the process ends.
///
/// # Panics
/// When there is no port.
#[track_caller]
pub fn answering(status: &str) -> SocketAddr {
    answering_in_lines(status, "\r\n")
}

/// The same, with another end of its lines than RTSP has.
///
/// # Panics
/// When there is no port.
#[track_caller]
pub fn answering_in_lines(status: &str, end: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let status = status.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let status = status.clone();
            std::thread::spawn(move || answer(client, &status, end));
        }
    });
    address
}

fn answer(mut client: TcpStream, status: &str, end: &str) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = client.read(&mut buffer) {
        let request = String::from_utf8_lossy(&buffer[..len]).to_lowercase();
        let number = request.lines().find_map(|line| line.strip_prefix("cseq:")).unwrap_or("1");
        let answer = format!("RTSP/1.0 {status}{end}CSeq: {}{end}{end}", number.trim());
        if client.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// What ffprobe says of a film, of which it reads every picture.
///
/// # Panics
/// When ffprobe complains of it.
#[track_caller]
pub fn probe(file: &Path) -> Value {
    let output = Command::new("ffprobe")
        .args(["-loglevel", "error", "-count_frames", "-show_streams", "-of", "json"])
        .arg(file)
        .output()
        .expect("ffprobe runs: the package \"ffmpeg\" is needed");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}
