//! Everything that takes bytes from a Moonlight host: its packets, its messages, its answers. What a host seals is sealed here
//! after it was changed, so that what is behind the seal is reached.

use fake_gamestream_host::crypto::{Gcm, Key, cbc_encrypt, to_hex};
use fake_gamestream_host::identity::{Client as HostsClient, Identity as HostIdentity};
use fake_gamestream_host::packets::{Cut, Encryptor, Frame, Packetizer};
use fake_gamestream_host::pairing::Pairing as HostPairing;
use fake_gamestream_host::scenario::{Certificate, FrameHeader, PairingFault};
use gamestream::control::{Opener, Version};
use gamestream::crypto::Session;
use gamestream::fec::{self, Matrix};
use gamestream::identity::Identity;
use gamestream::pairing::{Pairing, Random, Step};
use gamestream::rtsp::{Client, SessionUrl};
use gamestream::sdp::{Offer, Setup};
use gamestream::{audio, http, reply, video};

const KEY: Key = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const KEY_ID: i32 = -123_456_789;
/// Small, so that frames of many packets are short inputs.
const PACKET_SIZE: usize = 64;

fn session() -> Session {
    Session::new(KEY, KEY_ID)
}

/// Pieces that are each behind their length in two bytes, as far as they go.
fn pieces(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, behind) = rest.split_first_chunk::<2>()?;
        let (piece, after) = behind.split_at(usize::from(u16::from_be_bytes(*len)).min(behind.len()));
        rest = after;
        Some(piece)
    })
}

fn joined<'a>(pieces: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
    // All of them are short.
    let piece = |piece: &Vec<u8>| [&(piece.len() as u16).to_be_bytes()[..], piece].concat();
    pieces.into_iter().flat_map(piece).collect()
}

/// Frames of one and of several blocks, with every kind of header. Behind a byte of flags.
pub fn video_seeds() -> Vec<Vec<u8>> {
    let headers = [FrameHeader::Short, FrameHeader::Constant, FrameHeader::Long];
    let seed = |(flags, header): (u8, FrameHeader)| {
        let cut = Cut {
            packet_size: PACKET_SIZE,
            fec_percent: 20,
            min_parity: 2,
            header,
            long_header: 44,
            short_last: false,
        };
        let mut packetizer = Packetizer::default();
        let mut packets = Vec::new();
        for (index, len) in [(1, 300), (2, 5), (3, 9000)] {
            let bitstream: Vec<u8> =
                [0, 0, 0, 1, 0x65].into_iter().chain((0..len).map(|n| n as u8 | 1)).collect();
            let timestamp = index * 1500;
            let keyframe = index == 1;
            let frame = Frame { index, timestamp, keyframe, latency: 7, bitstream: &bitstream };
            packets.extend(packetizer.cut(&frame, &cut).into_iter().map(|packet| packet.bytes));
        }
        [vec![flags], joined(&packets)].concat()
    };
    (0..).zip(headers).map(seed).collect()
}

/// Packets of a stream, with a good seal or without one; as they are, they are no sealed ones.
pub fn video(input: &[u8]) {
    let Some((&flags, packets)) = input.split_first() else { return };
    let session = session();
    let mut receiver = video::Receiver::new(PACKET_SIZE, 44, |data| data.first() == Some(&0));
    let mut encryptor = (flags & 1 != 0).then(|| Encryptor::new(&KEY));
    for packet in pieces(packets) {
        let _ = video::open(&session, &mut packet.to_vec());
        match &mut encryptor {
            Some(encryptor) => {
                let mut sealed = encryptor.seal(1, packet);
                let opened = video::open(&session, &mut sealed).expect("it was sealed with this key");
                assert_eq!(opened, packet);
                let _ = receiver.push(opened);
            }
            None => drop(receiver.push(packet)),
        }
        while let Some(frame) = receiver.pop() {
            assert!(frame.data.len() <= 4 * 255 * PACKET_SIZE, "a frame of {} bytes", frame.data.len());
        }
    }
    let _ = (receiver.counts(), receiver.wants_idr());
}

/// Data shards, parity shards, which are missing, then the shards.
pub fn fec_seeds() -> Vec<Vec<u8>> {
    let shards: Vec<u8> = (0..96).collect();
    vec![[&[4, 2, 0b0101, 16][..], &shards].concat(), [&[0x84, 2, 0b0010, 16][..], &shards].concat()]
}

pub fn fec(input: &[u8]) {
    let Some((&[data, parity, missing, len], shards)) = input.split_first_chunk() else { return };
    let count = usize::from(data & 0x7f);
    let len = usize::from(len).max(1);
    let matrix = if data & 0x80 != 0 { Matrix::Audio } else { Matrix::Cauchy { parity: parity.into() } };
    // The last one may be shorter than it must be.
    let mut shards = shards.chunks(len).enumerate();
    let data: Vec<_> = shards.by_ref().take(count).filter(|(n, _)| missing >> (n & 7) & 1 == 0).collect();
    let parity: Vec<_> = shards.map(|(n, shard)| (n - count, shard)).take(parity.into()).collect();
    let lost: Vec<usize> = (0..count).filter(|n| missing >> (n & 7) & 1 != 0).collect();
    if let Some(recovered) = fec::recover(matrix, len, &data, &parity, &lost) {
        assert!(recovered.len() == lost.len() && recovered.iter().all(|shard| shard.len() == len));
    }
}

/// A block of sound with its parity, behind a byte of flags: plain, and encrypted.
pub fn sound_seeds() -> Vec<Vec<u8>> {
    let packet = |kind: u8, sequence: u16, payload: &[u8]| {
        let mut packet = vec![0x80, kind];
        packet.extend(sequence.to_be_bytes());
        packet.extend((u32::from(sequence) * 10).to_be_bytes());
        packet.extend([0; 4]);
        packet.extend_from_slice(payload);
        packet
    };
    let payload = |n: u8| vec![0xfc, n, 2, 3, 4, 5, 6, 7];
    let parity = |n: u8| [&[n, 97, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &payload(n)].concat();
    let plain: Vec<_> = (0..8u8)
        .map(|n| packet(97, n.into(), &payload(n)))
        .chain((0..2).map(|n| packet(127, 4 + u16::from(n), &parity(n))))
        .collect();
    let sealed = |n: u8| {
        let mut iv = [0; 16];
        iv[..4].copy_from_slice(&(KEY_ID as u32).wrapping_add(n.into()).to_be_bytes());
        packet(97, n.into(), &cbc_encrypt(&KEY, &iv, &payload(n)))
    };
    let sealed: Vec<_> = (0..8).map(sealed).collect();
    vec![[vec![0], joined(&plain)].concat(), [vec![1], joined(&sealed)].concat()]
}

pub fn sound(input: &[u8]) {
    let Some((&flags, packets)) = input.split_first() else { return };
    let mut receiver = audio::Receiver::new((flags & 1 != 0).then(session), 10);
    for packet in pieces(packets) {
        let _ = receiver.push(packet);
        while receiver.pop().is_some() {}
    }
    let _ = receiver.counts();
}

/// Rumble, a light, HDR, both kinds of termination: type, length, payload.
pub fn messages_seeds() -> Vec<Vec<u8>> {
    let message = |kind: u16, payload: &[u8]| {
        [&kind.to_le_bytes()[..], &(payload.len() as u16).to_le_bytes(), payload].concat()
    };
    vec![
        message(0x010b, &[0xee, 0xff, 0xc0, 0, 1, 0, 0xff, 0xff, 0, 0]),
        message(0x5500, &[1, 0, 2, 0, 3, 0]),
        message(0x5502, &[1, 0, 7, 8, 9]),
        message(0x010e, &[1]),
        message(0x0109, &0x8003_0023_u32.to_be_bytes()),
        message(0x0100, &[0, 1]),
    ]
}

/// A message as the host seals it, of either version, and as it is.
pub fn messages(input: &[u8]) {
    // Longer ones do not fit their envelope's length.
    let plain = &input[..input.len().min(60_000)];
    for version in [Version::V1, Version::V2] {
        let mut iv = [0; 16];
        let mut sealed = plain.to_vec();
        let gcm = match version {
            Version::V1 => Gcm::long(&KEY),
            Version::V2 => {
                (iv[10], iv[11]) = (b'H', b'C');
                Gcm::short(&KEY)
            }
        };
        let tag = gcm.seal(&iv, &mut sealed);
        let mut message = vec![1, 0];
        message.extend((4 + 16 + plain.len() as u16).to_le_bytes());
        message.extend([0; 4]);
        message.extend(tag);
        message.extend(sealed);
        let opener = Opener::new(session(), version);
        let _ = (opener.open(&message), opener.open(input));
    }
}

/// Answers to OPTIONS, DESCRIBE and SETUP, and the URL of a session.
pub fn rtsp_seeds() -> Vec<Vec<u8>> {
    [
        "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
        "RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\na=x-ss-general.featureFlags:3\r\na=x-ss-general.encryptionSupported: 7\r\n\
         a=x-ss-general.encryptionRequested:1\r\na=fmtp:97 surround-params=21101\r\nsprop-parameter-sets=AAAAAU\r\n\
         a=rtpmap:98 AV1/90000\r\n",
        "RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: DEADBEEFCAFE;timeout = 90\r\nTransport: server_port=48000\r\n\
         X-SS-Ping-Payload: 0123456789abcdef\r\nX-SS-Connect-Data: 4294967295\r\n\r\n",
        "rtspenc://10.0.0.2:48010",
        "rtsp://[fe80::1]:48010",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// An answer in clear, the same under the host's seal, and as if it were sealed.
pub fn rtsp(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = (SessionUrl::parse(&text), Offer::parse(&text));
    let mut iv = [0; 16];
    (iv[0], iv[10], iv[11]) = (1, b'H', b'R');
    let mut sealed = input.to_vec();
    let tag = Gcm::short(&KEY).seal(&iv, &mut sealed);
    let mut message = (0x8000_0000 | input.len() as u32).to_be_bytes().to_vec();
    message.extend([0, 0, 0, 1]);
    message.extend(tag);
    message.extend(sealed);
    for (session, bytes) in [(None, input), (Some(session()), &message[..]), (Some(session()), input)] {
        let mut client = Client::new("0.0.0.0", session);
        if let Ok(reply) = client.reply("DESCRIBE", bytes) {
            let offer = Offer::parse(&reply.body);
            let _ = (offer.encryption(true), offer.touch());
            let setup = Setup::read(&reply, 47998);
            assert!(setup.port != 0 && setup.ping(1).len() <= 20);
            // What it has named its session goes into the next request.
            let _ = client.request("PLAY", "/", &[], "");
        }
    }
}

/// What hosts answer by HTTP, heads included.
pub fn answers_seeds() -> Vec<Vec<u8>> {
    let xml = [
        "<root status_code=\"200\"><hostname>Tower</hostname><appversion>7.1.431.-1</appversion><GfeVersion>3.23.0.74\
         </GfeVersion><uniqueid>0123456789ABCDEF</uniqueid><HttpsPort>47984</HttpsPort><ExternalPort>47989</ExternalPort>\
         <mac>01:23:45:67:89:ab</mac><ServerCodecModeSupport>65793</ServerCodecModeSupport><PairStatus>1</PairStatus>\
         <currentgame>7</currentgame><state>SUNSHINE_SERVER_BUSY</state></root>",
        "<root status_code=\"200\"><App><IsHdrSupported>1</IsHdrSupported><AppTitle>A &amp; B</AppTitle><ID>1</ID></App>\
         <App><AppTitle/><ID>1093255277</ID></App></root>",
        "<?xml version=\"1.0\"?><root status_code=\"200\"><sessionUrl0>rtspenc://10.0.0.2:48010</sessionUrl0>\
         <gamesession>1</gamesession></root>",
        "<root status_code=\"200\"><cancel>1</cancel><resume>1</resume></root>",
        "<root status_code=\"4294967295\" status_message=\"no\"/>",
    ];
    let by_length = |xml: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{xml}", xml.len());
    let chunked = |xml: &str| {
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{xml}\r\n0\r\n\r\n", xml.len())
    };
    xml.iter().map(|xml| by_length(xml).into_bytes()).chain([chunked(xml[0]).into_bytes()]).collect()
}

pub fn answers(input: &[u8]) {
    let whole = http::parse(input).map(|response| response.text());
    let text = String::from_utf8_lossy(input);
    let body = whole.unwrap_or_default();
    for text in [&text[..], &body] {
        if let Ok(info) = reply::server_info(text) {
            assert!(info.https_port != 0 && info.name.chars().count() <= 256);
        }
        if let Ok(apps) = reply::apps(text) {
            assert!(apps.len() <= 1000);
        }
        let _ = (reply::session_url(text).map(|url| SessionUrl::parse(&url)), reply::element(text, "paired"));
        let _ = (reply::done(text, "cancel"), reply::done(text, "resume"));
    }
}

thread_local! {
    /// Reading a key for each input would be most of the work.
    static IDENTITY: Identity = Identity::from_pem(
        include_str!("../../fake-gamestream-host/data/second.cert.pem"),
        include_str!("../../fake-gamestream-host/data/second.key.pem"),
    )
    .expect("a certificate with its key");
}

const PIN: &str = "1234";

fn random() -> Random {
    Random { salt: [9; 16], challenge: [3; 16], secret: [4; 16] }
}

/// What a host answers that knows the PIN, one answer behind the other.
pub fn pairing_seeds() -> Vec<Vec<u8>> {
    IDENTITY.with(|identity| {
        let host = HostIdentity::load(Certificate::First);
        let client = HostsClient::from_pem(identity.certificate_pem().as_bytes()).expect("a certificate");
        let mut theirs = HostPairing::new(&random().salt, PIN, client);
        let (mut ours, mut step) = Pairing::start(identity, PIN, random());
        let mut answers = Vec::new();
        let paired = |name: &str, value: &[u8]| {
            format!("<root status_code=\"200\"><paired>1</paired><{name}>{}</{name}></root>", to_hex(value))
        };
        while let Step::Ask(query) | Step::AskOverTls(query, _) = &step {
            let (phase, sent) =
                query.rsplit('&').next().and_then(|last| last.split_once('=')).expect("a phase");
            let sent = fake_gamestream_host::crypto::from_hex(sent).unwrap_or_default();
            let good = "a pairing in good order";
            let answer = match phase {
                "clientchallenge" => {
                    let answer = theirs.challenge(&sent, &host, PairingFault::None).expect(good);
                    paired("challengeresponse", &answer)
                }
                "serverchallengeresp" => {
                    paired("pairingsecret", &theirs.response(&sent, &host, PairingFault::None).expect(good))
                }
                "clientpairingsecret" | "phrase" => paired("nothing", &[]),
                _ => paired("plaincert", host.pem.as_bytes()),
            };
            step = ours.answer(&answer).expect(good);
            answers.push(answer.into_bytes());
        }
        vec![joined(&answers)]
    })
}

/// Answers of a host to a client that pairs.
pub fn pairing(input: &[u8]) {
    IDENTITY.with(|identity| {
        let (mut pairing, _) = Pairing::start(identity, PIN, random());
        for answer in pieces(input) {
            match pairing.answer(&String::from_utf8_lossy(answer)) {
                Ok(Step::Paired(_)) | Err(_) => break,
                Ok(Step::Ask(query) | Step::AskOverTls(query, _)) => assert!(query.len() < 16 * 1024),
            }
        }
    });
}
