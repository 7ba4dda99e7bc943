//! Further, smaller encodings of a source's pictures.

use std::sync::Arc;

use super::video::Settings;
use super::{Error, Frames};
use crate::feed::VideoOutlet;
use crate::stats::SourceCounters;

/// A rendition. Dropping it ends its thread.
pub struct Rendition(());

impl Rendition {
    /// Starts it.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        _frames: Arc<Frames>,
        _height: u32,
        _settings: Settings,
        _outlet: VideoOutlet,
        _counters: Arc<SourceCounters>,
    ) -> Result<Self, Error> {
        Err(Error::Unsupported { kind: "rendition", what: "thread" })
    }
}
