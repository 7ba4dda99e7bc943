//! A connection against another one, in memory.

use std::net::{Ipv4Addr, SocketAddr};

use common::sdp::Bounded;

use super::*;
use crate::counting::allocations_in;
use crate::peer::socket::{Network, Sockets};

/// The SSRC of the video that the first connection sends.
const SSRC: u32 = 1;

struct End {
    connection: Connection,
    address: SocketAddr,
    connected: bool,
}

impl End {
    fn new(now: Instant, identity: &Identity, port: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let candidates = Candidates { udp: vec![address], tcp: Vec::new() };
        let mut connection = Connection::new(now, identity, Srtp::Gcm, &candidates).unwrap();
        negotiate::add_slot(connection.pc(), 0, (SSRC, 2), 3).unwrap();
        Self { connection, address, connected: false }
    }

    /// What it sends now, and whether it is connected.
    fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        self.connection.poll(now, &mut events);
        self.connected |= events.iter().any(|event| matches!(event, ConnectionEvent::Connected));
        let mut sent = Vec::new();
        self.connection.transmit(|_, data| sent.push(data.to_vec()));
        sent
    }
}

/// Two connections, of which the first sends.
fn connected() -> (End, End, Instant) {
    let identity = Identity::generate().unwrap();
    let mut now = Instant::now();
    let mut sender = End::new(now, &identity, 1000);
    let mut receiver = End::new(now, &identity, 2000);
    let offer = Bounded::check(sender.connection.offer(now).unwrap()).unwrap();
    let answer = receiver.connection.accept(now, offer).unwrap();
    sender.connection.answer(now, Bounded::check(answer).unwrap()).unwrap();
    for _ in 0..2000 {
        if sender.connected && receiver.connected {
            // What is left of the handshakes is of no interest.
            sender.poll(now);
            return (sender, receiver, now);
        }
        for data in sender.poll(now) {
            receiver.connection.receive(now, Path::udp(receiver.address, sender.address), &data);
        }
        for data in receiver.poll(now) {
            sender.connection.receive(now, Path::udp(sender.address, receiver.address), &data);
        }
        now += Duration::from_millis(5);
        for end in [&mut sender, &mut receiver] {
            if end.connection.deadline().is_some_and(|due| due <= now) {
                end.connection.timeout(now);
            }
        }
    }
    panic!("they do not connect");
}

fn packet(sequence: u16) -> Packet {
    Packet {
        payload_type: 102,
        marker: sequence.is_multiple_of(10),
        sequence,
        timestamp: u32::from(sequence),
        ssrc: SSRC,
        playout_delay: false,
        payload: Bytes::from_static(&[7; 1100]),
    }
}

#[test]
fn packets_are_encrypted_and_sent_without_an_allocation_and_a_picture_takes_one_call() {
    let (mut sender, _receiver, now) = connected();
    let network = Network { ips: vec![Ipv4Addr::LOCALHOST.into()], ..Network::default() };
    let mut sockets = Sockets::bind(&network).unwrap();
    let mut sequence = 0;
    let mut picture = |sender: &mut End| {
        for _ in 0..10 {
            sequence += 1;
            sender.connection.send_rtp(now, packet(sequence), Some(sequence));
        }
        let mut datagrams = 0;
        sender.connection.transmit(|path, data| {
            datagrams += 1;
            sockets.send(path, data);
        });
        let before = sockets.counts().calls;
        sockets.flush();
        assert_eq!(datagrams, 10, "all packets leave at once");
        sockets.counts().calls - before
    };
    // The first picture has the packet from which path and keys are learnt, and makes the buffers as large as they need to be.
    picture(&mut sender);
    picture(&mut sender);
    let mut calls = 0;
    let allocations = allocations_in(|| {
        for _ in 0..100 {
            calls += picture(&mut sender);
        }
    });
    assert_eq!((allocations, calls), (0, 100), "for 1000 packets in 100 pictures");
}

#[test]
fn what_may_change_the_path_sends_one_packet_by_way_of_rtc() {
    let (mut sender, receiver, now) = connected();
    let send = |sender: &mut End, sequence: u16| {
        let mut paths = Vec::new();
        let allocations = allocations_in(|| sender.connection.send_rtp(now, packet(sequence), None));
        sender.connection.transmit(|path, _| paths.push(path));
        assert_eq!(paths, [Path::udp(sender.address, receiver.address)]);
        allocations > 0
    };
    assert!(send(&mut sender, 1), "nothing is known yet");
    assert!(!send(&mut sender, 2));
    let check = [&[0, 1, 0, 0][..], &[0x21, 0x12, 0xa4, 0x42], &[1; 12]].concat();
    let path = Path::udp(sender.address, receiver.address);
    sender.connection.receive(now, path, &check);
    assert!(send(&mut sender, 3), "a connectivity check may choose another path");
    assert!(!send(&mut sender, 4));
    let data = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
    sender.connection.receive(now, path, &data);
    assert!(!send(&mut sender, 5), "feedback does not");
}
