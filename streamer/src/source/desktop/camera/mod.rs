//! The camera of a desktop: what one peer publishes, on its way to the programs.
//!
//! ```text
//! feed ── Tap ──▶ ffmpeg: decoded, scaled ──▶ thread `camera` ──▶ Screen: a V4L2 device ──▶ programs
//! ```
//!
//! The device has one size, into which pictures are fitted with black bars. It is written to as long as the desktop runs, so that programs
//! find a camera whenever they look for one: black pictures while nobody is plugged in, and the last one of a peer that sends none. Only
//! what a peer that is plugged in sends is decoded.

pub mod device;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use common::id::PeerId;
use common::media::VideoCodec;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use self::device::Device;
use crate::feed::Tapping;
use crate::media::Size;
use crate::source::ffmpeg::arguments::{Action, Picture};
use crate::source::ffmpeg::child;
use crate::source::ffmpeg::tapped::{Units, Variant};
use crate::source::ffmpeg::transcode::Encoded;
use crate::source::{self, NoCamera};

/// Size of its pictures: what programs that call people ask for.
pub const SIZE: Size = Size { width: 1280, height: 720 };
/// A picture that stands still is written again so often: a program that has just opened the device waits for one.
const STILL: Duration = Duration::from_millis(500);
/// The pause after ffmpeg has failed, or the feed's taps had no room.
const RETRY: Duration = Duration::from_secs(1);

/// Bytes of a picture in I420.
pub const fn picture_bytes(size: Size) -> usize {
    (size.width * size.height + 2 * (size.width / 2) * (size.height / 2)) as usize
}

/// Whether pictures of this codec are decoded for programs.
pub fn takes(codec: VideoCodec) -> bool {
    codec != VideoCodec::H265
}

/// Where pictures go.
pub trait Screen: Send {
    /// Shows a picture of [`SIZE`] in I420.
    ///
    /// # Errors
    /// It was not taken.
    fn show(&mut self, picture: &[u8]) -> io::Result<()>;
}

/// The camera. Dropping it ends its thread, and its device is no camera any more.
pub struct Camera {
    socket: Arc<Socket>,
    /// `None` only while this is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Who is plugged in; a newer one takes the place of the one before.
struct Socket(watch::Sender<Option<Plugged>>);

#[derive(Clone)]
struct Plugged {
    peer: PeerId,
    tapping: Tapping,
}

impl Camera {
    /// Of the device of this path.
    ///
    /// # Errors
    /// There is no such device, it cannot be used, or there is no ffmpeg to decode with.
    pub fn start(path: &Path) -> Result<Self, NoCamera> {
        child::find().map_err(|end| NoCamera::Device(end.to_string()))?;
        let device = Device::open(path, SIZE)?;
        let failed = |error: io::Error| NoCamera::Device(format!("no thread writes to it: {error}"));
        Self::on(Box::new(device)).map_err(failed)
    }

    /// Of what shows its pictures.
    ///
    /// # Errors
    /// The system has no more threads or descriptors.
    pub fn on(screen: Box<dyn Screen>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (socket, plugged) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let projector = Projector { screen, last: black(), works: true };
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = stopped => {}
                    () = run(projector, plugged) => {}
                }
            });
        };
        let thread = crate::thread::spawn("camera", run)?;
        Ok(Self { socket: Arc::new(Socket(socket)), stop: Some(stop), thread: Some(thread) })
    }

    /// Where a peer is plugged in.
    pub fn socket(&self) -> Arc<dyn source::Camera> {
        Arc::clone(&self.socket) as Arc<dyn source::Camera>
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the camera panicked");
        }
    }
}

impl source::Camera for Socket {
    fn plug(&self, peer: PeerId, tapping: Tapping) {
        self.0.send_replace(Some(Plugged { peer, tapping }));
    }

    fn unplug(&self, peer: PeerId) {
        self.0.send_if_modified(|plugged| plugged.take_if(|plugged| plugged.peer == peer).is_some());
    }
}

/// Until nobody can be plugged in any more.
async fn run(mut projector: Projector, mut plugged: watch::Receiver<Option<Plugged>>) {
    loop {
        let now = plugged.borrow_and_update().clone();
        let changed = tokio::select! {
            biased;
            changed = plugged.changed() => changed,
            () = show(&mut projector, now) => return,
        };
        if changed.is_err() {
            return;
        }
    }
}

async fn show(projector: &mut Projector, plugged: Option<Plugged>) {
    projector.show(black());
    let Some(Plugged { peer, tapping }) = plugged else {
        return projector.stand_still(None).await;
    };
    loop {
        let reason = attempt(projector, &tapping).await;
        tracing::warn!(%peer, reason, "the camera stands still");
        projector.stand_still(Some(RETRY)).await;
    }
}

/// Shows what comes until it cannot be decoded, or there is no more. Returns why.
async fn attempt(projector: &mut Projector, tapping: &Tapping) -> String {
    let mut units = match Units::start(tapping.tap()) {
        Ok(units) => units,
        Err(error) => return format!("no thread to read the pictures: {error}"),
    };
    let mut decoded = Variant::of(decoding());
    loop {
        tokio::select! {
            biased;
            picture = decoded.next() => match picture {
                Ok(Encoded::Raw(picture)) => projector.show(picture),
                Ok(Encoded::Picture(..) | Encoded::Sound(_)) => {}
                Err(end) => return end.to_string(),
            },
            unit = units.next() => match unit {
                Some(unit) => match decoded.push(&unit) {
                    Ok(true) => {}
                    Ok(false) => units.ask_keyframe(),
                    Err(end) => return end.to_string(),
                },
                None => return "no pictures come any more".into(),
            },
            () = projector.stand_still(Some(STILL)) => {}
        }
    }
}

fn decoding() -> Picture {
    Picture {
        action: Action::Decode(SIZE),
        height: None,
        interlaced: false,
        bitrate_kbps: None,
        known: None,
        hdtv: false,
    }
}

/// Puts pictures on the screen.
struct Projector {
    screen: Box<dyn Screen>,
    last: Bytes,
    /// The last picture was taken: what follows one that was not is not told.
    works: bool,
}

impl Projector {
    fn show(&mut self, picture: Bytes) {
        let shown = self.screen.show(&picture);
        self.last = picture;
        match &shown {
            Err(error) if self.works => tracing::warn!(%error, "the camera's device takes no picture"),
            Ok(()) if !self.works => tracing::info!("the camera's device takes pictures again"),
            _ => {}
        }
        self.works = shown.is_ok();
    }

    /// Shows the last picture again and again for this time, or for ever.
    #[expect(clippy::disallowed_methods, reason = "the task of the camera is where the time is asked for")]
    async fn stand_still(&mut self, time: Option<Duration>) {
        let until = time.map(|time| Instant::now() + time);
        while until.is_none_or(|until| Instant::now() < until) {
            tokio::time::sleep(STILL).await;
            self.show(self.last.clone());
        }
    }
}

/// A black picture.
fn black() -> Bytes {
    let luma = (SIZE.width * SIZE.height) as usize;
    let mut picture = vec![16; luma];
    picture.resize(picture_bytes(SIZE), 128);
    picture.into()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;
    use crate::feed::packetize::nal_units;
    use crate::feed::{Demand, Tapping, VideoOutlet};
    use crate::media::AccessUnit;
    use crate::source::ffmpeg::ivf;

    /// A file in place of the device, each picture after the one before.
    struct Recorder {
        file: File,
        written: SyncSender<()>,
    }

    impl Screen for Recorder {
        fn show(&mut self, picture: &[u8]) -> io::Result<()> {
            assert_eq!(picture.len(), picture_bytes(SIZE));
            self.file.write_all(picture)?;
            // Fails only when the test has ended.
            let _ = self.written.send(());
            Ok(())
        }
    }

    /// The camera, and the file that its pictures go to.
    struct Stage {
        camera: Camera,
        file: tempfile::NamedTempFile,
        written: Receiver<()>,
        pictures: usize,
    }

    impl Stage {
        fn start() -> Self {
            let file = tempfile::NamedTempFile::new().unwrap();
            let (sender, written) = sync_channel(1000);
            let recorder = Recorder { file: file.reopen().unwrap(), written: sender };
            Self { camera: Camera::on(Box::new(recorder)).unwrap(), file, written, pictures: 0 }
        }

        /// Reads pictures until one has these colours in its middle, and this luma at its left edge.
        fn until(&mut self, what: &str, middle: [u8; 3], edge: u8) {
            let mut seen = ([0; 3], 0);
            for _ in 0..200 {
                let written = self.written.recv_timeout(Duration::from_secs(20));
                written.unwrap_or_else(|_| panic!("no picture comes until {what}; the last: {seen:?}"));
                seen = self.colours();
                self.pictures += 1;
                let (colours, left) = seen;
                let is_near = |a: u8, b: u8| a.abs_diff(b) <= 6;
                if is_near(left, edge) && colours.into_iter().zip(middle).all(|(a, b)| is_near(a, b)) {
                    return;
                }
            }
            panic!("{what} was not seen; the last: {seen:?}");
        }

        /// Y, U and V in the middle of the next picture, and Y at its left edge.
        fn colours(&self) -> ([u8; 3], u8) {
            use std::os::unix::fs::FileExt as _;
            let Size { width, height } = SIZE;
            let luma = (width * height) as usize;
            let mut picture = vec![0; picture_bytes(SIZE)];
            let at = self.pictures * picture.len();
            self.file.as_file().read_exact_at(&mut picture, at as u64).unwrap();
            let row = (height / 2 * width) as usize;
            let chroma = (height / 4 * (width / 2) + width / 4) as usize;
            let middle = [
                picture[row + width as usize / 2],
                picture[luma + chroma],
                picture[luma + luma / 4 + chroma],
            ];
            (middle, picture[row])
        }
    }

    /// Ten keyframes of one colour, 4:3, as a camera may send them.
    fn encoded(colour: &str, codec: VideoCodec) -> Vec<Bytes> {
        let (encoder, container) = match codec {
            VideoCodec::VP8 => ("libvpx", "ivf"),
            _ => ("libx264", "h264"),
        };
        let source = format!("color={colour}:size=320x240:rate=10:duration=1");
        let made = Command::new("ffmpeg")
            .args(["-loglevel", "error", "-f", "lavfi", "-i", &source, "-pix_fmt", "yuv420p", "-g", "1"])
            .args(["-c:v", encoder, "-f", container, "pipe:1"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut units = Vec::new();
        if codec == VideoCodec::VP8 {
            let mut demuxer = ivf::Demuxer::default();
            demuxer.push(&made.stdout, |_, packet| units.push(packet.data)).unwrap();
            return units;
        }
        // A unit is all up to its slice, of which these pictures have one.
        let mut unit = Vec::new();
        for nal in nal_units(&made.stdout) {
            unit.extend([0, 0, 0, 1]);
            unit.extend(nal);
            if nal[0] & 0x1f == 5 {
                units.push(std::mem::take(&mut unit).into());
            }
        }
        units
    }

    /// A feed of a camera with these pictures, which are published one after the other for as long as this lives.
    struct Feed {
        tapping: Tapping,
        demand: Arc<Demand>,
        stop: Option<SyncSender<()>>,
        thread: Option<JoinHandle<()>>,
    }

    impl Feed {
        fn of(colour: &str, codec: VideoCodec) -> Self {
            let units = encoded(colour, codec);
            assert_eq!(units.len(), 10);
            let demand = Arc::new(Demand::new().unwrap());
            #[expect(clippy::disallowed_methods, reason = "a feed has a clock")]
            let mut outlet = VideoOutlet::new(Arc::clone(&demand), std::time::Instant::now(), |_| {});
            let (tapping, taps) = Tapping::new(Arc::clone(&demand));
            outlet.take_taps(taps);
            let (stop, stopped) = sync_channel::<()>(0);
            let publish = move || {
                for data in units.iter().cycle() {
                    let size = Size { width: 320, height: 240 };
                    #[expect(clippy::disallowed_methods, reason = "pictures are taken now")]
                    let captured = std::time::Instant::now();
                    outlet.publish(AccessUnit { codec, data: data.clone(), keyframe: true, captured, size });
                    // A picture's time passes, or the feed ends.
                    if stopped.recv_timeout(Duration::from_millis(50))
                        == Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
                    {
                        return;
                    }
                }
            };
            let thread = std::thread::spawn(publish);
            Self { tapping, demand, stop: Some(stop), thread: Some(thread) }
        }
    }

    impl Drop for Feed {
        fn drop(&mut self) {
            self.stop = None;
            self.thread.take().unwrap().join().unwrap();
        }
    }

    const BLACK: [u8; 3] = [16, 128, 128];
    /// Colours of BT.601.
    const RED: [u8; 3] = [81, 90, 240];
    const BLUE: [u8; 3] = [41, 240, 110];

    #[test]
    fn programs_see_the_last_who_was_plugged_in_between_black_bars_and_black_when_nobody_is() {
        let mut stage = Stage::start();
        let socket = stage.camera.socket();
        stage.until("black, before anybody is plugged in", BLACK, 16);
        let [ann, ben] = [PeerId::unique(), PeerId::unique()];
        let red = Feed::of("red", VideoCodec::H264);
        assert_eq!(red.demand.watchers(), 0, "nothing is decoded yet");
        socket.plug(ann, red.tapping.clone());
        stage.until("red", RED, 16);
        let blue = Feed::of("blue", VideoCodec::VP8);
        socket.plug(ben, blue.tapping.clone());
        stage.until("blue", BLUE, 16);
        assert_eq!(red.demand.watchers(), 0, "it is not decoded any more");
        socket.unplug(ann);
        assert_eq!(blue.demand.watchers(), 1, "it is not Ann who is seen");
        // No more comes: the last picture stays.
        drop(blue);
        stage.until("blue that stands still", BLUE, 16);
        socket.unplug(ben);
        stage.until("black again", BLACK, 16);
        socket.plug(ann, red.tapping.clone());
        stage.until("red again", RED, 16);
        drop(stage.camera);
        assert_eq!(red.demand.watchers(), 0);
    }
}
