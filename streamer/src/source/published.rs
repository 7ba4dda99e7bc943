//! What a peer publishes, as a source. Its pictures come from the peer's shard; here is what is known of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::media::VideoCodec;
use common::spec::CursorMode;
use tokio::sync::oneshot;

use super::{Error, Info, Running};
use crate::media::{Picture, Size};

/// The frame rate of cameras, as long as nothing says otherwise.
const FPS: u32 = 30;

/// What is known of the pictures and the sound.
#[derive(Debug, Clone)]
pub struct Known(Arc<Mutex<Info>>);

impl Known {
    /// Nothing has come yet.
    pub fn nothing() -> Self {
        Self(Arc::new(Mutex::new(Info {
            size: Size { width: 0, height: 0 },
            fps: FPS,
            audio: false,
            cursor: CursorMode::Embedded,
            input: false,
            microphone: false,
            camera: false,
            codec: VideoCodec::H264,
            window: None,
            reader: None,
        })))
    }

    fn info(&self) -> MutexGuard<'_, Info> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is sound.
    pub fn set_audio(&self, audio: bool) {
        self.info().audio = audio;
    }

    /// What the pictures are; without a size while there are none.
    pub fn set_pictures(&self, codec: VideoCodec, size: Option<Size>) {
        let mut info = self.info();
        info.codec = codec;
        info.size = size.unwrap_or(Size { width: 0, height: 0 });
    }
}

/// The source.
pub struct Published(pub Known);

impl Running for Published {
    fn info(&self) -> Info {
        self.0.info().clone()
    }

    /// There is none: nothing here decodes.
    fn picture(&self) -> oneshot::Receiver<Picture> {
        oneshot::channel().1
    }

    fn resize(&self, _: Size) -> oneshot::Receiver<Result<(), Error>> {
        let (refused, outcome) = oneshot::channel();
        let _ = refused.send(Err(Error::Unsupported { kind: "publish", what: "size that we could change" }));
        outcome
    }
}
