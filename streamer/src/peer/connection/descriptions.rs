//! Descriptions and candidates of one connection.

use std::time::Instant;

use common::input::GENERAL_CHANNEL;
use common::sdp::Bounded;
use rtc::data_channel::RTCDataChannelInit;
use rtc::peer_connection::configuration::RTCOfferOptions;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;

use super::{Channel, Connection, Error, failed};
use crate::peer::negotiate;
use crate::publish::sections::{self, Section};

/// Most candidates of one peer: a machine with many interfaces has some ten. A stranger chooses where checks go;
/// [`Checks`](crate::peer::checks::Checks) limits how many and how often.
const MAX_CANDIDATES: usize = 24;

impl Connection {
    /// Adds the data channels and makes the offer, with all candidates.
    ///
    /// # Errors
    /// When `rtc` refuses.
    pub fn offer(&mut self, now: Instant) -> Result<String, Error> {
        for (channel, (label, id)) in Channel::OURS {
            let lossy = channel == Channel::Motion;
            let init = RTCDataChannelInit {
                ordered: !lossy,
                max_retransmits: lossy.then_some(0),
                negotiated: Some(id),
                ..Default::default()
            };
            let created = self.pc.create_data_channel(label, Some(init)).map_err(failed("data channel"))?;
            self.channels.push((created.id(), channel));
        }
        self.reoffer(now)
    }

    /// Makes the offer to a page of `multi_webrtc`, with all candidates. The page creates its channels itself, all but one.
    ///
    /// # Errors
    /// When `rtc` refuses.
    pub fn offer_to_multi_webrtc(&mut self, now: Instant) -> Result<String, Error> {
        self.takes_channels = true;
        let created = self.pc.create_data_channel(GENERAL_CHANNEL.0, None).map_err(failed("data channel"))?;
        self.channels.push((created.id(), Channel::General));
        self.reoffer(now)
    }

    /// Makes another offer, after sections have been added or have changed their direction.
    ///
    /// # Errors
    /// When `rtc` refuses.
    pub fn reoffer(&mut self, now: Instant) -> Result<String, Error> {
        self.offer_sections(now, None)
    }

    /// Makes another offer, with new credentials: whatever path there was is given up, and all candidates are tried again, those by UDP
    /// with their head start. The encryption stays.
    ///
    /// # Errors
    /// When `rtc` refuses.
    pub fn reoffer_restarted(&mut self, now: Instant) -> Result<String, Error> {
        self.remote_candidates = 0;
        self.ice_connected = false;
        self.tcp_since = None;
        self.udp_heard = false;
        self.egress.forget_path();
        self.offer_sections(now, Some(RTCOfferOptions { ice_restart: true }))
    }

    fn offer_sections(&mut self, now: Instant, options: Option<RTCOfferOptions>) -> Result<String, Error> {
        let offer = self.pc.create_offer(options).map_err(failed("offer"))?;
        let sdp = negotiate::with_publishing_extensions(&negotiate::with_simulcast(&offer.sdp));
        let sdp = negotiate::with_public_ips(&sdp, &self.public_ips);
        if self.intake.is_some() {
            self.sent = Some(sdp.clone());
        }
        self.pc.set_local_description(now, offer).map_err(failed("offer"))?;
        Ok(sdp)
    }

    /// Takes the peer's answer to our offer. Returns the sections in which it may publish.
    ///
    /// # Errors
    /// When it is no SDP or does not fit the offer.
    pub fn answer(&mut self, now: Instant, sdp: Bounded) -> Result<Vec<Section>, Error> {
        let usable = self.usable_candidates(&negotiate::without_streams(sdp.as_ref()))?;
        let answer = RTCSessionDescription::answer(usable).map_err(failed("answer"))?;
        self.egress.forget_path();
        self.pc.set_remote_description(now, answer).map_err(failed("answer"))?;
        self.answered = true;
        Ok(self.publishing_sections(sdp.as_ref()))
    }

    /// The sections in which the peer, whose description this is, may publish.
    fn publishing_sections(&self, theirs: &str) -> Vec<Section> {
        self.sent.as_deref().map(|ours| sections::read(ours, theirs)).unwrap_or_default()
    }

    /// Takes the peer's offer; the media sections must be there already. Returns our answer.
    ///
    /// # Errors
    /// When it is no SDP or nothing in it can be answered.
    pub fn accept(&mut self, now: Instant, sdp: Bounded) -> Result<String, Error> {
        self.accept_one_way(now, &negotiate::one_way(sdp.as_ref(), "a=recvonly"))
    }

    /// Takes the peer's offer to publish. Returns our answer, and the sections in which the peer may send.
    ///
    /// # Errors
    /// When it is no SDP, nothing in it can be answered, or nothing would be sent.
    pub fn accept_publisher(&mut self, now: Instant, sdp: Bounded) -> Result<(String, Vec<Section>), Error> {
        let offer = negotiate::one_way(sdp.as_ref(), "a=sendonly");
        let answer = self.accept_one_way(now, &negotiate::without_streams(&offer))?;
        let sections = sections::read(&answer, sdp.as_ref());
        if sections.iter().all(|section| section.formats.is_empty()) {
            return Err(Error::new("offer", "there is nothing in it that could be published"));
        }
        Ok((answer, sections))
    }

    fn accept_one_way(&mut self, now: Instant, sdp: &str) -> Result<String, Error> {
        let sdp = self.usable_candidates(sdp)?;
        let offered = sdp.clone();
        let offer = RTCSessionDescription::offer(sdp).map_err(failed("offer"))?;
        self.egress.forget_path();
        self.pc.set_remote_description(now, offer).map_err(failed("offer"))?;
        let answer = self.pc.create_answer(None).map_err(failed("answer"))?;
        let sdp = negotiate::with_public_ips(&answer.sdp, &self.public_ips);
        self.pc.set_local_description(now, answer).map_err(failed("answer"))?;
        self.answered = true;
        self.offered = Some(offered);
        Ok(sdp)
    }

    /// True when the peer has offered, with this ICE user name.
    pub fn is_peers_ufrag(&self, ufrag: &str) -> bool {
        self.offered.as_deref().and_then(negotiate::ice_ufrag) == Some(ufrag)
    }

    /// Restarts ICE for a peer that had offered, with these new credentials and candidates of the peer. Returns our answer, with new
    /// credentials of ours. Media continues over the old pair until another one is found.
    ///
    /// # Errors
    /// The peer had not offered, has too many candidates, or `rtc` refuses.
    pub fn restart(
        &mut self,
        now: Instant,
        ufrag: &str,
        pwd: &str,
        candidates: &[String],
    ) -> Result<String, Error> {
        let Some(offered) = &self.offered else { return Err(Error::new("restart", "it has not offered")) };
        let offer = negotiate::with_transport(offered, ufrag, pwd, candidates);
        let offer = Bounded::check(offer).map_err(failed("restart"))?;
        self.remote_candidates = 0;
        self.accept(now, offer)
    }

    /// The description with only those candidates that are to be checked.
    fn usable_candidates(&mut self, sdp: &str) -> Result<String, Error> {
        let (sdp, count) = negotiate::with_candidates(sdp, |ip| !self.checks.denies(ip));
        self.count_candidates(count)?;
        Ok(sdp)
    }

    fn count_candidates(&mut self, more: usize) -> Result<(), Error> {
        if self.remote_candidates + more > MAX_CANDIDATES {
            return Err(Error::new("candidate", format!("a peer may have at most {MAX_CANDIDATES}")));
        }
        self.remote_candidates += more;
        Ok(())
    }

    /// Adds a candidate of the peer.
    ///
    /// # Errors
    /// It cannot be parsed, or the peer already has `MAX_CANDIDATES`.
    pub fn add_candidate(
        &mut self,
        candidate: String,
        mid: Option<String>,
        index: Option<u16>,
    ) -> Result<(), Error> {
        // All sections share the transport of the first one, so this candidate's is not used.
        if index.is_some_and(|section| section > 0) {
            return Ok(());
        }
        match negotiate::candidate_host(&candidate) {
            // What is malformed gets the parser's reason.
            None => {}
            Some(host) => match host.parse() {
                Ok(ip) if !self.checks.denies(ip) => {}
                // Browsers send all that they have, so a denied one is no error. A name is never looked up: of one that
                // multicast DNS knows, the peer's own checks tell us the address.
                _ => return Ok(()),
            },
        }
        self.count_candidates(1)?;
        let init =
            RTCIceCandidateInit { candidate, sdp_mid: mid, sdp_mline_index: index, ..Default::default() };
        self.pc.add_remote_candidate(init).map_err(failed("candidate"))
    }
}
