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
use native_peer::{Event, Media, Options, Swarm, Watcher, largest_offer};
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
    let mut answers = Vec::new();
    for round in 0..50 {
        // A byte from each, now and then.
        if round % 10 == 0 {
            for stream in &mut slow {
                drop(stream.write_all(b"a"));
            }
        }
        let asked = Instant::now();
        server.get("/api/streamers").expect(200);
        answers.push(asked.elapsed());
    }
    // All would be late, not only those in which the machine stands still.
    answers.sort();
    let usual = answers[answers.len() / 2];
    let grown = server.process().resident_bytes().saturating_sub(before);
    println!("{count} slow clients: answers to others after {usual:?}, {} MiB more", grown / MIB);
    assert!(usual < Duration::from_secs(2), "{answers:?}");
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
    let mut connected = BTreeSet::new();
    let mut receiving = BTreeSet::new();
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
    let frames = AtomicUsize::new(0);
    let over = AtomicUsize::new(0);
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
                let begin = Instant::now();
                let before = frames.load(Ordering::Relaxed);
                while begin.elapsed() < Duration::from_secs(1) {
                    work();
                }
                (frames.load(Ordering::Relaxed) - before) as f64 / begin.elapsed().as_secs_f64()
            };
            let mut statuses = Vec::new();
            let mut peak = 0;
            let mut shared = false;
            // In turns: what else the machine does hits both alike.
            let mut rates = [Vec::new(), Vec::new()];
            for _ in 0..5 {
                rates[0].push(rate(&mut || std::thread::sleep(Duration::from_millis(20))));
                rates[1].push(rate(&mut || {
                    statuses.extend(snapshots(&server, Some(&bearer), ""));
                    let of_admin = snapshots(&server, None, "?format=jpeg");
                    // A machine that is busy with others makes some wait for too long.
                    assert!(of_admin.iter().all(|status| [200, 504].contains(status)), "{of_admin:?}");
                    shared |= of_admin.contains(&200);
                    let processes = server.session_processes().into_iter();
                    peak = peak.max(processes.map(|process| process.resident_bytes()).max().unwrap_or(0));
                }));
            }
            let [calm, crowded] = rates.map(|mut rates| {
                rates.sort_by(f64::total_cmp);
                rates[rates.len() / 2]
            });
            // A token has some made at a time; those of whoever may do everything share pictures.
            assert!(shared);
            assert!(statuses.iter().all(|status| [200, 429, 504].contains(status)), "{statuses:?}");
            assert!([200, 429].iter().all(|status| statuses.contains(status)), "{statuses:?}");
            assert!(crowded > 0.6 * calm, "{crowded:.1} pictures a second, of {calm:.1}");
            assert!(peak < 200 * MIB, "{} MiB", peak / MIB);
        }));
        over.store(1, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Offers to receive, with as much in it as is taken.
fn join_at_the_bounds(server: &Server, offer: &str) -> u16 {
    server.send("POST", "/api/streamers/demo/whep", "application/sdp", offer.as_bytes()).status
}

#[test]
fn joins_at_the_bounds_cost_a_watcher_no_frame() {
    const JOINS: usize = 50;
    const INTERVAL: Duration = Duration::from_millis(33);
    let server = Server::start_configured("limits: {joins_per_minute: 100000, requests_per_second: 100000}");
    server.create("demo", json!({ "type": "test", "width": 320, "height": 180, "fps": 30, "audio": false }));
    let options = Options {
        server: server.address(),
        streamer: "demo".into(),
        role: Role::Viewer,
        media: Media::Headers,
    };
    let watcher = Watcher::start(options).unwrap();
    let offer = largest_offer();
    let late = |gaps: &[Duration]| gaps.iter().filter(|gap| **gap > 2 * INTERVAL).count();
    let calm = watcher.gaps(|| std::thread::sleep(Duration::from_secs(2))).unwrap();
    let begin = Instant::now();
    let crowded = watcher
        .gaps(|| {
            concurrently(JOINS, |_| {
                let status = join_at_the_bounds(&server, &offer);
                // On a busy machine some are answered too late, and have cost the same.
                assert!([201, 504].contains(&status), "{status}");
            })
        })
        .unwrap();
    println!("{JOINS} joins at the bounds in {:?}", begin.elapsed());
    for (when, gaps) in [("before", &calm), ("meanwhile", &crowded)] {
        let longest: Vec<_> = gaps.iter().take(8).collect();
        println!("{when}: {} of {} pictures late, {longest:?}", late(gaps), gaps.len());
    }
    // One picture in each join, and for long, if it were the watcher's thread that negotiates. What is left is for other
    // programs on the machine, which may stop any of them: the longest few gaps are not looked at.
    assert!(late(&crowded) <= late(&calm) + JOINS / 3, "{crowded:?}");
    let long = crowded.get(JOINS / 10).copied().unwrap_or_default();
    assert!(long < calm[0] + 6 * INTERVAL, "{crowded:?}, and {calm:?} while nobody joins");
}

#[test]
fn peers_whose_joins_wait_can_be_removed() {
    const JOINS: usize = 20;
    let server = Server::start_configured("limits: {joins_per_minute: 100000, requests_per_second: 100000}");
    server.create("demo", tiny());
    let offer = largest_offer();
    let peers = || server.get("/api/streamers/demo/peers").expect(200).json::<Value>()["peers"].clone();
    let remove_all = || {
        let peers = peers();
        for peer in peers.as_array().unwrap() {
            server.delete(&format!("/api/streamers/demo/peers/{}", peer["id"].as_str().unwrap()));
        }
        peers.as_array().unwrap().is_empty()
    };
    // Who is removed while its offer waits is told so. All may have been answered before anybody is removed.
    eventually("somebody is removed while its offer waits", || {
        let statuses: Vec<_> = std::thread::scope(|scope| {
            let join = || join_at_the_bounds(&server, &offer);
            let joins: Vec<_> = (0..JOINS).map(|_| scope.spawn(join)).collect();
            while joins.iter().any(|join| !join.is_finished()) {
                remove_all();
            }
            joins.into_iter().map(|join| join.join().unwrap()).collect()
        });
        assert!(statuses.iter().all(|status| [201, 500, 504].contains(status)), "{statuses:?}");
        statuses.contains(&500).then_some(())
    });
    eventually("everybody is gone", || remove_all().then_some(()));
    // The session goes on, and takes who comes next.
    assert_eq!(join_at_the_bounds(&server, &offer), 201);
}
