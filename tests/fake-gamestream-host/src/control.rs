//! Control: ENet, encrypted messages, input.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rusty_enet::{EventNoRef, Host as Enet, HostSettings, Packet, PeerID};

use crate::crypto::{Gcm, Key, Tag};
use crate::host::{Outgoing, PATIENCE, Shared};
use crate::input;
use crate::session::Session;

/// Channels of a generation 7 host.
const CHANNELS: usize = 48;
/// The channel for what is neither urgent nor input.
const GENERIC: u8 = 0;
/// How long the thread sleeps when nothing comes, in nanoseconds: what is to be sent waits for that.
const NAP_NS: i64 = 5_000_000;

const START_A: u16 = 0x0302;
const START_B: u16 = 0x0307;
const PING: u16 = 0x0200;
const INVALIDATE: u16 = 0x0301;
const INPUT: u16 = 0x0206;
const LTR_ACK: u16 = 0x0350;
const FEC_STATUS: u16 = 0x5502;
const HDR: u16 = 0x010e;
/// The app has ended; its payload is a big-endian code.
pub const TERMINATION: u16 = 0x0109;
/// The code of a normal end.
const GRACEFUL: u32 = 0x8003_0023;
/// Motors of a gamepad.
pub const RUMBLE: u16 = 0x010b;

/// Runs until the host ends.
pub fn run(shared: &Arc<Shared>, socket: UdpSocket) {
    let watched = socket.try_clone().expect("a socket can be duplicated");
    let settings = HostSettings { peer_limit: 8, channel_limit: CHANNELS, ..HostSettings::default() };
    let mut control = Control {
        shared: shared.clone(),
        enet: Enet::new(socket, settings).expect("ENet takes a socket that is bound"),
        connected: None,
    };
    while !shared.is_stopped() {
        let nap = Timespec { tv_sec: 0, tv_nsec: NAP_NS };
        // A signal may have ended it early.
        let _ = poll(&mut [PollFd::new(&watched, PollFlags::IN)], Some(&nap));
        control.step();
    }
}

struct Control {
    shared: Arc<Shared>,
    enet: Enet<UdpSocket>,
    connected: Option<Connected>,
}

/// The client of the session.
struct Connected {
    peer: PeerID,
    session: Arc<Session>,
    envelope: Envelope,
    started: bool,
    heard: Instant,
}

impl Control {
    fn step(&mut self) {
        let silent = {
            let state = self.shared.state();
            state.scenario.mute_control || state.down_until.is_some_and(|until| Instant::now() < until)
        };
        if silent {
            self.forget();
            // What comes meanwhile is lost.
            while self.enet.socket().recv_from(&mut [0; 8]).is_ok() {}
            return;
        }
        // An error is that of one datagram: a client that has closed its port.
        while let Ok(Some(event)) = self.enet.service().map(|event| event.map(|event| event.no_ref())) {
            match event {
                EventNoRef::Connect { peer, data } => self.connect(peer, data),
                EventNoRef::Disconnect { peer, .. } => self.gone(peer),
                EventNoRef::Receive { peer, channel_id, packet } => {
                    if self.connected.as_ref().is_some_and(|connected| connected.peer == peer) {
                        self.receive(channel_id, packet.data());
                    }
                }
            }
        }
        self.send();
        self.expire();
        self.enet.flush();
    }

    fn connect(&mut self, id: PeerID, data: u32) {
        let session = self.shared.state().session.clone();
        let peer = self.enet.peer_mut(id);
        peer.set_timeout(2, 10_000, 10_000);
        let from = peer.address().map(|address: SocketAddr| address.ip());
        let known = |session: &Arc<Session>| match session.ids {
            true => session.launch.connect_data == data,
            false => from.is_some_and(|ip: IpAddr| ip.is_loopback()),
        };
        let Some(session) = session.filter(known) else {
            peer.disconnect_now(0);
            self.shared.state().complain(format!("ENet: nobody is awaited with data {data}"));
            return;
        };
        if peer.channel_count() != CHANNELS {
            self.shared.state().complain(format!("ENet: {} channels, not {CHANNELS}", peer.channel_count()));
        }
        let mut envelope = Envelope::new(&session.launch.key, session.settings.control_v2);
        // Nothing of it is HDR.
        let hello = envelope.seal(HDR, &[0; 27]);
        let _ = peer.send(GENERIC, &Packet::reliable(hello.as_slice()));
        self.forget();
        self.connected =
            Some(Connected { peer: id, session, envelope, started: false, heard: Instant::now() });
    }

    /// The client is no longer talked to, and is not told.
    fn forget(&mut self) {
        if let Some(connected) = self.connected.take() {
            self.enet.peer_mut(connected.peer).reset();
        }
    }

    fn gone(&mut self, peer: PeerID) {
        if let Some(connected) = self.connected.take_if(|connected| connected.peer == peer) {
            end(&self.shared, &connected.session);
        }
    }

    fn receive(&mut self, channel: u8, message: &[u8]) {
        let Some(connected) = &mut self.connected else { return };
        let mut state = self.shared.state();
        let (kind, payload) = match connected.envelope.open(message) {
            Ok(plain) => plain,
            Err(complaint) => {
                state.counters.control_refused += 1;
                state.complain(complaint);
                return;
            }
        };
        connected.heard = Instant::now();
        state.counters.control_messages += 1;
        match kind {
            START_A => {
                state.counters.keyframe_requests += u64::from(connected.started);
                connected.started = true;
                connected.session.want_keyframe();
            }
            INPUT => match input::read(channel, &payload) {
                Ok(value) => state.record(value),
                Err(complaint) => state.complain(complaint),
            },
            INVALIDATE => state.complain("reference frames were invalidated, which DESCRIBE does not offer"),
            START_B | PING | LTR_ACK | FEC_STATUS => {}
            other => state.complain(format!("control message {other:#06x} is not known")),
        }
        // Whoever waits for input.
        self.shared.notify();
    }

    fn send(&mut self) {
        let outgoing = std::mem::take(&mut self.shared.state().to_send);
        for outgoing in outgoing {
            if let Outgoing::Shutdown(down) = outgoing {
                self.shut_down(down);
                continue;
            }
            let Some(connected) = &mut self.connected else { return };
            let peer = self.enet.peer_mut(connected.peer);
            match outgoing {
                Outgoing::Message { kind, payload } => {
                    let message = connected.envelope.seal(kind, &payload);
                    let _ = peer.send(GENERIC, &Packet::reliable(message.as_slice()));
                    if kind == TERMINATION {
                        peer.disconnect_later(0);
                        connected.session.end();
                    }
                }
                Outgoing::Raw(bytes) => {
                    let _ = peer.send(GENERIC, &Packet::reliable(bytes.as_slice()));
                }
                Outgoing::Shutdown(_) => {}
                Outgoing::Disconnect => {
                    peer.disconnect_now(0);
                    if let Some(connected) = self.connected.take() {
                        connected.session.end();
                    }
                }
            }
        }
    }

    /// Says the same as when an app ends, and is gone.
    fn shut_down(&mut self, down: Duration) {
        if let Some(connected) = &mut self.connected {
            let message = connected.envelope.seal(TERMINATION, &GRACEFUL.to_be_bytes());
            let _ = self.enet.peer_mut(connected.peer).send(GENERIC, &Packet::reliable(message.as_slice()));
            self.enet.flush();
        }
        self.shared.state().restart(down);
        self.shared.notify();
    }

    /// A client that says nothing is gone.
    fn expire(&mut self) {
        if let Some(connected) = self.connected.take_if(|connected| connected.heard.elapsed() > PATIENCE) {
            self.enet.peer_mut(connected.peer).disconnect_now(0);
            end(&self.shared, &connected.session);
            self.shared.state().complain("no control messages for 10 s");
        }
    }
}

/// Ends this session, and no later one.
fn end(shared: &Shared, session: &Arc<Session>) {
    session.end();
    let mut state = shared.state();
    state.session.take_if(|current| Arc::ptr_eq(current, session));
}

/// Encrypts and decrypts the messages of one session.
struct Envelope {
    gcm: Gcm,
    v2: bool,
    /// Number of the next message that is sent.
    next: u32,
    /// Number of the next one that should come. They may overtake each other between channels.
    awaited: u32,
}

impl Envelope {
    fn new(key: &Key, v2: bool) -> Self {
        Self { gcm: if v2 { Gcm::short(key) } else { Gcm::long(key) }, v2, next: 0, awaited: 0 }
    }

    fn iv(&self, sequence: u32, sender: u8) -> [u8; 16] {
        let mut iv = [0; 16];
        if self.v2 {
            iv[..4].copy_from_slice(&sequence.to_le_bytes());
            (iv[10], iv[11]) = (sender, b'C');
        } else {
            iv[0] = sequence as u8;
        }
        iv
    }

    fn seal(&mut self, kind: u16, payload: &[u8]) -> Vec<u8> {
        let sequence = self.next;
        self.next += 1;
        self.seal_as(b'H', sequence, kind, payload)
    }

    fn seal_as(&self, sender: u8, sequence: u32, kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut plain = kind.to_le_bytes().to_vec();
        plain.extend((payload.len() as u16).to_le_bytes());
        plain.extend_from_slice(payload);
        let tag = self.gcm.seal(&self.iv(sequence, sender), &mut plain);
        let mut message = vec![1, 0];
        message.extend((4 + 16 + plain.len() as u16).to_le_bytes());
        message.extend(sequence.to_le_bytes());
        message.extend(tag);
        message.extend(plain);
        message
    }

    /// Type and payload of a message of the client's.
    fn open(&mut self, message: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let (header, sealed) = message.split_at_checked(24).ok_or("control: shorter than its header")?;
        let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        if number(0) != 1 || usize::from(number(2)) != message.len() - 4 {
            return Err(format!("control: header {:02x?} of {} bytes", &header[..4], message.len()));
        }
        let sequence = u32::from(number(4)) | u32::from(number(6)) << 16;
        let tag = Tag::try_from(&header[8..]).expect("16 of 24 bytes are left");
        let mut plain = sealed.to_vec();
        if !self.gcm.open(&self.iv(sequence, b'C'), &tag, &mut plain) {
            return Err(format!("control: message {sequence} is not encrypted as agreed"));
        }
        let (head, payload) = plain.split_first_chunk::<4>().ok_or("control: no type")?;
        if usize::from(u16::from_le_bytes([head[2], head[3]])) != payload.len() {
            return Err(format!("control: length {:02x?} of {} bytes", &head[2..], payload.len()));
        }
        if sequence.abs_diff(self.awaited) > 256 {
            return Err(format!("control: number {sequence} when {} was awaited", self.awaited));
        }
        self.awaited = self.awaited.max(sequence + 1);
        Ok((u16::from_le_bytes([head[0], head[1]]), payload.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    const KEY: Key = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    #[test]
    fn messages_are_as_published_in_both_versions() {
        let v2 = [
            (0, "01001a000000000022302723537811166cb9bfead7dad4575cd629f5cafe"),
            (1, "01001a00010000006c12bedcfec5f08348afa44cd89b857221270741031b"),
            (256, "01001a00000100003b927efda9aa64c17879ada6b1d39c6af8bdf4eeeddd"),
        ];
        let v1 = [
            (0, "01001a0000000000566c8363e380dad031b24ee56ee40bb6021579f6ebbe"),
            (257, "01001a0001010000db44075091248d9f4ed1d166104ad599e5503cd7b9df"),
        ];
        let all = v2.into_iter().map(|pair| (true, pair)).chain(v1.into_iter().map(|pair| (false, pair)));
        for (is_v2, (sequence, published)) in all {
            let mut envelope = Envelope { awaited: sequence, ..Envelope::new(&KEY, is_v2) };
            let message = from_hex(published).unwrap();
            assert_eq!(envelope.seal_as(b'C', sequence, START_A, &[0, 0]), message);
            assert_eq!(envelope.open(&message), Ok((START_A, vec![0, 0])));
        }
    }

    #[test]
    fn a_termination_is_as_published() {
        let envelope = Envelope::new(&KEY, true);
        let published = "01001c0007000000a825d6bd20ccfe5ba7fbb60530900ef17f27937ed176265a";
        let code = 0x8003_0023_u32.to_be_bytes();
        assert_eq!(envelope.seal_as(b'H', 7, TERMINATION, &code), from_hex(published).unwrap());
    }

    #[test]
    fn what_is_not_as_agreed_is_refused() {
        let client = Envelope::new(&KEY, true);
        let mut host = Envelope::new(&KEY, true);
        let message = client.seal_as(b'C', 0, PING, &[4, 0, 0, 0, 0, 0, 0, 0]);
        assert!(host.open(&message[..20]).is_err());
        assert!(host.open(&message[..message.len() - 1]).is_err());
        assert!(Envelope::new(&KEY, false).open(&message).is_err(), "the other version");
        assert!(host.open(&client.seal_as(b'H', 0, PING, &[])).is_err(), "our own");
        assert!(host.open(&client.seal_as(b'C', 5000, PING, &[])).is_err(), "from nowhere");
        assert!(host.open(&message).is_ok());
    }
}
