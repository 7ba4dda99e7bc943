//! What a viewer sees: every access unit is decoded, and the number in each picture is read.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::signal::{ClientMessage, Role};
use common::timecode::Grid;
use native_peer::{Event, Media, Options, Swarm};
use openh264::decoder::Decoder;
use openh264::formats::YUVSource as _;

/// Until the first picture, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// One viewer.
pub struct Viewer {
    swarm: Swarm,
    decoder: Decoder,
    /// Decoding has begun, with a keyframe.
    begun: bool,
    /// What it joins may be what a liar has left behind: it asks for a keyframe where it cannot decode, as browsers do.
    recovers: bool,
    /// Numbers of the pictures so far.
    pub codes: Vec<u32>,
}

impl Viewer {
    /// Joins.
    #[track_caller]
    pub fn join(server: SocketAddr, streamer: &str) -> Self {
        let options = Options { server, streamer: streamer.into(), role: Role::Viewer, media: Media::Units };
        let mut swarm = Swarm::new(options).unwrap();
        swarm.join().unwrap();
        Self { swarm, decoder: Decoder::new().unwrap(), begun: false, recovers: false, codes: Vec::new() }
    }

    /// Joins a stream whose last pictures were lies.
    #[track_caller]
    pub fn join_after_lies(server: SocketAddr, streamer: &str) -> Self {
        Self { recovers: true, ..Self::join(server, streamer) }
    }

    /// Looks for so long, beginning with the first picture.
    #[track_caller]
    pub fn look(&mut self, duration: Duration) {
        self.see(1);
        let deadline = Instant::now() + duration;
        while let Some((_, event)) = self.swarm.next(deadline).unwrap() {
            self.take(event);
            if Instant::now() >= deadline {
                break;
            }
        }
    }

    /// Looks until there are so many pictures more.
    #[track_caller]
    pub fn see(&mut self, count: usize) {
        let wanted = self.codes.len() + count;
        let deadline = Instant::now() + PATIENCE;
        while self.codes.len() < wanted {
            let event = self.swarm.next(deadline).unwrap();
            let (_, event) = event.unwrap_or_else(|| panic!("{count} pictures: {:?}", self.codes));
            self.take(event);
        }
    }

    /// A picture that cannot be decoded, whose number cannot be read, or that is not newer than the one before, has
    /// been corrupted on its way.
    #[track_caller]
    fn take(&mut self, event: Event) {
        let unit = match event {
            Event::Unit(unit) => unit,
            Event::Closed(reason) => panic!("closed: {reason}"),
            _ => return,
        };
        let keyframe = unit.data.windows(4).any(|bytes| bytes[..3] == [0, 0, 1] && bytes[3] & 31 == 5);
        self.begun |= keyframe;
        if !self.begun {
            return;
        }
        let number = match number(&mut self.decoder, &unit.data) {
            Ok(number) => number,
            Err(_) if self.recovers => {
                (self.begun, self.decoder) = (false, Decoder::new().unwrap());
                return self.swarm.tell(0, &ClientMessage::Keyframe { slot: 0 }).unwrap();
            }
            Err(error) => panic!("what is passed on is whole: {error}"),
        };
        // A cached group of pictures may be sent again with a keyframe.
        let newest = self.codes.last().copied().unwrap_or(0);
        assert!(keyframe || number > newest, "{number} after {newest}");
        self.codes.push(number);
    }
}

/// The number in a picture.
fn number(decoder: &mut Decoder, unit: &[u8]) -> Result<u32, String> {
    let picture = decoder.decode(unit).map_err(|error| error.to_string())?;
    let picture = picture.ok_or("no picture in an access unit")?;
    let (width, height) = picture.dimensions();
    let stride = picture.strides().0;
    let grid = Grid::new(width as u32, height as u32).ok_or("too small for a number")?;
    let code = grid.read(|x, y| picture.y()[y as usize * stride + x as usize]);
    Ok(code.ok_or("the number cannot be read")?.frame)
}
