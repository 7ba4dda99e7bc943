//! Many at once: streamers, slow clients, peers. Short here; `ORIEL_SOAK=1` (scripts/soak) makes them as many as the server is
//! made for.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::api::StreamerList;
use common::signal::{Role, StreamerState};
use harness::{Server, eventually};
use native_peer::{Event, Media, Options, Swarm};
use serde_json::{Value, json};

/// Requests under way at once.
const CLIENTS: usize = 8;
const MIB: u64 = 1024 * 1024;

fn many(short: usize, full: usize) -> usize {
    if std::env::var_os("ORIEL_SOAK").is_some() { full } else { short }
}

fn tiny() -> Value {
    json!({ "type": "test", "width": 64, "height": 36, "fps": 1, "audio": false })
}

fn ids(server: &Server) -> BTreeSet<String> {
    let list: StreamerList = server.get("/api/streamers").expect(200).json();
    list.streamers.iter().map(|streamer| streamer.id.to_string()).collect()
}

/// Calls `work` with each number below `count`, a few at a time.
fn concurrently(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        number if number < count => work(number),
                        _ => break,
                    }
                }
            });
        }
    });
}

#[test]
fn streamers_that_come_and_go_in_crowds_are_neither_lost_nor_doubled() {
    let count = many(24, 200);
    let server = Server::start_configured("max_streamers: 1000");
    let path = |number: usize| format!("/api/streamers/s{number}");
    let begin = Instant::now();
    concurrently(count, |number| {
        let body = json!({ "id": format!("s{number}"), "source": tiny() });
        // Twice: the second finds the first.
        let statuses = [0, 1].map(|_| server.post("/api/streamers", &body).status);
        assert_eq!(statuses, [201, 200]);
    });
    let expected: BTreeSet<_> = (0..count).map(|number| format!("s{number}")).collect();
    assert_eq!(ids(&server), expected);
    for number in 0..count {
        let id = format!("s{number}");
        let deadline = Instant::now() + Duration::from_secs(120);
        while server.streamer(&id).unwrap().state != StreamerState::Running {
            assert!(Instant::now() < deadline, "{id} does not run");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let created = begin.elapsed();
    let sessions = server.session_processes().into_iter();
    let sessions = sessions.filter(|process| process.command_line.starts_with("streamer session")).count();
    assert_eq!(sessions, count, "one process each");
    let resident = server.process().resident_bytes();

    let begin = Instant::now();
    concurrently(count, |number| drop(server.delete(&path(number)).expect(204)));
    println!(
        "{count} streamers: running after {created:?}, gone after {:?}; web-server {} MiB",
        begin.elapsed(),
        resident / MIB
    );
    assert_eq!(ids(&server), BTreeSet::new());
    assert_eq!(server.session_processes(), []);
    assert_eq!(server.run_dirs(), Vec::<std::path::PathBuf>::new());
    assert!(resident < 256 * MIB, "the web-server has {resident} bytes");
}

#[test]
fn clients_that_send_next_to_nothing_keep_nobody_out() {
    let count = many(300, 1000);
    let server = Server::start();
    server.create("demo", tiny());
    let before = server.process().resident_bytes();
    let mut slow: Vec<_> = (0..count)
        .map(|number| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            let start: &[u8] = match number % 3 {
                0 => b"GET /api/streamers HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
                1 => b"POST /api/streamers HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{",
                _ => b"",
            };
            stream.write_all(start).unwrap();
            stream
        })
        .collect();
    let begin = Instant::now();
    let mut longest = Duration::ZERO;
    for round in 0..50 {
        // A byte from each, now and then.
        if round % 10 == 0 {
            slow.iter_mut().for_each(|stream| drop(stream.write_all(b"a")));
        }
        let asked = Instant::now();
        server.get("/api/streamers").expect(200);
        longest = longest.max(asked.elapsed());
    }
    let grown = server.process().resident_bytes().saturating_sub(before);
    println!("{count} slow clients: longest answer to others {longest:?}, {} MiB more", grown / MIB);
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert!(grown < 64 * MIB, "{grown} bytes for {count} slow clients");
    // None of them is kept for ever.
    for stream in &mut slow {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut end = Vec::new();
        // Closed, with or without a last word.
        let closed = match stream.read_to_end(&mut end) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(closed, "a slow client is still there after {:?}", begin.elapsed());
    }
}

#[test]
fn a_crowd_of_peers_watches_one_streamer_and_is_listed() {
    let count = many(40, 200);
    let server = Server::start();
    server.create("demo", json!({ "type": "test", "width": 64, "height": 36, "fps": 5, "audio": false }));
    let options = Options {
        server: server.address(),
        streamer: "demo".into(),
        role: Role::Viewer,
        media: Media::Headers,
    };
    let mut swarm = Swarm::new(options).unwrap();
    let (mut connected, mut receiving) = (BTreeSet::new(), BTreeSet::new());
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut joined = 0;
    while receiving.len() < count {
        assert!(
            Instant::now() < deadline,
            "{} of {count} connected, {} receive",
            connected.len(),
            receiving.len()
        );
        if joined < count && joined - connected.len() < 16 {
            swarm.join().unwrap();
            joined += 1;
        }
        match swarm.next(Instant::now() + Duration::from_millis(20)).unwrap() {
            Some((peer, Event::Connected)) => drop(connected.insert(peer)),
            Some((peer, Event::Rtp(_))) => drop(receiving.insert(peer)),
            Some((peer, Event::Closed(why))) => panic!("peer {peer} was closed: {why}"),
            _ => {}
        }
    }
    assert_eq!(server.streamer("demo").unwrap().peers.len(), count);
    drop(swarm);
    eventually("all of them have left or are lost", || {
        let peers = server.streamer("demo")?.peers;
        peers.iter().all(|peer| peer.state != common::api::PeerState::Connected).then_some(())
    });
}

/// Asks for snapshots from many threads at once; what the answers were.
fn snapshots(server: &Server, authorization: Option<&str>, query: &str) -> Vec<u16> {
    const THREADS: usize = 40;
    let path = format!("/api/streamers/demo/snapshot{query}");
    let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
    let ask = || server.send_with("GET", &path, &headers, b"").status;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| [(); 3].map(|()| ask()))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn snapshots_asked_for_in_crowds_are_shared_and_bounded_and_take_no_frames_from_viewers() {
    let server = Server::start_configured("limits: {requests_per_second: 100000}");
    let source = json!({ "type": "test", "width": 1920, "height": 1080, "fps": 15, "audio": false });
    server.create("demo", source);
    let token: common::api::Token =
        server.post("/api/streamers/demo/tokens", &json!({ "role": "viewer" })).expect(201).json();
    let bearer = format!("Bearer {}", token.token);
    let options = Options {
        server: server.address(),
        streamer: "demo".into(),
        role: Role::Viewer,
        media: Media::Headers,
    };
    let (frames, over) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut swarm = Swarm::new(options).unwrap();
            swarm.join().unwrap();
            while over.load(Ordering::Relaxed) == 0 {
                if let Some((_, Event::Rtp(packet))) =
                    swarm.next(Instant::now() + Duration::from_millis(20)).unwrap()
                {
                    frames.fetch_add(usize::from(packet.marker), Ordering::Relaxed);
                }
            }
        });
        // Whatever fails here, the viewer must end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("the viewer watches", || (frames.load(Ordering::Relaxed) > 15).then_some(()));
            let rate = |work: &mut dyn FnMut()| {
                let (begin, before) = (Instant::now(), frames.load(Ordering::Relaxed));
                while begin.elapsed() < Duration::from_secs(3) {
                    work();
                }
                (frames.load(Ordering::Relaxed) - before) as f64 / begin.elapsed().as_secs_f64()
            };
            let calm = rate(&mut || std::thread::sleep(Duration::from_millis(20)));
            let (mut statuses, mut peak) = (Vec::new(), 0);
            let crowded = rate(&mut || {
                statuses.extend(snapshots(&server, Some(&bearer), ""));
                assert!(snapshots(&server, None, "?format=jpeg").iter().all(|status| *status == 200));
                let processes = server.session_processes().into_iter();
                peak = peak.max(processes.map(|process| process.resident_bytes()).max().unwrap_or(0));
            });
            // A token has some made at a time; those of whoever may do everything share pictures.
            assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
            assert!([200, 429].iter().all(|status| statuses.contains(status)), "{statuses:?}");
            assert!(crowded > 0.6 * calm, "{crowded:.1} pictures a second, of {calm:.1}");
            assert!(peak < 200 * MIB, "{} MiB", peak / MIB);
        }));
        over.store(1, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// An offer with as much in it as is taken: payload types and attributes by the thousand, in sections for video.
fn largest_offer() -> String {
    use common::sdp::{Bounded, MAX_PAYLOAD_TYPES};
    const SECTIONS: usize = 20;
    // All but those that RTCP would be taken for (RFC 5761 §4), as far as they reach.
    let types: Vec<usize> = (0..64).chain(96..128).take(MAX_PAYLOAD_TYPES).collect();
    let list = types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let fingerprint = vec!["AB"; 32].join(":");
    let mids = (0..SECTIONS).map(|mid| mid.to_string()).collect::<Vec<_>>().join(" ");
    let mut sdp = format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\n");
    for mid in 0..SECTIONS {
        sdp += &format!(
            "m=video 9 UDP/TLS/RTP/SAVPF {list}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
             a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n\
             a=mid:{mid}\r\na=recvonly\r\na=rtcp-mux\r\n"
        );
        for (n, pt) in types.iter().enumerate() {
            let profile = ["42e01f", "4d001f", "64001f", "640c1f"][n % 4];
            sdp += &format!(
                "a=rtpmap:{pt} H264/90000\r\na=fmtp:{pt} packetization-mode={};profile-level-id={profile}\r\n\
                 a=rtcp-fb:{pt} nack\r\na=rtcp-fb:{pt} nack pli\r\n",
                n % 2
            );
        }
    }
    assert!(Bounded::check(sdp.clone()).is_ok(), "it is within the bounds");
    sdp
}

#[test]
fn joins_at_the_bounds_stall_no_watcher() {
    const JOINS: usize = 50;
    let server = Server::start_configured("limits: {joins_per_minute: 100000, requests_per_second: 100000}");
    server.create("demo", json!({ "type": "test", "width": 320, "height": 180, "fps": 30, "audio": false }));
    let options = Options {
        server: server.address(),
        streamer: "demo".into(),
        role: Role::Viewer,
        media: Media::Headers,
    };
    let over = AtomicUsize::new(0);
    let offer = largest_offer();
    let longest = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut swarm = Swarm::new(options).unwrap();
            swarm.join().unwrap();
            let (mut last, mut longest, mut joins) = (None::<Instant>, Duration::ZERO, false);
            while over.load(Ordering::Relaxed) < 2 {
                let event = swarm.next(Instant::now() + Duration::from_millis(20)).unwrap();
                let Some((_, Event::Rtp(packet))) = event else { continue };
                if !packet.marker {
                    continue;
                }
                let now = Instant::now();
                if joins {
                    longest = longest.max(last.map_or(Duration::ZERO, |last| now - last));
                } else if last.is_some() {
                    over.fetch_max(1, Ordering::Relaxed);
                    joins = true;
                }
                last = Some(now);
            }
            longest
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("the watcher watches", || (over.load(Ordering::Relaxed) == 1).then_some(()));
            concurrently(JOINS, |_| {
                let path = "/api/streamers/demo/whep";
                let answer = server.send("POST", path, "application/sdp", offer.as_bytes());
                assert!(answer.status < 500, "{answer:?}");
            });
        }));
        over.store(2, Ordering::Relaxed);
        let longest = watcher.join().unwrap();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        longest
    });
    println!("longest gap at the watcher while {JOINS} peers join at the bounds: {longest:?}");
    // What is larger is refused, as it would take seconds each. One join at the bounds still takes some pictures' time of the thread
    // that serves the watcher, which does one between two pictures.
    assert!(longest < Duration::from_millis(1000), "{longest:?}");
}
