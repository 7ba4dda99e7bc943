//! As much of a client as it takes to see what a host does.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::timecode::Grid;
use fake_gamestream_host::Ports;
use fake_gamestream_host::crypto::{Gcm, Key, ecb_decrypt, ecb_encrypt, from_hex, sha256, to_hex};
use fake_gamestream_host::identity::{Client as Reader, Identity, random};
use fake_gamestream_host::scenario::Certificate;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use rusty_enet::{Event, Host as Enet, HostSettings, Packet};
use serde_json::Value;

use crate::fec;

const PATIENCE: Duration = Duration::from_secs(20);
const WIDTH: usize = 640;
const HEIGHT: usize = 360;

pub struct Client {
    ports: Ports,
    identity: Identity,
    pinned: Mutex<Vec<u8>>,
}

impl Client {
    pub fn new(ports: Ports) -> Self {
        // Any RSA key will do; this one is there.
        Self { ports, identity: Identity::load(Certificate::Second), pinned: Mutex::default() }
    }

    pub fn pinned(&self) -> Vec<u8> {
        self.pinned.lock().unwrap().clone()
    }

    /// Head and body, as far as they came.
    pub fn plain(&self, call: &str, query: &str) -> String {
        let mut stream = connect(self.ports.http_port);
        stream.write_all(request("GET", call, query, "").as_bytes()).unwrap();
        String::from_utf8_lossy(&read_all(&mut stream)).into_owned()
    }

    pub fn secure(&self, call: &str, query: &str) -> String {
        String::from_utf8_lossy(&self.secure_bytes(call, query)).into_owned()
    }

    pub fn secure_bytes(&self, call: &str, query: &str) -> Vec<u8> {
        let mut stream = self.tls();
        stream.write_all(request("GET", call, query, "").as_bytes()).unwrap();
        read_all(&mut stream)
    }

    /// `None` when there is nobody.
    pub fn try_secure(&self, call: &str) -> Option<String> {
        let mut stream = self.tls();
        stream.write_all(request("GET", call, "", "").as_bytes()).ok()?;
        Some(String::from_utf8_lossy(&read_all(&mut stream)).into_owned()).filter(|text| !text.is_empty())
    }

    pub fn certificate_of_host(&self) -> Vec<u8> {
        let mut stream = self.tls();
        stream.conn.complete_io(&mut stream.sock).unwrap();
        stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    fn tls(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::try_from(self.identity.key_der.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyHost(provider)))
            .with_client_auth_cert(vec![CertificateDer::from(self.identity.der.clone())], key)
            .unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(connection, connect(self.ports.https_port))
    }

    /// Pairs; an attempt that fails is finished all the same.
    pub fn pair(&self, pin: &str) -> Result<(), String> {
        let paired = self.try_pair(pin);
        if paired.is_err() {
            self.plain("pair", "&devicename=roth&updateState=1&clientpairingsecret=00");
        }
        paired
    }

    /// Pairs; an attempt that fails is broken off.
    pub fn try_pair(&self, pin: &str) -> Result<(), String> {
        let call = |query: String| self.plain("pair", &format!("&devicename=roth&updateState=1{query}"));
        let value = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>")).ok_or(format!("no {name} in {text}"))?;
            Ok::<_, String>(from_hex(rest.split('<').next().unwrap()).unwrap())
        };
        let (salt, challenge, secret): ([u8; 16], [u8; 16], [u8; 16]) = (random(), random(), random());
        let key: Key = sha256(&[&salt, pin.as_bytes()])[..16].try_into().unwrap();
        let sealed = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            ecb_encrypt(&key, &mut bytes);
            to_hex(&bytes)
        };
        let certificate = to_hex(self.identity.pem.as_bytes());
        let first = call(format!("&phrase=getservercert&salt={}&clientcert={certificate}", to_hex(&salt)));
        let plain = value(&first, "plaincert")?;
        let host = Reader::from_pem(&plain).map_err(|error| format!("no certificate: {error:#}"))?;
        let answer = call(format!("&clientchallenge={}", sealed(&challenge)));
        let mut answer = value(&answer, "challengeresponse")?;
        if answer.len() != 48 {
            return Err("length of challengeresponse".to_owned());
        }
        ecb_decrypt(&key, &mut answer);
        let (host_hash, host_challenge) = answer.split_at(32);
        let hash = sha256(&[host_challenge, &self.identity.signature, &secret]);
        let answer = call(format!("&serverchallengeresp={}", sealed(&hash)));
        let answer = value(&answer, "pairingsecret")?;
        let (host_secret, signature) = answer.split_at_checked(16).ok_or("length of pairingsecret")?;
        if !host.has_signed(host_secret, signature) {
            return Err("the host's signature is wrong".to_owned());
        }
        if sha256(&[&challenge, &host.signature, host_secret]) != *host_hash {
            return Err("the PIN is wrong".to_owned());
        }
        let signature = to_hex(&self.identity.sign(&secret));
        let answer = call(format!("&clientpairingsecret={}{signature}", to_hex(&secret)));
        if !answer.contains("<paired>1</paired>") {
            return Err("the host has rejected us".to_owned());
        }
        assert!(self.secure("pair", "&phrase=pairchallenge").contains("<paired>1</paired>"));
        assert_eq!(self.certificate_of_host(), host.der);
        *self.pinned.lock().unwrap() = host.der;
        Ok(())
    }

    pub fn launch_query(&self, app: u32) -> String {
        format!(
            "&appid={app}&mode={WIDTH}x{HEIGHT}x30&additionalStates=1&sops=0&rikey={}&rikeyid=-123456789\
             &localAudioPlayMode=0&surroundAudioInfo=196610&corever=1",
            to_hex(&random::<16>())
        )
    }

    pub fn act(&self, action: &Value) {
        self.ask("POST", "do", action);
    }

    pub fn change(&self, changes: &Value) {
        self.ask("PATCH", "scenario", changes);
    }

    fn ask(&self, method: &str, path: &str, body: &Value) {
        let mut stream = connect(self.ports.api_port);
        stream.write_all(request(method, path, "", &body.to_string()).as_bytes()).unwrap();
        let answer = String::from_utf8(read_all(&mut stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn request(method: &str, call: &str, query: &str, body: &str) -> String {
    let uuid = to_hex(&random::<16>());
    let length = body.len();
    format!(
        "{method} /{call}?uniqueid=0123456789ABCDEF&uuid={uuid}{query} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// What comes until the answer or the connection ends, in whatever way.
fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    while !is_whole(&bytes) {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    bytes
}

/// As long as the head says.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).take(4096).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| bytes.len() >= end + 4 + length)
}

/// What has been watched.
#[derive(Debug, Default)]
pub struct Seen {
    /// Numbers read from the pictures.
    pub codes: Vec<u32>,
    /// Data packets of video that were recovered.
    pub recovered: usize,
    /// Packets of sound that were.
    pub sound_recovered: usize,
    /// Samples of sound.
    pub opus_samples: usize,
}

/// Shards by index of a block, and how many of them are data.
type Block = (usize, Vec<Option<Vec<u8>>>);

/// A running stream.
pub struct Stream {
    key: Key,
    encryption: u32,
    video: UdpSocket,
    audio: UdpSocket,
    enet: Enet<UdpSocket>,
    ports: [SocketAddr; 2],
    ping: Option<String>,
    sent: u32,
    pinged: Option<Instant>,
    pings: u32,
    connected: bool,
    gone: bool,
    messages: Vec<(u16, Vec<u8>)>,
    blocks: BTreeMap<(u32, u8), Block>,
    next_frame: u32,
    broken: bool,
    decoder: Decoder,
    sound: BTreeMap<u16, Block>,
    sound_done: u16,
    opus: opus::Decoder,
    seen: Seen,
}

/// RTSP with a host that has been launched.
struct Rtsp {
    url: String,
    port: u16,
    key: Option<Key>,
    sequence: u32,
}

impl Rtsp {
    fn new(client: &Client, call: &str, app: u32) -> (Self, Key) {
        let query = client.launch_query(app);
        let key = query.split("rikey=").nth(1).unwrap()[..32].to_owned();
        let key: Key = from_hex(&key).unwrap().try_into().unwrap();
        let answer = client.secure(call, &query);
        let (_, url) = answer.split_once("<sessionUrl0>").unwrap_or_else(|| panic!("{answer}"));
        let url = url.split('<').next().unwrap().to_owned();
        let port = url.rsplit(':').next().unwrap().parse().unwrap();
        (Self { key: url.starts_with("rtspenc").then_some(key), url, port, sequence: 0 }, key)
    }

    fn iv(&self, sender: u8) -> [u8; 16] {
        let mut iv = [0; 16];
        iv[..4].copy_from_slice(&self.sequence.to_le_bytes());
        (iv[10], iv[11]) = (sender, b'R');
        iv
    }

    fn call(&mut self, command: &str, target: &str, headers: &str, body: &str) -> String {
        self.sequence += 1;
        let number = self.sequence;
        let text = format!(
            "{command} {target} RTSP/1.0\r\nCSeq: {number}\r\nX-GS-ClientVersion: 14\r\nHost: 0.0.0.0\r\n{headers}\r\n{body}"
        );
        let mut stream = connect(self.port);
        let Some(key) = self.key else {
            stream.write_all(text.as_bytes()).unwrap();
            return String::from_utf8_lossy(&read_all(&mut stream)).into_owned();
        };
        let gcm = Gcm::short(&key);
        let mut sealed = text.into_bytes();
        let tag = gcm.seal(&self.iv(b'C'), &mut sealed);
        let mut message = (0x8000_0000 | sealed.len() as u32).to_be_bytes().to_vec();
        message.extend(number.to_be_bytes());
        message.extend(tag);
        message.extend(sealed);
        stream.write_all(&message).unwrap();
        let answer = read_all(&mut stream);
        let Some((header, sealed)) = answer.split_at_checked(24) else { return String::new() };
        let length = u32::from_be_bytes(header[..4].try_into().unwrap()) & 0x7fff_ffff;
        let mut text = sealed.to_vec();
        let good = length as usize == sealed.len()
            && gcm.open(&self.iv(b'H'), header[8..].try_into().unwrap(), &mut text);
        if good { String::from_utf8(text).unwrap() } else { "forged".to_owned() }
    }
}

/// A header's value.
fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

impl Stream {
    /// Launches and gives the answer to the first SETUP.
    pub fn set_up(client: &Client, app: u32) -> String {
        let (mut rtsp, _) = Rtsp::new(client, "launch", app);
        let url = rtsp.url.clone();
        rtsp.call("OPTIONS", &url, "", "");
        rtsp.call("SETUP", "streamid=audio/0/0", "", "")
    }

    pub fn launch(client: &Client, app: u32, encryption: u32) -> Self {
        Self::start(client, "launch", app, encryption)
    }

    pub fn resume(client: &Client, encryption: u32) -> Self {
        Self::start(client, "resume", 0, encryption)
    }

    fn start(client: &Client, call: &str, app: u32, encryption: u32) -> Self {
        let (mut rtsp, key) = Rtsp::new(client, call, app);
        let url = rtsp.url.clone();
        assert!(rtsp.call("OPTIONS", &url, "", "").starts_with("RTSP/1.0 200"));
        let sdp = rtsp.call("DESCRIBE", &url, "Accept: application/sdp\r\n", "");
        assert!(sdp.contains("surround-params=21101"), "{sdp}");
        assert_eq!(sdp.contains("x-ss-general.encryptionSupported:7"), encryption != 0);
        let session = "Session: DEADBEEFCAFE\r\n";
        let mut ports = Vec::new();
        let mut ping = None;
        let mut data = 0;
        for (kind, headers) in [("audio/0/0", ""), ("video/0/0", session), ("control/13/0", session)] {
            let headers = format!("{headers}Transport: unicast;X-GS-ClientPort=50000-50001\r\n");
            let answer = rtsp.call("SETUP", &format!("streamid={kind}"), &headers, "");
            assert_eq!(header(&answer, "Session"), Some("DEADBEEFCAFE;timeout = 90"), "{answer}");
            let port = header(&answer, "Transport").unwrap().strip_prefix("server_port=").unwrap();
            ports.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse::<u16>().unwrap())));
            ping = header(&answer, "X-SS-Ping-Payload").map(str::to_owned).or(ping);
            data = header(&answer, "X-SS-Connect-Data").map_or(data, |data| data.parse().unwrap());
        }
        let announce = announcement(encryption);
        let headers =
            format!("{session}Content-type: application/sdp\r\nContent-length: {}\r\n", announce.len());
        let answer = rtsp.call("ANNOUNCE", "streamid=control/13/0", &headers, &announce);
        assert!(answer.starts_with("RTSP/1.0 200"), "{answer}");
        assert!(rtsp.call("PLAY", "/", session, "").starts_with("RTSP/1.0 200"));

        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let mut enet =
            Enet::new(socket(), HostSettings { peer_limit: 1, ..HostSettings::default() }).unwrap();
        enet.connect(ports[2], 48, data).unwrap();
        Self {
            key,
            encryption,
            video: socket(),
            audio: socket(),
            enet,
            ports: [ports[1], ports[0]],
            ping,
            sent: 0,
            pinged: None,
            pings: 0,
            connected: false,
            gone: false,
            messages: Vec::new(),
            blocks: BTreeMap::new(),
            next_frame: 1,
            broken: false,
            decoder: Decoder::new().unwrap(),
            sound: BTreeMap::new(),
            sound_done: 0,
            opus: opus::Decoder::new(48_000, opus::Channels::Stereo).unwrap(),
            seen: Seen::default(),
        }
    }

    /// Goes on until so many pictures have been decoded.
    pub fn watch(&mut self, frames: usize) -> Seen {
        self.seen = Seen::default();
        self.pump(&format!("{frames} frames have come"), |stream| stream.seen.codes.len() >= frames);
        std::mem::take(&mut self.seen)
    }

    /// The payload of the first message of a type.
    pub fn message(&mut self, kind: u16) -> Vec<u8> {
        self.pump("the message has come", |stream| stream.messages.iter().any(|(has, _)| *has == kind));
        self.messages.iter().find(|(has, _)| *has == kind).unwrap().1.clone()
    }

    /// Goes on until the host has disconnected.
    pub fn disconnected(&mut self) {
        self.pump("ENet is disconnected", |stream| stream.gone);
    }

    pub fn request_keyframe(&mut self) {
        self.send(1, 0x0302, &[0, 0]);
        self.enet.flush();
    }

    pub fn input(&mut self, channel: u8, payload: &[u8]) {
        self.send(channel, 0x0206, payload);
        self.enet.flush();
    }

    fn pump(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}; {:?}", self.seen);
            self.step();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn step(&mut self) {
        if self.pinged.is_none_or(|at| at.elapsed() > Duration::from_millis(100)) {
            self.pinged = Some(Instant::now());
            self.pings += 1;
            let ping = match &self.ping {
                Some(payload) => [payload.as_bytes(), &self.pings.to_be_bytes()].concat(),
                None => b"PING".to_vec(),
            };
            self.video.send_to(&ping, self.ports[0]).unwrap();
            self.audio.send_to(&ping, self.ports[1]).unwrap();
            if self.connected {
                self.send(0, 0x0200, &[4, 0, 0, 0, 0, 0, 0, 0]);
            }
        }
        let mut joined = false;
        let mut packets = Vec::new();
        while let Some(event) = self.enet.service().unwrap() {
            match event {
                Event::Connect { .. } => joined = true,
                Event::Disconnect { .. } => self.gone = true,
                Event::Receive { packet, .. } => packets.push(packet),
            }
        }
        for packet in &packets {
            self.receive_control(packet.data());
        }
        if joined {
            self.connected = true;
            self.send(0, 0x0302, &[0, 0]);
            self.send(0, 0x0307, &[0]);
        }
        let mut buffer = [0; 4096];
        while let Ok(length) = self.video.recv(&mut buffer) {
            self.receive_video(&buffer[..length]);
        }
        while let Ok(length) = self.audio.recv(&mut buffer) {
            self.receive_sound(&buffer[..length]);
        }
    }

    fn control_cipher(&self, sequence: u32, sender: u8) -> (Gcm, [u8; 16]) {
        let mut iv = [0; 16];
        if self.encryption & 1 == 0 {
            iv[0] = sequence as u8;
            return (Gcm::long(&self.key), iv);
        }
        iv[..4].copy_from_slice(&sequence.to_le_bytes());
        (iv[10], iv[11]) = (sender, b'C');
        (Gcm::short(&self.key), iv)
    }

    fn send(&mut self, channel: u8, kind: u16, payload: &[u8]) {
        let mut plain = kind.to_le_bytes().to_vec();
        plain.extend((payload.len() as u16).to_le_bytes());
        plain.extend_from_slice(payload);
        let (gcm, iv) = self.control_cipher(self.sent, b'C');
        let tag = gcm.seal(&iv, &mut plain);
        let mut message = vec![1, 0];
        message.extend((20 + plain.len() as u16).to_le_bytes());
        message.extend(self.sent.to_le_bytes());
        message.extend(tag);
        message.extend(plain);
        self.sent += 1;
        let peer = self.enet.peer_mut(rusty_enet::PeerID(0));
        let _ = peer.send(channel, &Packet::reliable(message.as_slice()));
    }

    fn receive_control(&mut self, message: &[u8]) {
        let sequence = u32::from_le_bytes(message[4..8].try_into().unwrap());
        let (gcm, iv) = self.control_cipher(sequence, b'H');
        let mut plain = message[24..].to_vec();
        assert!(
            gcm.open(&iv, message[8..24].try_into().unwrap(), &mut plain),
            "message {sequence} is forged"
        );
        self.messages.push((u16::from_le_bytes([plain[0], plain[1]]), plain[4..].to_vec()));
    }

    fn receive_video(&mut self, datagram: &[u8]) {
        let mut packet = datagram.to_vec();
        if self.encryption & 2 != 0 {
            let mut iv = [0; 16];
            iv[..12].copy_from_slice(&datagram[..12]);
            packet = datagram[32..].to_vec();
            let tag = datagram[16..32].try_into().unwrap();
            assert!(Gcm::short(&self.key).open(&iv, tag, &mut packet), "video is forged");
        }
        assert_eq!(packet.len(), 1392 + 16);
        let number = |at: usize| u32::from_le_bytes(packet[at..at + 4].try_into().unwrap());
        let frame = number(20);
        let info = number(28);
        let block = packet[27];
        let percent = (info >> 4 & 0xff) as usize;
        let index = (info >> 12 & 0x3ff) as usize;
        let data = (info >> 22) as usize;
        if frame < self.next_frame {
            return;
        }
        let parity = (data * percent).div_ceil(100);
        let (_, shards) = self.blocks.entry((frame, block)).or_insert((data, vec![None; data + parity]));
        shards[index] = Some(packet);
        self.finish_frames();
    }

    /// Decodes the frames that are complete, in order; gives up those that newer ones have overtaken.
    fn finish_frames(&mut self) {
        while let Some((newest, _)) = self.blocks.keys().next_back().copied() {
            let frame = self.next_frame;
            match self.assemble(frame) {
                Some(bytes) => self.decode(&bytes),
                None if newest > frame + 2 => {
                    self.broken = true;
                    self.request_keyframe();
                }
                None => return,
            }
            self.next_frame += 1;
            self.blocks.retain(|(kept, _), _| *kept > frame);
        }
    }

    fn assemble(&mut self, frame: u32) -> Option<Vec<u8>> {
        let last = self.blocks.range((frame, 0)..(frame + 1, 0)).next()?.0.1 >> 6;
        let keys: Vec<_> = (0..=last).map(|block| (frame, block << 4 | last << 6)).collect();
        let mut bytes = Vec::new();
        for key in keys {
            let (data, shards) = self.blocks.get_mut(&key)?;
            let (data, parity) = (*data, shards.len() - *data);
            let missing = shards[..data].iter().filter(|shard| shard.is_none()).count();
            if !fec::recover(shards, data, |j| fec::video_row(data, parity, j)) {
                return None;
            }
            self.seen.recovered += missing;
            for (i, shard) in shards[..data].iter().enumerate() {
                let shard = shard.as_ref().unwrap();
                let flags = 1 | if i == 0 { 4 } else { 0 } | if i + 1 == data { 2 } else { 0 };
                assert_eq!(shard[24], flags, "shard {i} of {data}");
                bytes.extend_from_slice(&shard[32..]);
            }
        }
        let payload = 1392 - 16;
        let last_length = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
        bytes.truncate(bytes.len() - payload + last_length);
        Some(bytes)
    }

    fn decode(&mut self, frame: &[u8]) {
        assert_eq!(frame[0], 1);
        self.broken &= frame[3] != 2;
        if self.broken {
            return;
        }
        let picture = self.decoder.decode(&frame[8..]).unwrap().expect("a picture per frame");
        let stride = picture.strides().0;
        let grid = Grid::new(WIDTH as u32, HEIGHT as u32).unwrap();
        let code =
            grid.read(|x, y| picture.y()[y as usize * stride + x as usize]).expect("the code is whole");
        self.seen.codes.push(code.frame);
    }

    fn receive_sound(&mut self, packet: &[u8]) {
        let number = u16::from_be_bytes([packet[2], packet[3]]);
        let (base, index, payload) = match packet[1] {
            97 => (number / 4 * 4, usize::from(number % 4), &packet[12..]),
            127 => {
                assert_eq!(packet[13], 97);
                (u16::from_be_bytes([packet[14], packet[15]]), 4 + usize::from(packet[12]), &packet[24..])
            }
            other => panic!("payload type {other}"),
        };
        if base < self.sound_done {
            return;
        }
        let (_, shards) = self.sound.entry(base).or_insert((4, vec![None; 6]));
        shards[index] = Some(payload.to_vec());
        let missing = shards[..4].iter().filter(|shard| shard.is_none()).count();
        let whole = shards.iter().flatten().count() >= 4;
        if !whole || !fec::recover(shards, 4, fec::audio_row) {
            return;
        }
        let (_, shards) = self.sound.remove(&base).unwrap();
        self.sound_done = base + 4;
        self.seen.sound_recovered += missing;
        for (n, shard) in (base..).zip(shards.into_iter().take(4)) {
            let packet = self.open_sound(n, shard.unwrap());
            let mut samples = vec![0.0; 2 * 960];
            self.seen.opus_samples += self.opus.decode_float(&packet, &mut samples, false).unwrap();
        }
    }

    fn open_sound(&self, sequence: u16, mut payload: Vec<u8>) -> Vec<u8> {
        if self.encryption & 4 == 0 {
            return payload;
        }
        // CBC by hand, as it is one block after the other.
        let mut previous = [0; 16];
        let seed = (-123_456_789_i32).cast_unsigned().wrapping_add(sequence.into());
        previous[..4].copy_from_slice(&seed.to_be_bytes());
        for block in payload.chunks_exact_mut(16) {
            let sealed: [u8; 16] = (&*block).try_into().unwrap();
            ecb_decrypt(&self.key, block);
            for (byte, before) in block.iter_mut().zip(previous) {
                *byte ^= before;
            }
            previous = sealed;
        }
        let padding = usize::from(*payload.last().unwrap());
        payload.truncate(payload.len() - padding);
        payload
    }
}

fn announcement(encryption: u32) -> String {
    let attributes = [
        ("x-ml-general.featureFlags", 3),
        ("x-ss-general.encryptionEnabled", encryption),
        ("x-nv-video[0].clientViewportWd", WIDTH as u32),
        ("x-nv-video[0].clientViewportHt", HEIGHT as u32),
        ("x-nv-video[0].maxFPS", 30),
        ("x-nv-video[0].packetSize", 1392),
        ("x-nv-vqos[0].bw.maximumBitrateKbps", 1600),
        ("x-ml-video.configuredBitrateKbps", 2000),
        ("x-nv-vqos[0].fec.minRequiredFecPackets", 2),
        ("x-nv-general.useReliableUdp", 13),
        ("x-nv-video[0].videoEncoderSlicesPerFrame", 1),
        ("x-nv-vqos[0].bitStreamFormat", 0),
        ("x-nv-video[0].maxNumReferenceFrames", 1),
        ("x-nv-audio.surround.numChannels", 2),
        ("x-nv-audio.surround.channelMask", 3),
        ("x-nv-audio.surround.AudioQuality", 0),
        ("x-nv-aqos.packetDuration", 10),
    ];
    let lines: String = attributes.iter().map(|(name, value)| format!("a={name}:{value} \r\n")).collect();
    format!(
        "v=0\r\no=android 0 14 IN IPv4 0.0.0.0\r\ns=NVIDIA Streaming Client\r\n{lines}t=0 0\r\nm=video 47998  \r\n"
    )
}

/// Whoever it is: the tests compare the certificate themselves.
#[derive(Debug)]
struct AnyHost(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
