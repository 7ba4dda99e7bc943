//! Everything that takes bytes from outside: from peers, REST clients, cameras, ffmpeg, the IPC socket, and whoever writes the
//! configuration. What these make of an input is checked as far as it is said somewhere: what was read can be written and
//! read again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::api::{CreateStreamer, InputRequest, Transport};
use common::clipboard::Content;
use common::ice_tcp::framing::{self, Packets};
use common::ice_tcp::handover;
use common::input::{decode_general, decode_keys, decode_motion};
use common::ipc::{Decoder, Hello, ServerIpcMessage, StreamerIpcMessage, encode};
use common::media::VideoCodec;
use common::media_socket;
use common::sdp::Bounded;
use common::signal::{Capabilities, ClientMessage, PublishKind, Role, ServerMessage};
use common::spec::StreamSpec;
use serde::de::DeserializeOwned;
use streamer::feed::packetize;
use streamer::media::{AccessUnit, Size};
use streamer::peer::connection::{Connection, Identity, Srtp};
use streamer::peer::socket::Candidates;
use streamer::peer::{Path, demux, negotiate};
use streamer::publish::{Output, Packet, Publisher, keyframe, sections};
use streamer::source::ffmpeg::{read::Reader, ts};
use streamer::source::live::{av1, h264, h265, opus};
use streamer::source::rtsp::depacketize;
use web_server::config::File;
use web_server::config::file::Format;

use crate::{Target, hosts};

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "ipc", seeds: ipc_seeds, run: ipc },
    Target { name: "signalling", seeds: Vec::new, run: signalling },
    Target { name: "channels", seeds: Vec::new, run: channels },
    Target { name: "rest", seeds: Vec::new, run: rest },
    Target { name: "config", seeds: Vec::new, run: config },
    Target { name: "streams", seeds: Vec::new, run: streams },
    Target { name: "sdp", seeds: sdp_seeds, run: sdp },
    Target { name: "candidates", seeds: Vec::new, run: candidates },
    Target { name: "datagrams", seeds: datagram_seeds, run: datagrams },
    Target { name: "framing", seeds: framing_seeds, run: framed },
    Target { name: "handover", seeds: handover_seeds, run: handover },
    Target { name: "media_socket", seeds: media_socket_seeds, run: media_socket },
    Target { name: "whole_units", seeds: whole_unit_seeds, run: whole_units },
    Target { name: "rtp", seeds: rtp_seeds, run: rtp },
    Target { name: "published", seeds: published_seeds, run: published },
    Target { name: "rtsp", seeds: rtsp_seeds, run: rtsp },
    Target { name: "h264", seeds: Vec::new, run: annex_b },
    Target { name: "mpegts", seeds: Vec::new, run: mpegts },
    Target { name: "host_video", seeds: hosts::video_seeds, run: hosts::video },
    Target { name: "host_fec", seeds: hosts::fec_seeds, run: hosts::fec },
    Target { name: "host_sound", seeds: hosts::sound_seeds, run: hosts::sound },
    Target { name: "host_messages", seeds: hosts::messages_seeds, run: hosts::messages },
    Target { name: "host_rtsp", seeds: hosts::rtsp_seeds, run: hosts::rtsp },
    Target { name: "host_answers", seeds: hosts::answers_seeds, run: hosts::answers },
    Target { name: "host_pairing", seeds: hosts::pairing_seeds, run: hosts::pairing },
    Target { name: "host_pictures", seeds: host_pictures_seeds, run: host_pictures },
];

fn ipc_seeds() -> Vec<Vec<u8>> {
    use common::ipc::request::{AddPeer, Picture, SetClipboard};
    use common::ipc::{Code, Join, Json, Payload, Purpose, Ready, RequestError, Settings};
    let id = || common::id::StreamerId::parse("demo").expect("a valid id");
    let spec = serde_json::from_str(r#"{"source":{"type":"test"},"sources":{},"share":true,"slots":4}"#);
    let hello = Hello { protocol: 1, build: "0.1.0".into(), token: "0123".into(), purpose: Purpose::Control };
    let request = serde_json::from_str("7").expect("a request id");
    let join = Join::Native {
        resume: None,
        socket: 3,
        ticket: Default::default(),
        role: Role::Controller,
        capabilities: Capabilities::default(),
        person: common::person::Person::admin(),
    };
    let picture = Picture { image: vec![7; 40], version: Some(9), width: 2, height: 5 };
    let server = [
        ServerIpcMessage::Init {
            id: id(),
            spec: Json(spec.expect("a spec")),
            settings: Box::new(Json(Settings::default())),
        },
        ServerIpcMessage::Request { id: request, request: AddPeer { join: Json(join) }.into() },
        ServerIpcMessage::Request {
            id: request,
            request: SetClipboard { content: Content::text("grüße") }.into(),
        },
    ];
    let streamer = [
        StreamerIpcMessage::Ready(Box::new(Json(Ready { session: None, pid: 7 }))),
        StreamerIpcMessage::Reply {
            request,
            result: Ok(Payload::of(&picture).expect("a small picture is a payload")),
        },
        StreamerIpcMessage::Reply { request, result: Err(RequestError::new(Code::Busy, "m")) },
    ];
    let frame = "a small message is a frame";
    let mut seeds = vec![encode(&hello).expect(frame).to_vec()];
    seeds.push(server.iter().flat_map(|message| encode(message).expect(frame).to_vec()).collect());
    seeds.push(streamer.iter().flat_map(|message| encode(message).expect(frame).to_vec()).collect());
    seeds
}

fn ipc(input: &[u8]) {
    fn all<T: DeserializeOwned>(input: &[u8]) {
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(input);
        while let Ok(Some(_)) = decoder.next_message::<T>() {}
        // Whatever it says.
        let _ = decoder.finish();
    }
    all::<Hello>(input);
    all::<ServerIpcMessage>(input);
    all::<StreamerIpcMessage>(input);
}

fn signalling(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(message) = serde_json::from_str::<ClientMessage>(text) {
        again(&message);
    }
    if let Ok(message) = serde_json::from_str::<ServerMessage>(text) {
        again(&message);
    }
    let _ = common::multistream::ClientMessage::decode(text);
}

/// What was read can be written, and reads as the same.
fn again<T: serde::Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let text = serde_json::to_string(value).expect("what was read can be written");
    assert_eq!(&serde_json::from_str::<T>(&text).expect("what was written can be read"), value);
}

fn channels(input: &[u8]) {
    let _ = (decode_keys(input), decode_motion(input), decode_general(input));
}

fn rest(input: &[u8]) {
    if let Ok(create) = serde_json::from_slice::<CreateStreamer>(input) {
        let (_, spec, _) = create.into_parts();
        if spec.validate().is_ok() {
            again(&spec);
        }
        let _ = spec.redacted();
    }
    if let Ok(request) = serde_json::from_slice::<InputRequest>(input) {
        for event in &request.events {
            drop(event.validate());
        }
    }
}

fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for format in [Format::Yaml, Format::Toml] {
        let _ = File::parse(text, format).map_err(|error| error.to_string());
    }
}

fn streams(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(stream) = text.parse::<StreamSpec>() {
        again(&stream.0);
        let _ = stream.0.redacted();
    }
}

/// A connection that has offered, and its offer.
fn offered(identity: &Identity) -> (Connection, String) {
    let now = Instant::now();
    let address = SocketAddr::from(([127, 0, 0, 1], 5000));
    let candidates = Candidates { udp: vec![address], tcp: vec![address] };
    let connection = Connection::new(now, identity, Srtp::Any, &candidates);
    let mut connection = connection.expect("settings that are good");
    for slot in 0..2 {
        let first = 10 * u32::from(slot);
        negotiate::add_slot(connection.pc(), slot, (first + 1, first + 2), first + 3).expect("a slot");
    }
    let offer = connection.offer(now).expect("an offer");
    (connection, offer)
}

thread_local! {
    /// Making a key for each input would be most of the work.
    static IDENTITY: Identity = Identity::generate().expect("randomness");
}

fn sdp_seeds() -> Vec<Vec<u8>> {
    IDENTITY.with(|identity| vec![offered(identity).1.into_bytes()])
}

fn sdp(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(bounded) = Bounded::check(text.to_owned()) else { return };
    IDENTITY.with(|identity| {
        let now = Instant::now();
        let (mut connection, _) = offered(identity);
        if connection.answer(now, bounded.clone()).is_ok() {
            poll(&mut connection);
        }
        // As a player's or a multistream client's offer.
        let address = SocketAddr::from(([127, 0, 0, 1], 5000));
        let candidates = Candidates { udp: vec![address], tcp: vec![address] };
        let connection = Connection::new(now, identity, Srtp::Any, &candidates);
        let mut connection = connection.expect("settings that are good");
        negotiate::add_slot(connection.pc(), 0, (1, 2), 3).expect("a slot");
        if connection.accept(now, bounded).is_ok() {
            poll(&mut connection);
        }
        let _ = negotiate::with_public_ips(text, &[[203, 0, 113, 7].into()]);
    });
}

/// Lets a connection do what it wants to, for a while.
fn poll(connection: &mut Connection) {
    let mut now = Instant::now();
    for _ in 0..4 {
        connection.poll(now, &mut Vec::new());
        connection.transmit(|_, _| {});
        now += Duration::from_millis(20);
        connection.timeout(now);
    }
}

fn candidates(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    IDENTITY.with(|identity| {
        let (mut connection, offer) = offered(identity);
        let mut other = Connection::new(Instant::now(), identity, Srtp::Any, &Candidates::default())
            .expect("settings that are good");
        negotiate::add_slot(other.pc(), 0, (1, 2), 3).expect("a slot");
        let bounded = |sdp| Bounded::check(sdp).expect("our own descriptions are within the bounds");
        if let Ok(answer) = other.accept(Instant::now(), bounded(offer)) {
            let _ = connection.answer(Instant::now(), bounded(answer));
        }
        for line in text.lines() {
            let _ = connection.add_candidate(line.to_owned(), Some("0".into()), Some(0));
        }
        poll(&mut connection);
    });
}

/// A binding request that names us, and the beginning of a DTLS handshake.
fn datagram_seeds() -> Vec<Vec<u8>> {
    let mut request = vec![0, 1, 0, 28, 0x21, 0x12, 0xa4, 0x42];
    request.extend(*b"transaction!");
    request.extend([0, 6, 0, 21]);
    request.extend(*b"0123456789abcdef:peer\0\0\0");
    let hello =
        [&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30, 1, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0, 18][..], &[7; 18]];
    let rtcp = vec![0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
    vec![request, hello.concat(), rtcp]
}

fn datagrams(input: &[u8]) {
    let _ = (demux::our_ufrag(input), demux::proves_address(input));
    IDENTITY.with(|identity| {
        let (mut connection, _) = offered(identity);
        let local = SocketAddr::from(([127, 0, 0, 1], 5000));
        let from = SocketAddr::from(([127, 0, 0, 1], 6000));
        for transport in [Transport::Udp, Transport::Tcp] {
            let path = Path { transport, local, remote: from };
            connection.receive(Instant::now(), path, input);
        }
        poll(&mut connection);
    });
}

/// Packets as they come by TCP: a byte that says into how long pieces the stream is cut, and the stream.
fn framing_seeds() -> Vec<Vec<u8>> {
    let mut stream = vec![7];
    for packet in [&[1_u8; 20][..], &[2; 1], &[3; 1200]] {
        stream.extend(framing::header(packet).expect("a short packet"));
        stream.extend(packet);
    }
    vec![stream, vec![1, 0, 0], vec![200, 0x10, 1, 9], vec![3]]
}

fn framed(input: &[u8]) {
    let Some((cut, stream)) = input.split_first() else { return };
    let read = |pieces: usize| {
        let mut packets = Packets::default();
        let mut taken = Vec::new();
        for piece in stream.chunks(pieces.max(1)) {
            packets.push(piece);
            loop {
                match packets.next_packet() {
                    Ok(Some(packet)) => taken.push(packet),
                    Ok(None) => break,
                    Err(error) => return (taken, Some(error)),
                }
            }
            assert!(packets.buffered() < framing::HEADER + framing::MAX_PACKET, "more than one is kept");
        }
        (taken, None)
    };
    let (whole, error) = read(stream.len());
    assert_eq!(read(usize::from(*cut)), (whole.clone(), error), "it depends on how the stream is cut");
    let mut again = Vec::new();
    for packet in &whole {
        assert!((1..=framing::MAX_PACKET).contains(&packet.len()));
        again.extend(framing::header(packet).expect("a short packet"));
        again.extend(packet);
    }
    assert_eq!(again, stream[..again.len()], "what was read is what was sent");
}

/// Frames of a media socket, behind their lengths; and a byte that says into how long pieces the stream is cut.
fn media_socket_seeds() -> Vec<Vec<u8>> {
    use media_socket::{Channel, ToStreamer};
    let mut stream = vec![9];
    for frame in [
        ToStreamer::Message { channel: Channel::Keys, bytes: br#"{"type":"key"}"# },
        ToStreamer::Message { channel: Channel::General, bytes: b"" },
        ToStreamer::Received { bytes: 77 },
    ] {
        let frame = frame.encode();
        stream.extend(media_socket::prefix(&frame).expect("a short frame"));
        stream.extend(&frame[..]);
    }
    let picture = vec![1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0x65];
    vec![stream, picture, vec![1, 0, 0, 0, 0], vec![1, 0, 4, 0, 3, 9], vec![3, 0, b'{', b'}']]
}

fn media_socket(input: &[u8]) {
    use media_socket::{Frames, MAX_TO_STREAMER, PREFIX, ToClient, ToStreamer};
    if let Ok(frame) = ToClient::read(input) {
        let mut again = bytes::BytesMut::new();
        frame.put(&mut again);
        assert_eq!(ToClient::read(&again), Ok(frame), "what is put is read again");
    }
    let Some((cut, stream)) = input.split_first() else { return };
    let read = |pieces: usize| {
        let mut frames = Frames::new(MAX_TO_STREAMER);
        let mut taken = Vec::new();
        for piece in stream.chunks(pieces.max(1)) {
            frames.push(piece);
            loop {
                match frames.next_frame() {
                    Ok(Some(frame)) => taken.push(frame),
                    Ok(None) => break,
                    Err(error) => return (taken, Some(error)),
                }
            }
            assert!(frames.buffered() < PREFIX + MAX_TO_STREAMER, "more than one is kept");
        }
        (taken, None)
    };
    let (whole, error) = read(stream.len());
    assert_eq!(read(usize::from(*cut)), (whole.clone(), error), "it depends on how the stream is cut");
    for frame in &whole {
        if let Ok(ToStreamer::Message { channel, bytes }) = ToStreamer::read(frame) {
            assert_eq!(
                ToStreamer::Message { channel, bytes }.encode(),
                frame,
                "what is read is what was sent"
            );
        }
    }
}

/// Payloads of one unit, each behind its length of one byte, after a byte for the codec.
fn whole_unit_seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0, 5, 24, 0, 2, 0x67, 1, 3, 0x7c, 0x85, 7, 3, 0x7c, 0x45, 8],
        vec![1, 4, 0x62, 1, 0x93, 5, 3, 0x62, 1, 0x53],
        vec![2, 5, 0x90, 0x80, 0x81, 2, 0x10, 2, 0x10, 1],
        vec![3, 4, 0x8c, 0x80, 5, 0x82, 6, 0xda, 1, 2, 3, 9, 1],
        vec![4, 5, 0x08, 3, 0x08, 1, 2, 4, 0x90, 0x30, 7, 7],
    ]
}

fn whole_units(input: &[u8]) {
    use common::media::VideoCodec;
    const CODECS: [VideoCodec; 5] =
        [VideoCodec::H264, VideoCodec::H265, VideoCodec::VP8, VideoCodec::VP9, VideoCodec::AV1];
    let Some((codec, mut rest)) = input.split_first() else { return };
    let mut payloads = Vec::new();
    while let Some((len, behind)) = rest.split_first() {
        let (payload, next) = behind.split_at(usize::from(*len).min(behind.len()));
        payloads.push(bytes::Bytes::copy_from_slice(payload));
        rest = next;
    }
    let mut out = bytes::BytesMut::new();
    let _ = streamer::publish::whole::put(CODECS[usize::from(*codec) % CODECS.len()], &payloads, &mut out);
    // A start code or a header for each NAL unit and OBU, of which each has a byte at least.
    assert!(out.len() <= 2 + 9 * input.len(), "{} bytes of {}", out.len(), input.len());
}

fn handover_seeds() -> Vec<Vec<u8>> {
    use handover::Message;
    let request = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    let messages =
        [Message::Hello("0123"), Message::Added("us"), Message::Removed("us"), Message::Connection(&request)];
    messages.iter().map(Message::encode).collect()
}

fn handover(input: &[u8]) {
    if let Ok(message) = handover::Message::decode(input) {
        assert_eq!(message.encode(), input, "it is written as it was read");
    }
}

/// RTP packets one after the other: flags, two bytes of length, payload.
fn rtp_seeds() -> Vec<Vec<u8>> {
    let units = [vec![0x67, 66, 0xc0, 30, 1, 2, 3], vec![0x68, 0xce, 1], vec![0x65; 3000]];
    let annex_b: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect();
    let payloads = packetize::h264::payloads(&annex_b);
    let last = payloads.len() - 1;
    let packet = |(n, payload): (usize, &bytes::Bytes)| {
        // At most the size of a datagram.
        let len = payload.len() as u16;
        [&[u8::from(n == last)][..], &len.to_be_bytes(), payload].concat()
    };
    vec![payloads.iter().enumerate().flat_map(packet).collect()]
}

fn rtp(input: &[u8]) {
    let mut access_units = depacketize::H264::default();
    let mut assembler = h264::Assembler::default();
    let mut rest = input;
    let mut ticks = 0;
    while let Some((&[flags, high, low], behind)) = rest.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(behind.len());
        let (payload, next) = behind.split_at(len);
        rest = next;
        let packet = depacketize::Packet { payload, ticks, marker: flags & 1 != 0, loss: flags & 2 != 0 };
        for nals in access_units.push(packet) {
            let _ = assembler.assemble(nals.units.iter().map(|unit| &unit[..]));
        }
        let _ = depacketize::aac_frames(payload).count();
        let _ = opus::ticks(payload);
        ticks += if flags & 4 != 0 { 3000 } else { 0 };
    }
}

/// What a peer publishes: packets, each with its stream, kind, flags, number, time, an extension and a payload.
fn published_seeds() -> Vec<Vec<u8>> {
    let packet = |stream: u8, payload_type: u8, number: u8, payload: &[u8]| {
        let len = payload.len() as u8;
        [&[stream, payload_type, 1, 0, number, number, 3, len][..], payload].concat()
    };
    let camera = [
        packet(0, 102, 1, &[0x78, 0, 2, 0x67, 66, 0, 2, 0x68, 1]),
        packet(0, 102, 2, &[0x7c, 0x85, 1, 2, 3]),
        packet(0, 102, 4, &[0x41, 9]),
        packet(1, 103, 1, &[0, 3, 0x41, 9]),
    ];
    let vp8 = [
        packet(2, 96, 1, &[0x90, 0x80, 0x80, 1, 0x10, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0]),
        packet(3, 111, 1, &[0xfc, 1, 2]),
    ];
    vec![camera.concat(), vp8.concat()]
}

fn published(input: &[u8]) {
    let mut theirs = String::from("v=0");
    for (ssrc, section) in (0..).step_by(2).zip(["video", "video", "audio"]) {
        theirs += &format!("\r\nm={section} 9 x\r\na=ssrc-group:FID {ssrc} {}\r\na=ssrc:{ssrc} x", ssrc + 1);
    }
    let start = Instant::now();
    let mut publisher = Publisher::new(start, sections::read(PUBLISHING, &theirs));
    let mut out = Vec::new();
    for kind in [PublishKind::Camera, PublishKind::Screen, PublishKind::Microphone] {
        publisher.publish(kind);
    }
    let mut rest = input;
    let mut now = start;
    while let Some((header, behind)) = rest.split_first_chunk::<8>() {
        let &[ssrc, payload_type, flags, high, low, time, extension, len] = header;
        let (payload, next) = behind.split_at(usize::from(len).min(behind.len()));
        rest = next;
        now += Duration::from_millis(u64::from(flags >> 2));
        let value = Bytes::copy_from_slice(&payload[..payload.len().min(16)]);
        let packet = Packet {
            ssrc: ssrc.into(),
            payload_type: payload_type & 0x7f,
            marker: flags & 1 != 0,
            sequence: u16::from_be_bytes([high, low]),
            timestamp: u32::from(time) << (flags & 24),
            extensions: vec![(extension, value)],
            payload: Bytes::copy_from_slice(payload),
        };
        publisher.receive(now, packet, &mut out);
        publisher.timeout(now, &mut out);
        for output in out.drain(..) {
            if let Output::Frame { frame, .. } = output {
                assert!(frame.payloads.iter().all(|payload| !payload.is_empty()));
                let _ = keyframe::size(frame.codec, &frame.payloads);
            }
        }
    }
    let _ = sections::read(&String::from_utf8_lossy(input), &String::from_utf8_lossy(input));
}

/// The sections of an offer of ours in which a peer may publish.
const PUBLISHING: &str = "v=0\r\nm=video 9 x\r\na=mid:0\r\na=recvonly\r\na=rtpmap:102 H264/90000\r\na=rtpmap:103 rtx/90000\r\n\
    a=fmtp:103 apt=102\r\na=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\nm=video 9 x\r\na=mid:1\r\na=recvonly\r\n\
    a=rtpmap:96 VP8/90000\r\na=rtpmap:98 VP9/90000\r\na=rtpmap:45 AV1/90000\r\na=rtpmap:100 H265/90000\r\n\
    m=audio 9 x\r\na=mid:2\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n\
    a=extmap:3 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";

fn rtsp_seeds() -> Vec<Vec<u8>> {
    [
        &b"DESCRIBE rtsp://user:pass@h:554/demo/door?token=a.b.c RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"[..],
        b"SETUP rtsp://h/demo/door/trackID=1 RTSP/1.0\r\nCSeq: 2\r\nAuthorization: Basic dTphLmIuYw==\r\n\
          Transport: RTP/AVP;unicast;client_port=4-5,RTP/AVP/TCP;unicast;interleaved=2-3\r\nSession: 0a;timeout=60\r\n\r\n",
        b"$\x01\0\x04abcd\r\nPLAY rtsp://h/demo RTSP/1.0\r\nCSeq: 3\r\nSession: 0a\r\nContent-Length: 2\r\n\r\nab",
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\nTEARDOWN * RTSP/1.0\r\nCSeq: 4\r\nRequire: x\r\n\r\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// Requests of players, as they come in one piece and in two.
fn rtsp(input: &[u8]) {
    use web_server::rtsp::message::Requests;
    use web_server::rtsp::request;
    let (first, second) = input.split_at(input.len() / 2);
    let mut whole = Requests::default();
    whole.buffer().extend_from_slice(input);
    let mut parts = Requests::default();
    let mut of_parts = Vec::new();
    for part in [first, second] {
        parts.buffer().extend_from_slice(part);
        while let Ok(Some(request)) = parts.take() {
            of_parts.push(request);
        }
    }
    let mut of_whole = Vec::new();
    while let Ok(Some(request)) = whole.take() {
        // What is refused says why.
        if let Err(refusal) = request::read(&request) {
            assert!(!refusal.detail.is_empty());
        }
        of_whole.push(request);
    }
    assert_eq!(of_whole, of_parts);
}

fn annex_b(input: &[u8]) {
    let mut assembler = h264::Assembler::default();
    if let Some(unit) = assembler.assemble(packetize::nal_units(input)) {
        let _ = packetize::h264::payloads(&unit.data);
    }
    let _ = (assembler.format(), assembler.parameter_sets().count());
}

/// A keyframe of HEVC, and one of AV1.
fn host_pictures_seeds() -> Vec<Vec<u8>> {
    let hevc: [&[u8]; 4] = [
        &[0x40, 1, 0x0c, 1, 0xff],
        &[
            0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x3f, 0xa0, 5, 2, 1, 0x71, 0xf2,
            0xe5, 0xba, 0x4a, 0x4c, 0x2f, 1, 0x68, 8, 0, 0, 3, 0, 8, 0, 0, 3, 0, 0xf0, 0x40,
        ],
        &[0x44, 1, 0xc1, 0x72],
        &[0x26, 1, 0xaf, 7, 7],
    ];
    let hevc = hevc.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect();
    vec![
        hevc,
        vec![0x12, 0, 0x0a, 11, 0, 0, 0, 0x0c, 0xc4, 0xff, 0x67, 0x3e, 0xfe, 0x40, 0x10, 0x32, 2, 7, 7],
    ]
}

/// What is made of a host's HEVC and AV1.
fn host_pictures(input: &[u8]) {
    let mut assembler = h265::Assembler::default();
    if let Some(unit) = assembler.assemble(packetize::nal_units(input)) {
        assert!(!unit.keyframe || assembler.format().is_some());
    }
    let _ = av1::size(input);
    for codec in [VideoCodec::H265, VideoCodec::AV1] {
        let unit = AccessUnit {
            codec,
            data: Bytes::copy_from_slice(input),
            keyframe: true,
            captured: Instant::now(),
            size: Size { width: 640, height: 360 },
        };
        assert!(packetize::payloads(&unit, 1).iter().all(|payload| payload.len() <= packetize::MAX_PAYLOAD));
    }
}

fn mpegts(input: &[u8]) {
    let mut demuxer = ts::Demuxer::default();
    let mut reader = Reader::theirs();
    let now = Instant::now();
    // As it comes through a pipe.
    for part in input.chunks(1000) {
        let pushed = demuxer.push(part, |packet| {
            let _ = reader.picture(&packet, now);
            let _ = reader.sound(&packet, now);
        });
        if pushed.is_err() {
            break;
        }
    }
}
