//! An endpoint on `webrtc`, used as its documentation says: a handler for its events, a task for each track and channel.
//!
//! What comes goes through a queue to the thread that owns the endpoint, and an eventfd wakes that. The crate tells nothing of
//! datagrams: an [`Arrival`] here is a packet that was decrypted, or recovered from a retransmission, and its time is when
//! this program got it, not when the kernel did.
//!
//! What the crate does that its documentation does not say:
//!
//! * Dropping a connection does not end it. Its task goes on until it is closed, or the runtime is dropped, which is what
//!   [`Runtime`] is for.
//! * A track's queue has 256 packets, and what does not fit is lost and logged, so the task that reads it must not wait for
//!   anything else.
//! * The keys of SRTP are installed when events are taken from `rtc`, which is once per wake-up, after up to 65 reads of the
//!   socket. Media that comes together with the end of the handshake is dropped.
//! * An answer to every later offer gathers candidates anew, and says so by the same events as the first one.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtc::interceptor::{Attribute, Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::rtp_transceiver::{
    RTCRtpReceiverId, RTCRtpTransceiverDirection, RTCRtpTransceiverId, RTCRtpTransceiverInit,
};
use rtc::sansio::Protocol;
use rtc::shared::marshal::MarshalSize;
use rustix::event::{EventfdFlags, eventfd};
use tokio::runtime::Handle;
use tokio::sync::watch;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelState};
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCCertificate,
    RTCConfigurationBuilder, RTCIceGatheringState, RTCPeerConnectionIceEvent, RTCPeerConnectionState,
    RTCSessionDescription, register_default_interceptors,
};
use webrtc::runtime::TokioRuntime;

use super::codecs::{Units, media_engine, sender_reports};
use super::{Endpoint, Purpose, data_channels, failed, settings};
use crate::{Arrival, Channel, Error, Event, Media};

/// Gathering is a system call or two here: there are no servers to ask.
const GATHERING: Duration = Duration::from_secs(10);
/// Events that wait for their owner. Media beyond that is lost, as in a socket's buffer; everything else is kept, and is little.
const MAX_QUEUED: usize = 4096;
/// Behind all of the crate's own interceptors.
const LAST: usize = 14_000;

/// Where connections run; dropping it ends those that are left as a crash would.
pub struct Runtime(tokio::runtime::Runtime);

impl Runtime {
    /// With one thread, as a peer on the other stack has.
    pub fn start() -> Result<Self, Error> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let started = builder.worker_threads(1).thread_name("webrtc").enable_all().build();
        started.map(Self).map_err(|error| Error::Io("starting a thread", error))
    }
}

/// One endpoint.
pub struct AsyncLayer {
    runtime: Handle,
    pc: Arc<dyn PeerConnection>,
    channels: Vec<(Channel, Arc<dyn DataChannel>)>,
    shared: Arc<Shared>,
}

/// What the tasks of a connection share with its owner.
struct Shared {
    units: bool,
    events: Mutex<VecDeque<Event>>,
    /// Readable while there are events.
    wake: OwnedFd,
    candidates: Mutex<Vec<String>>,
    gathered: watch::Sender<bool>,
    pc: OnceLock<Weak<dyn PeerConnection>>,
}

impl AsyncLayer {
    /// An endpoint that has negotiated nothing yet.
    pub fn open(
        runtime: &Runtime,
        purpose: Purpose,
        media: Media,
        certificate: RTCCertificate,
        address: IpAddr,
    ) -> Result<Self, Error> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let shared = Arc::new(Shared {
            units: media != Media::Headers,
            events: Mutex::default(),
            wake: eventfd(0, flags).map_err(|error| Error::Io("eventfd", error.into()))?,
            candidates: Mutex::default(),
            gathered: watch::Sender::new(false),
            pc: OnceLock::new(),
        });
        let runtime = runtime.0.handle().clone();
        let connected = connect(purpose, media, certificate, address, Arc::clone(&shared));
        let (pc, channels) = runtime.block_on(connected)?;
        Ok(Self { runtime, pc, channels, shared })
    }
}

async fn connect(
    purpose: Purpose,
    media: Media,
    certificate: RTCCertificate,
    address: IpAddr,
    shared: Arc<Shared>,
) -> Result<(Arc<dyn PeerConnection>, Vec<(Channel, Arc<dyn DataChannel>)>), Error> {
    let mut engine = media_engine(media).map_err(failed("codecs"))?;
    let registry =
        register_default_interceptors(Registry::new(), &mut engine).map_err(failed("interceptors"))?;
    let built = PeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().with_certificates(vec![certificate]).build())
        .with_media_engine(engine)
        .with_setting_engine(settings(purpose))
        .with_interceptor_registry(registry.with(Slot::from(LAST), KeepReports::default()))
        .with_runtime(Arc::new(TokioRuntime))
        .with_handler(Arc::new(Handler(Arc::clone(&shared))))
        .with_udp_addrs(vec![SocketAddr::new(address, 0)])
        .build()
        .await;
    let pc: Arc<dyn PeerConnection> = Arc::new(built.map_err(failed("peer connection"))?);
    // It is the first one.
    let _ = shared.pc.set(Arc::downgrade(&pc));
    let mut channels = Vec::new();
    for (channel, label, init) in data_channels(purpose) {
        let created = pc.create_data_channel(label, Some(init)).await.map_err(failed("data channel"))?;
        tokio::spawn(listen(channel, Arc::clone(&created), Arc::clone(&shared)));
        channels.push((channel, created));
    }
    if purpose == Purpose::Player {
        let direction = RTCRtpTransceiverDirection::Recvonly;
        for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
            let init = RTCRtpTransceiverInit { direction, ..Default::default() };
            pc.add_transceiver_from_kind(kind, Some(init)).await.map_err(failed("transceiver"))?;
        }
    }
    Ok((pc, channels))
}

/// Passes on what happens on a data channel, until that is closed.
async fn listen(channel: Channel, open: Arc<dyn DataChannel>, shared: Arc<Shared>) {
    while let Some(event) = open.poll().await {
        match event {
            DataChannelEvent::OnOpen => shared.push(Event::Open(channel)),
            DataChannelEvent::OnMessage(message) => {
                let text = String::from_utf8_lossy(&message.data).into_owned();
                shared.push(Event::Message(channel, text));
            }
            _ => {}
        }
    }
}

/// Passes on what comes on a track, until that has ended.
async fn watch_track(track: Arc<dyn TrackRemote>, shared: Arc<Shared>) {
    let mut units = Units::default();
    while let Some(event) = track.poll().await {
        match event {
            TrackRemoteEvent::OnOpen(opened) => {
                if track.kind().await == RtpCodecKind::Video {
                    ask_for_a_keyframe(&*track, opened.ssrc).await;
                }
                if let Some(mid) = shared.mid(opened.receiver_id).await {
                    shared.push(Event::Track { ssrc: opened.ssrc, mid });
                }
            }
            TrackRemoteEvent::OnRtpPacket(packet) => {
                shared.push_media(Event::Rtp(arrival(&packet)));
                if shared.units
                    && let Some(event) = units.push(&packet)
                {
                    shared.push_media(event);
                }
            }
            TrackRemoteEvent::OnRtcpPacket(packets) => {
                for report in sender_reports(&packets) {
                    shared.push(report);
                }
            }
            _ => {}
        }
    }
}

/// A browser asks for a keyframe when it cannot decode. Here nobody decodes, so it is asked for whenever a track begins: its
/// first packets may be missing.
async fn ask_for_a_keyframe(track: &dyn TrackRemote, ssrc: u32) {
    let request = PictureLossIndication { sender_ssrc: 0, media_ssrc: ssrc };
    // It fails when the connection has ended, of which there is an event.
    let _ = track.write_rtcp(vec![Box::new(request)]).await;
}

fn arrival(packet: &rtc::rtp::Packet) -> Arrival {
    let header = &packet.header;
    Arrival {
        ssrc: header.ssrc,
        payload_type: header.payload_type,
        sequence: header.sequence_number,
        rtp_time: header.timestamp,
        marker: header.marker,
        len_bytes: packet.marshal_size(),
        at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn candidates(&self) -> MutexGuard<'_, Vec<String>> {
        self.candidates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: Event) {
        self.queue().push_back(event);
        // Full means that it is readable already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn push_media(&self, event: Event) {
        if self.queue().len() < MAX_QUEUED {
            self.push(event);
        }
    }

    async fn mid(&self, receiver: RTCRtpReceiverId) -> Option<String> {
        let pc = self.pc.get()?.upgrade()?;
        let transceivers = pc.get_transceivers().await;
        let wanted = RTCRtpTransceiverId::from(receiver);
        let found = transceivers.iter().find(|transceiver| transceiver.id() == wanted)?;
        found.mid().await.ok().flatten()
    }

    /// Forgets the candidates of an earlier round.
    fn gather(&self) {
        self.candidates().clear();
        self.gathered.send_replace(false);
    }

    /// Waits until all candidates are there.
    async fn gathered(&self) -> Result<(), Error> {
        let mut gathered = self.gathered.subscribe();
        let complete = tokio::time::timeout(GATHERING, gathered.wait_for(|complete| *complete)).await;
        complete.map(drop).map_err(|_| Error::Rtc("candidates", format!("none within {GATHERING:?}")))
    }
}

impl Endpoint for AsyncLayer {
    fn fd(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }

    fn answer(&mut self, offer: String) -> Result<String, Error> {
        let offer = RTCSessionDescription::offer(offer).map_err(failed("offer"))?;
        self.runtime.block_on(async {
            self.pc.set_remote_description(offer).await.map_err(failed("offer"))?;
            let answer = self.pc.create_answer(None).await.map_err(failed("answer"))?;
            self.shared.gather();
            self.pc.set_local_description(answer).await.map_err(failed("answer"))?;
            self.shared.gathered().await?;
            let complete = self.pc.local_description().await;
            complete.map(|answer| answer.sdp).ok_or_else(|| Error::Rtc("answer", "there is none".into()))
        })
    }

    fn offer(&mut self, restart: bool) -> Result<String, Error> {
        self.runtime.block_on(async {
            if restart {
                self.pc.restart_ice().await.map_err(failed("restart"))?;
            }
            let offer = self.pc.create_offer(None).await.map_err(failed("offer"))?;
            let sdp = offer.sdp.clone();
            self.shared.gather();
            self.pc.set_local_description(offer).await.map_err(failed("offer"))?;
            self.shared.gathered().await?;
            Ok(sdp)
        })
    }

    fn candidates(&self) -> Vec<String> {
        self.shared.candidates().clone()
    }

    fn accept(&mut self, answer: String) -> Result<(), Error> {
        let answer = RTCSessionDescription::answer(answer).map_err(failed("answer"))?;
        self.runtime.block_on(self.pc.set_remote_description(answer)).map_err(failed("answer"))
    }

    fn take(&mut self, _: &mut [u8], each: &mut dyn FnMut(Event)) {
        // Before the events: what is pushed after them makes it readable again.
        let _ = rustix::io::read(&self.shared.wake, &mut [0_u8; 8]);
        let events = std::mem::take(&mut *self.shared.queue());
        for event in events {
            each(event);
        }
    }

    /// They are run by the crate's own tasks.
    fn timers(&mut self, _: Instant, _: &mut dyn FnMut(Event)) {}

    fn send_text(&mut self, channel: Channel, text: &str) -> bool {
        let Some((_, open)) = self.channels.iter().find(|(known, _)| *known == channel) else { return false };
        self.runtime.block_on(async {
            matches!(open.ready_state().await, Ok(RTCDataChannelState::Open))
                && open.send_text(text).await.is_ok()
        })
    }

    fn close(&mut self) {
        // There is nothing left to do when even this fails.
        let _ = self.runtime.block_on(self.pc.close());
    }
}

/// Hears of a connection what is not about one track or channel.
struct Handler(Arc<Shared>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(init) = event.candidate.to_json() {
            self.0.candidates().push(init.candidate);
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.0.push(Event::Connected),
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => {
                self.0.push(Event::Closed(format!("peer connection {state}")));
            }
            _ => {}
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        tokio::spawn(watch_track(track, Arc::clone(&self.0)));
    }
}

/// Has RTCP given to tracks: by default the crate keeps it to itself.
#[derive(Default)]
struct KeepReports {
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for KeepReports {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = rtc::shared::error::Error;
    type Time = Instant;

    fn handle_read(&mut self, mut message: TaggedPacket) -> Result<(), Self::Error> {
        if matches!(message.message.packet, Packet::Rtcp(_)) {
            message.message.add(Attribute::DeliverToApplication);
        }
        self.read.push_back(message);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Self::Error> {
        self.write.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }
}

impl Interceptor for KeepReports {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
