//! What one peer publishes: it comes by its connection, and the peer itself gets none of it.

use std::sync::Arc;
use std::time::Instant;

use common::signal::PublishKind;

use super::{Context, Peer};
use crate::feed::Demand;
use crate::peer::Binding;
use crate::peer::publishing::{Outlet, Pictured, Taken};

impl Peer {
    /// Whether what a slot shows is published by this peer.
    pub(super) fn is_own(&self, binding: &Binding) -> bool {
        self.publishing.as_ref().is_some_and(|publishing| publishing.is_own(binding))
    }

    /// Publishes what comes in a section from now on; slots that show the source it belongs to are emptied. If the section is offered
    /// and not agreed on yet, that waits for the answer. False when there is no such section.
    pub fn publish(&mut self, now: Instant, outlet: Outlet, cx: &mut Context) -> bool {
        if self.awaits_sections() {
            self.early.retain(|early| early.kind != outlet.kind);
            self.early.push(outlet);
            return true;
        }
        let Some(publishing) = &mut self.publishing else { return false };
        if !publishing.publish(outlet) {
            return false;
        }
        for n in 0..self.slots.len() {
            let binding = self.slots[n].binding;
            self.show(now, n, binding, cx);
        }
        true
    }

    /// What was to be published before there were sections for it, once it is known whether there are.
    pub fn take_early(&mut self) -> Vec<Outlet> {
        if self.awaits_sections() { Vec::new() } else { std::mem::take(&mut self.early) }
    }

    /// Publishes it no longer.
    pub fn unpublish(&mut self, kind: PublishKind) {
        self.early.retain(|early| early.kind != kind);
        if let Some(publishing) = &mut self.publishing {
            publishing.unpublish(kind);
        }
    }

    /// Whether it speaks, if that is news.
    pub fn take_speaking(&mut self) -> Option<bool> {
        self.publishing.as_mut().and_then(|publishing| publishing.take_speaking())
    }

    /// What is new of the pictures that it publishes.
    pub fn take_pictured(&mut self) -> Vec<Pictured> {
        self.publishing.as_mut().map(|publishing| publishing.take_pictured()).unwrap_or_default()
    }

    /// What those who watch say of what it publishes.
    pub fn demands(&self) -> Vec<Arc<Demand>> {
        self.publishing.iter().flat_map(|publishing| publishing.demands().cloned()).collect()
    }

    /// Which layers of what it publishes anybody takes, as far as that is news.
    pub fn news_of_layers(&mut self, now: Instant) -> Vec<Taken> {
        self.publishing.as_mut().map(|publishing| publishing.news_of_layers(now)).unwrap_or_default()
    }

    /// Asks the peer for the keyframes that those who watch want.
    pub fn take_wishes(&mut self, now: Instant) {
        if let Some(publishing) = &mut self.publishing {
            publishing.take_wishes(now, &mut self.connection);
        }
    }
}
