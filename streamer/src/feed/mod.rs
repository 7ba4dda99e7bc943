//! Feeds: one encoded output of a source, handed to every shard.
//!
//! A source holds the [`VideoOutlet`] and [`AudioOutlet`]; what it publishes is cut into RTP payloads once, on the
//! publishing thread, and given to the shards as one `Arc`.

pub mod demand;

use std::sync::Arc;

pub use demand::Demand;

use crate::media::{AccessUnit, AudioPacket};

/// Where a source's encoder publishes access units. Owned by the encoder thread.
pub struct VideoOutlet {
    demand: Arc<Demand>,
    publish: Box<dyn FnMut(AccessUnit) + Send>,
}

impl VideoOutlet {
    /// An outlet that hands everything to `publish`, on the thread that publishes.
    pub fn new(demand: Arc<Demand>, publish: impl FnMut(AccessUnit) + Send + 'static) -> Self {
        Self { demand, publish: Box::new(publish) }
    }

    /// What the peers want.
    pub fn demand(&self) -> &Arc<Demand> {
        &self.demand
    }

    /// Broadcasts one access unit. Never blocks.
    pub fn publish(&mut self, unit: AccessUnit) {
        (self.publish)(unit);
    }
}

/// Where a source publishes sound. Owned by the sound thread.
pub struct AudioOutlet {
    demand: Arc<Demand>,
    publish: Box<dyn FnMut(AudioPacket) + Send>,
}

impl AudioOutlet {
    /// An outlet that hands everything to `publish`, on the thread that publishes.
    pub fn new(demand: Arc<Demand>, publish: impl FnMut(AudioPacket) + Send + 'static) -> Self {
        Self { demand, publish: Box::new(publish) }
    }

    /// What the peers want; its keyframes mean nothing here.
    pub fn demand(&self) -> &Arc<Demand> {
        &self.demand
    }

    /// Broadcasts one packet. Never blocks.
    pub fn publish(&mut self, packet: AudioPacket) {
        (self.publish)(packet);
    }
}
