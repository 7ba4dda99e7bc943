//! A thread that sends a stream to one reader.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Error as Unreadable, Format};
use crate::feed::{Ear, Tap, Tapped};

/// Packets of sound that wait for the thread: two seconds, as of pictures. What is more is dropped, and heard as silence.
pub const SOUND_QUEUE: usize = 200;
/// How long a picture is waited for before sound is sent without one.
const PATIENCE: Duration = Duration::from_millis(50);
/// A picture that stands still is sent again so often: recorders wait for pictures, and so do players without sound to go by. The first one is asked
/// for as often.
const STILL: Duration = Duration::from_secs(1);
/// A reader that takes nothing for so long is closed.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// A stream that gives no picture for so long is not waited for.
const FIRST_PATIENCE: Duration = Duration::from_secs(20);

/// A stream that is to be read. While it lives, its source has a viewer.
pub struct Reader {
    format: Box<dyn Format>,
    tap: Tap,
    ear: Option<Ear>,
    stop: Arc<AtomicBool>,
}

impl Reader {
    /// Of these feeds, as `format`. It ends soon after `stop` is set.
    pub fn new(format: Box<dyn Format>, tap: Tap, ear: Option<Ear>, stop: Arc<AtomicBool>) -> Self {
        Self { format, tap, ear, stop }
    }

    /// Sends the stream until it ends, or the reader does. Returns why.
    pub fn send_to(self, socket: UnixStream) -> String {
        match self.run(socket) {
            Ok(reason) => reason.to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn run(mut self, mut socket: UnixStream) -> Result<&'static str, Error> {
        socket.set_nonblocking(false)?;
        socket.set_write_timeout(Some(WRITE_PATIENCE))?;
        let started = Instant::now();
        let mut begun = false;
        // When there was a picture last, or one was asked for.
        let mut last = started;
        while !self.stop.load(Ordering::Acquire) {
            let tapped = self.tap.next(PATIENCE);
            let sound = self.ear.iter().flat_map(Ear::take);
            for unit in sound {
                self.format.sound(&unit);
            }
            let now = Instant::now();
            let bytes = match tapped {
                Tapped::Unit(unit) => {
                    begun = true;
                    last = now;
                    self.format.picture(&unit, now)?
                }
                Tapped::Nothing => {
                    if !begun && now.saturating_duration_since(started) >= FIRST_PATIENCE {
                        return Ok("no picture has come");
                    }
                    if now.saturating_duration_since(last) >= STILL {
                        last = now;
                        self.tap.ask_keyframe();
                    }
                    self.format.idle(now)
                }
                Tapped::End => return Ok("the stream has ended"),
            };
            socket.write_all(&bytes)?;
        }
        Ok("it was removed")
    }
}

/// Why no more is sent.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("{}", describe(.0))]
    Io(#[from] io::Error),
}

fn describe(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => "the reader has left",
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the reader does not read",
        _ => "the reader cannot be written to",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use bytes::Bytes;

    use super::*;
    use crate::feed::{AudioOutlet, Demand, Listening, Tapping, VideoOutlet};
    use crate::media::{AccessUnit, AudioPacket};
    use crate::reader::mp4::Live;

    const KEYFRAME: &[u8] = &[0, 0, 1, 0x67, 66, 192, 31, 0, 0, 1, 0x68, 8, 0, 0, 1, 0x65, 1, 2];

    struct Stage {
        video: VideoOutlet,
        audio: AudioOutlet,
        stop: Arc<AtomicBool>,
        reader: UnixStream,
        thread: std::thread::JoinHandle<String>,
    }

    fn stage(sound: bool) -> Stage {
        let demand = || Arc::new(Demand::new().unwrap());
        let clock = Instant::now();
        let [video_demand, audio_demand] = [demand(), demand()];
        let mut video = VideoOutlet::new(Arc::clone(&video_demand), clock, |_| {});
        let (tapping, taps) = Tapping::new(video_demand);
        video.take_taps(taps);
        let mut audio = AudioOutlet::new(Arc::clone(&audio_demand), clock, |_| {});
        let (listening, listeners) = Listening::new();
        audio.take_listeners(listeners);
        let (ear, listener) = Ear::new(audio_demand, SOUND_QUEUE, || {});
        assert!(listening.listen(listener).is_ok());
        let stop = Arc::new(AtomicBool::new(false));
        let ear = Some(ear).filter(|_| sound);
        let format = Box::new(Live::new(ear.is_some()));
        let source = Reader::new(format, tapping.tap(), ear, Arc::clone(&stop));
        let (ours, reader) = UnixStream::pair().unwrap();
        reader.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let thread = std::thread::spawn(move || source.send_to(ours));
        Stage { video, audio, stop, reader, thread }
    }

    impl Stage {
        fn picture(&mut self) {
            self.video.publish(AccessUnit::sample(KEYFRAME, true));
        }

        /// The name of the next box.
        fn next(&mut self) -> [u8; 4] {
            let mut head = [0; 8];
            self.reader.read_exact(&mut head).unwrap();
            let len = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
            self.reader.read_exact(&mut vec![0; len - 8]).unwrap();
            head[4..].try_into().unwrap()
        }
    }

    #[test]
    fn a_stream_is_sent_from_a_keyframe_on_until_it_is_stopped() {
        let mut stage = stage(true);
        assert_eq!((stage.video.demand().watchers(), stage.audio.demand().watchers()), (1, 1));
        assert!(stage.video.demand().take_keyframe());
        stage.picture();
        let captured = Instant::now();
        stage.audio.publish(AudioPacket {
            data: Bytes::from_static(&[0xfc, 0xff, 0xfe]),
            captured,
            ticks: 960,
        });
        assert_eq!(
            [stage.next(), stage.next(), stage.next(), stage.next()],
            [*b"ftyp", *b"moov", *b"moof", *b"mdat"]
        );
        // Nothing moves, and sound goes on.
        assert_eq!([stage.next(), stage.next()], [*b"moof", *b"mdat"]);
        stage.stop.store(true, Ordering::Release);
        assert_eq!(stage.thread.join().unwrap(), "it was removed");
        assert_eq!((stage.video.demand().watchers(), stage.audio.demand().watchers()), (0, 0));
    }

    #[test]
    fn the_first_picture_is_asked_for_again_until_it_comes() {
        let mut stage = stage(false);
        let asked = |stage: &Stage| {
            let deadline = Instant::now() + Duration::from_secs(15);
            while !stage.video.demand().take_keyframe() {
                assert!(Instant::now() < deadline, "it is not asked for");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        // As by an encoder whose keyframe has gone to others.
        asked(&stage);
        asked(&stage);
        asked(&stage);
        stage.picture();
        assert_eq!([stage.next(), stage.next()], [*b"ftyp", *b"moov"]);
    }

    #[test]
    fn it_ends_with_the_stream_and_with_the_reader() {
        let Stage { mut video, thread, reader, audio, .. } = stage(true);
        video.publish(AccessUnit::sample(KEYFRAME, true));
        drop(reader);
        assert_eq!(thread.join().unwrap(), "the reader has left");
        drop((video, audio));
        let Stage { video, audio, thread, .. } = stage(true);
        drop((video, audio));
        assert_eq!(thread.join().unwrap(), "the stream has ended");
    }

    /// The numbers of the pictures in what was read: in the last bytes of each.
    fn numbers(mut bytes: &[u8]) -> Vec<u32> {
        let mut numbers = Vec::new();
        while let [a, b, c, d, name @ ..] = bytes {
            let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            let is_complete = len <= bytes.len();
            if name.starts_with(b"mdat") && is_complete && len > PICTURE {
                let last = u32::from_be_bytes(bytes[len - 4..len].try_into().unwrap());
                numbers.push((last & 0xffff) >> 1);
            }
            bytes = &bytes[len.min(bytes.len())..];
        }
        numbers
    }

    /// Bytes of a picture.
    const PICTURE: usize = 50_000;
    /// Every so manyth picture is a keyframe.
    const KEYFRAMES: u32 = 50;

    #[test]
    fn who_reads_slowly_goes_on_with_a_later_keyframe_and_holds_nobody_up() {
        let Stage { mut video, audio, stop, mut reader, thread } = stage(false);
        let publish = |video: &mut VideoOutlet, n: u32| {
            let keyframe = n.is_multiple_of(KEYFRAMES);
            let mut data = if keyframe { KEYFRAME.to_vec() } else { vec![0, 0, 1, 0x41] };
            data.resize(PICTURE, 7);
            // No start code, and no zero at the end, whatever the number is.
            data.extend((0x0101_0001 | n << 1).to_be_bytes());
            video.publish(AccessUnit::sample(&data, keyframe));
        };
        // Far more than fits into the socket and the queue, without anybody reading.
        for n in 0..2 * KEYFRAMES {
            publish(&mut video, n);
        }
        let mut read = vec![0; 200];
        reader.read_exact(&mut read).unwrap();
        // Now it reads, and there are more pictures until it has got some of them.
        let mut n = 2 * KEYFRAMES;
        reader.set_nonblocking(true).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while numbers(&read).last().is_none_or(|last| *last < 3 * KEYFRAMES) {
            assert!(Instant::now() < deadline, "it goes on");
            publish(&mut video, n);
            n += 1;
            let mut part = [0; 65536];
            while let Ok(len @ 1..) = reader.read(&mut part) {
                read.extend(&part[..len]);
            }
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Release);
        drop((video, audio, reader));
        thread.join().unwrap();
        let numbers = numbers(&read);
        let jumps: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
        assert!(!jumps.is_empty(), "{numbers:?}");
        assert!(jumps.iter().all(|pair| pair[1] > pair[0] && pair[1] % KEYFRAMES == 0), "{jumps:?}");
    }
}
