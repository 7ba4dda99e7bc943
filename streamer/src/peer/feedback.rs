//! RTCP from a peer: losses, keyframe requests, reception reports. And RTP of a peer that publishes.
//!
//! `rtc` would route whole compounds by their first packet and drop some, and knows only streams that are announced in an SDP or
//! named by a rid in each packet; the [`Tap`] takes all before that, and leaves nothing for `rtc` to route.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

use super::bandwidth::Arrivals;
use crate::publish;

/// Packets that have not been processed yet. Shared between a connection and the tap inside its own `rtc` pipeline, on one
/// thread: the lock is never contended.
type Inbox = Arc<Mutex<Packets>>;

#[derive(Default)]
struct Packets {
    rtcp: Vec<Box<dyn rtc::rtcp::Packet>>,
    rtp: Vec<publish::Packet>,
}

/// Most sequence numbers of one NACK that are answered; no receiver asks for more of one frame.
const MAX_NACKED: usize = 512;
/// Most packets whose arrival one message reports. Chromium sends one every 50 to 250 ms.
const MAX_ARRIVALS: usize = 4096;
/// Most packets of each kind kept between two reads, which follow each datagram.
const MAX_INBOX: usize = 64;

/// What a peer says about what it receives.
#[derive(Debug, Clone, PartialEq)]
pub enum Feedback {
    /// Packets are missing (RFC 4585 §6.2.1).
    Nack {
        /// SSRC of the stream.
        ssrc: u32,
        /// Their sequence numbers.
        sequences: Vec<u16>,
    },
    /// A keyframe is needed (PLI, FIR).
    Keyframe {
        /// SSRC of the stream.
        ssrc: u32,
    },
    /// Which packets arrived, and when (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    Arrivals(Arrivals),
    /// A reception report (RFC 3550 §6.4.1).
    Report {
        /// SSRC of the stream.
        ssrc: u32,
        /// Share of packets lost since the last report, 0..=1.
        fraction_lost: f32,
        /// Packets lost in total.
        lost: u32,
        /// Middle 32 bits of the NTP time of the sender report that it saw last; 0 if none.
        last_report: u32,
        /// Since then, in 1/65536 s.
        delay: u32,
    },
    /// A sender report of a stream that the peer publishes.
    SenderReport {
        /// Of which stream.
        ssrc: u32,
        /// Middle 32 bits of its NTP time.
        ntp: u32,
    },
}

/// The connection's end: takes what has arrived.
#[derive(Clone, Default)]
pub struct FeedbackReader(Inbox);

impl FeedbackReader {
    /// Everything since the last call, in order.
    pub fn take(&self) -> Vec<Feedback> {
        let packets = std::mem::take(&mut self.inbox().rtcp);
        packets.iter().flat_map(|packet| decode(packet.as_ref())).collect()
    }

    /// All RTP since the last call, in order. `packets`, which is empty, takes its place.
    pub fn take_rtp(&self, packets: &mut Vec<publish::Packet>) {
        std::mem::swap(&mut self.inbox().rtp, packets);
    }

    fn inbox(&self) -> MutexGuard<'_, Packets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pipeline's end.
    pub fn tap(&self) -> Tap {
        Tap { inbox: self.0.clone(), read: VecDeque::new(), write: VecDeque::new() }
    }
}

fn decode(packet: &dyn rtc::rtcp::Packet) -> Vec<Feedback> {
    let packet = packet.as_any();
    if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
        let sequences = nack.nacks.iter().flat_map(|pair| pair.packet_list()).take(MAX_NACKED).collect();
        vec![Feedback::Nack { ssrc: nack.media_ssrc, sequences }]
    } else if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
        vec![Feedback::Keyframe { ssrc: pli.media_ssrc }]
    } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
        fir.fir.iter().map(|entry| Feedback::Keyframe { ssrc: entry.ssrc }).collect()
    } else if let Some(report) = packet.downcast_ref::<TransportLayerCc>() {
        vec![Feedback::Arrivals(arrivals(report))]
    } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
        report.reports.iter().map(reception).collect()
    } else if let Some(report) = packet.downcast_ref::<SenderReport>() {
        let told = Feedback::SenderReport { ssrc: report.ssrc, ntp: (report.ntp_time >> 16) as u32 };
        report.reports.iter().map(reception).chain([told]).collect()
    } else {
        Vec::new()
    }
}

fn arrivals(report: &TransportLayerCc) -> Arrivals {
    let symbols = report.packet_chunks.iter().flat_map(|chunk| match chunk {
        PacketStatusChunk::RunLengthChunk(run) => {
            vec![run.packet_status_symbol; usize::from(run.run_length).min(MAX_ARRIVALS)]
        }
        PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.clone(),
    });
    let mut deltas = report.recv_deltas.iter();
    let delta = |symbol| match symbol {
        SymbolTypeTcc::PacketReceivedSmallDelta | SymbolTypeTcc::PacketReceivedLargeDelta => {
            // 16 bits of 250 µs.
            deltas.next().and_then(|delta| i32::try_from(delta.delta).ok())
        }
        SymbolTypeTcc::PacketNotReceived | SymbolTypeTcc::PacketReceivedWithoutDelta => None,
    };
    let told = usize::from(report.packet_status_count).min(MAX_ARRIVALS);
    Arrivals {
        first: report.base_sequence_number,
        reference: report.reference_time,
        deltas_us: symbols.take(told).map(delta).collect(),
    }
}

fn reception(report: &ReceptionReport) -> Feedback {
    Feedback::Report {
        ssrc: report.ssrc,
        fraction_lost: f32::from(report.fraction_lost) / 256.0,
        lost: total_lost(report.total_lost),
        last_report: report.last_sender_report,
        delay: report.delay,
    }
}

/// The field is signed and 24 bits long (RFC 3550 §6.4.1): with more duplicates than losses it is negative.
fn total_lost(field: u32) -> u32 {
    if field < 1 << 23 { field } else { 0 }
}

fn published(packet: rtc::rtp::Packet) -> publish::Packet {
    let rtc::rtp::Packet { header, payload } = packet;
    publish::Packet {
        ssrc: header.ssrc,
        payload_type: header.payload_type,
        marker: header.marker,
        sequence: header.sequence_number,
        timestamp: header.timestamp,
        extensions: header
            .extensions
            .into_iter()
            .map(|extension| (extension.id, extension.payload))
            .collect(),
        payload,
    }
}

/// The only interceptor of our peer connections.
pub struct Tap {
    inbox: Inbox,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Error> {
        match message.message.packet {
            Packet::Rtcp(packets) => {
                let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
                let room = MAX_INBOX.saturating_sub(inbox.rtcp.len());
                inbox.rtcp.extend(packets.into_iter().take(room));
            }
            Packet::Rtp(packet) => {
                let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
                if inbox.rtp.len() < MAX_INBOX {
                    inbox.rtp.push(published(packet));
                }
            }
            _ => self.read.push_back(message),
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.write.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc::rtcp::transport_feedbacks::transport_layer_cc::{RecvDelta, RunLengthChunk, StatusVectorChunk};

    #[test]
    fn arrivals_are_told_by_runs_and_by_vectors_and_never_too_many() {
        let run = |packet_status_symbol, run_length| {
            PacketStatusChunk::RunLengthChunk(RunLengthChunk {
                packet_status_symbol,
                run_length,
                ..RunLengthChunk::default()
            })
        };
        let vector = PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
            symbol_list: vec![SymbolTypeTcc::PacketNotReceived, SymbolTypeTcc::PacketReceivedLargeDelta],
            ..StatusVectorChunk::default()
        });
        let delta = |delta| RecvDelta { delta, ..RecvDelta::default() };
        let mut report = TransportLayerCc {
            base_sequence_number: 65_535,
            packet_status_count: 4,
            reference_time: 7,
            packet_chunks: vec![run(SymbolTypeTcc::PacketReceivedSmallDelta, 2), vector],
            recv_deltas: vec![delta(250), delta(500), delta(-1000)],
            ..TransportLayerCc::default()
        };
        let deltas_us = vec![Some(250), Some(500), None, Some(-1000)];
        assert_eq!(arrivals(&report), Arrivals { first: 65_535, reference: 7, deltas_us });
        report.packet_status_count = u16::MAX;
        report.packet_chunks = vec![run(SymbolTypeTcc::PacketReceivedSmallDelta, 8191); 1000];
        let told = arrivals(&report).deltas_us;
        assert_eq!((told.len(), told.iter().flatten().count()), (MAX_ARRIVALS, 3));
    }

    #[test]
    fn who_received_more_than_was_sent_has_lost_nothing() {
        let lost = |total_lost| match reception(&ReceptionReport { total_lost, ..Default::default() }) {
            Feedback::Report { lost, .. } => lost,
            other => panic!("{other:?}"),
        };
        assert_eq!((lost(0), lost(12), lost(0x7f_ffff), lost(0xff_ffff)), (0, 12, 0x7f_ffff, 0));
    }
}
