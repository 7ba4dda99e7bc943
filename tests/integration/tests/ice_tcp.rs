//! Media over TCP (RFC 6544, RFC 4571), by a client made for it: a player whose every packet goes through one TCP connection.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::{Server, eventually};
use native_peer::{Media, Player, Stack};
use serde_json::{Value, json};

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that takes media connections on a port of its own.
fn server() -> (Server, SocketAddr) {
    // Free now, and nobody else is told of it.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let server = Server::start_with(&[("ORIEL_WEBRTC_TCP_PORT", &address.port().to_string())]);
    server.create("demo", json!({"type": "test", "width": 160, "height": 96, "fps": 30}));
    (server, address)
}

/// Stands between a player, which knows UDP alone, and the server, which is reached by TCP alone.
struct Bridge {
    /// For the player.
    udp: UdpSocket,
    server: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    player: Mutex<Option<SocketAddr>>,
    connection: Mutex<Connection>,
    /// As long as it is held, nothing is read from the server.
    reading: Mutex<()>,
}

struct Connection {
    stream: TcpStream,
    /// Its first packet has been sent, which is a binding request.
    opened: bool,
}

impl Bridge {
    fn to(server: SocketAddr) -> Self {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(server).unwrap();
        let connection = Mutex::new(Connection { stream, opened: false });
        let shared = Arc::new(Shared { player: Mutex::default(), connection, reading: Mutex::default() });
        let from_player = udp.try_clone().unwrap();
        let weak = Arc::downgrade(&shared);
        from_player.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        // It ends with the bridge.
        std::thread::spawn(move || {
            let mut packet = [0; 2048];
            while let Some(shared) = weak.upgrade() {
                if let Ok((len, from)) = from_player.recv_from(&mut packet) {
                    shared.player.lock().unwrap().replace(from);
                    shared.send(&packet[..len]);
                }
            }
        });
        let bridge = Self { udp, server, shared };
        bridge.read();
        bridge
    }

    /// As a network does that forgets connections, and a browser that makes another one.
    fn reconnect(&self) {
        let mut connection = self.shared.connection.lock().unwrap();
        connection.stream.shutdown(Shutdown::Both).unwrap();
        *connection = Connection { stream: TcpStream::connect(self.server).unwrap(), opened: false };
        drop(connection);
        self.read();
    }

    /// Passes on what the server sends, until the connection ends.
    fn read(&self) {
        let mut stream = self.shared.connection.lock().unwrap().stream.try_clone().unwrap();
        let to_player = self.udp.try_clone().unwrap();
        let weak = Arc::downgrade(&self.shared);
        std::thread::spawn(move || {
            while let Some(packet) = packet(&mut stream) {
                let Some(shared) = weak.upgrade() else { break };
                drop(shared.reading.lock().unwrap());
                if let Some(player) = *shared.player.lock().unwrap() {
                    // As lossy as the network.
                    let _ = to_player.send_to(&packet, player);
                }
            }
        });
    }

    /// The description with this bridge as the only candidate.
    fn through(&self, sdp: &str) -> String {
        let port = self.udp.local_addr().unwrap().port();
        let mut candidate = Some(format!("a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host\r\n"));
        let lines = sdp.split_inclusive('\n').map(|line| match line.strip_prefix("a=candidate:") {
            Some(_) => candidate.take().unwrap_or_default(),
            None => line.to_owned(),
        });
        lines.collect()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.shared.connection.lock().unwrap().stream.shutdown(Shutdown::Both);
    }
}

impl Shared {
    fn send(&self, packet: &[u8]) {
        let mut connection = self.connection.lock().unwrap();
        connection.opened |= packet.starts_with(&[0, 1]);
        if connection.opened {
            let framed = [&(packet.len() as u16).to_be_bytes()[..], packet].concat();
            // What a broken connection does not take is lost.
            let _ = connection.stream.write_all(&framed);
        }
    }
}

/// The next packet; `None` when the connection has ended.
fn packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut header = [0; 2];
    stream.read_exact(&mut header).ok()?;
    let mut packet = vec![0; usize::from(u16::from_be_bytes(header))];
    stream.read_exact(&mut packet).ok()?;
    Some(packet)
}

/// A player of `demo`, and what answered it.
fn join(server: &Server) -> (Player, String) {
    let player = Player::new(Stack::Rtc, Media::Units).unwrap();
    let offer = player.offer().as_bytes().to_vec();
    let created = server.send("POST", "/api/streamers/demo/whep", "application/sdp", &offer).expect(201);
    (player, String::from_utf8(created.body).unwrap())
}

fn join_by_tcp(server: &Server, address: SocketAddr) -> (Player, Bridge) {
    let (mut player, answer) = join(server);
    let bridge = Bridge::to(address);
    player.answered(&bridge.through(&answer)).unwrap();
    (player, bridge)
}

#[track_caller]
fn receives(player: &mut Player, what: &str) {
    assert!(player.receives(30, Instant::now() + PATIENCE), "no pictures: {what}");
}

/// What carries the media of each peer.
fn transports(server: &Server) -> Vec<String> {
    let streamer: Value = server.get("/api/streamers/demo").expect(200).json();
    let transport = |peer: &Value| peer["stats"]["transport"].as_str().unwrap_or_default().to_owned();
    streamer["peers"].as_array().unwrap().iter().map(transport).collect()
}

fn connections(server: &Server, result: &str) -> u64 {
    let metrics = String::from_utf8(server.get("/metrics").expect(200).body).unwrap();
    let name = format!("oriel_tcp_connections_total{{result=\"{result}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.expect("the counter").parse().unwrap()
}

#[test]
fn where_udp_is_blocked_pictures_come_by_tcp_and_outlive_the_web_server() {
    let (mut server, address) = server();
    let (mut player, _bridge) = join_by_tcp(&server, address);
    receives(&mut player, "by TCP");
    eventually("the API says which way", || (transports(&server) == ["tcp"]).then_some(()));
    assert_eq!(connections(&server, "handed_over"), 1);

    server.kill();
    receives(&mut player, "without a web-server");
    server.start_again();
    receives(&mut player, "with another web-server");
    // The port is free for it although the connection still has it, and it knows whose peers there are.
    let (mut second, _other_bridge) = join_by_tcp(&server, address);
    receives(&mut second, "by the other web-server");
    receives(&mut player, "beside another");
}

#[test]
fn a_connection_that_breaks_is_replaced_by_another_one() {
    let (mut server, address) = server();
    let (mut player, bridge) = join_by_tcp(&server, address);
    receives(&mut player, "by TCP");
    // Also by a web-server that has never heard of the peer.
    server.kill();
    server.start_again();
    bridge.reconnect();
    receives(&mut player, "by another connection");
}

#[test]
fn a_peer_that_does_not_read_costs_others_nothing() {
    let (server, address) = server();
    let (mut stuck, bridge) = join_by_tcp(&server, address);
    receives(&mut stuck, "by TCP");
    let (mut other, answer) = join(&server);
    other.answered(&answer).unwrap();
    receives(&mut other, "by UDP");
    assert_eq!(transports(&server).len(), 2);
    let shut = bridge.shared.reading.lock().unwrap();
    // Three seconds of pictures. On a busy machine they take longer, but not as long as ICE takes for the loss of a peer, until which the
    // other would wait.
    assert!(other.receives(90, Instant::now() + Duration::from_secs(20)), "it waits for the other");
    drop(shut);
    receives(&mut stuck, "when it reads again");
}

#[test]
fn what_is_not_from_a_peer_is_closed_and_counted() {
    let (server, address) = server();
    let closed_after = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let read = stream.read(&mut [0; 1]);
        assert!(matches!(read, Ok(0)) || read.is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock));
    };
    closed_after(b"GET / HTTP/1.1\r\n\r\n");
    closed_after(&[0, 20, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    eventually("they are counted", || (connections(&server, "not_ice") == 2).then_some(()));
    closed_after(&[0]);
    eventually("it is counted", || (connections(&server, "silent") == 1).then_some(()));
    let mut request = vec![0, 32, 0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    request.extend(*b"\x00\x06\x00\x05us:it\0\0\0");
    closed_after(&request);
    eventually("it is counted", || (connections(&server, "unknown") == 1).then_some(()));
}

#[test]
fn candidates_of_tcp_are_offered_after_those_of_udp_and_only_where_there_is_a_port() {
    let (server, address) = server();
    let (_, answer) = join(&server);
    let candidates: Vec<_> = answer.lines().filter(|line| line.starts_with("a=candidate:")).collect();
    let priority = |transport: &str| {
        let of = candidates.iter().find(|line| line.contains(&format!(" {transport} "))).unwrap();
        of.split(' ').nth(3).unwrap().parse::<u32>().unwrap()
    };
    assert!(priority("udp") > priority("tcp"), "{candidates:?}");
    let end = format!("127.0.0.1 {} typ host tcptype passive", address.port());
    assert!(candidates.iter().any(|line| line.trim_end().ends_with(&end)), "{candidates:?}");

    let server = Server::start();
    server.create("demo", json!({"type": "test", "width": 160, "height": 96, "fps": 30}));
    let (_, answer) = join(&server);
    assert!(!answer.contains("tcptype"), "{answer}");
}
