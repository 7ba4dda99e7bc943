//! A streamer's socket, spoken to by somebody who has the token and does not keep to the rules.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use common::clipboard::Wanted;
use common::id::RequestId;
use common::ipc::request::GetClipboard;
use common::ipc::{
    Decoder, Hello, HelloReply, MAX_FRAME, PROTOCOL, Purpose, Refusal, SOCKET_FILE, ServerIpcMessage,
    TOKEN_FILE, encode,
};
use common::signal::StreamerState;
use harness::{Server, eventually};
use serde_json::json;

fn hello(run_dir: &Path, purpose: Purpose) -> Hello {
    let token = std::fs::read_to_string(run_dir.join(TOKEN_FILE)).unwrap().trim().to_owned();
    Hello { protocol: PROTOCOL, build: "test".into(), token, purpose }
}

fn connect(run_dir: &Path) -> UnixStream {
    let stream = UnixStream::connect(run_dir.join(SOCKET_FILE)).unwrap();
    stream.set_read_timeout(Some(harness::wait::SOON)).unwrap();
    stream
}

fn greet(stream: &mut UnixStream, hello: &Hello) -> HelloReply {
    stream.write_all(&encode(hello).unwrap()).unwrap();
    let mut decoder = Decoder::default();
    loop {
        if let Some(reply) = decoder.next_message().unwrap() {
            return reply;
        }
        let mut bytes = [0; 1024];
        let length = stream.read(&mut bytes).unwrap();
        assert!(length > 0, "closed without an answer");
        decoder.buffer().extend_from_slice(&bytes[..length]);
    }
}

/// Waits until the streamer has closed the connection.
fn assert_closed(mut stream: UnixStream, what: &str) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        // What we sent last was not read any more.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn frames_that_break_the_rules_end_their_connection_and_nothing_else() {
    let server = Server::start();
    let source = json!({ "type": "test", "width": 320, "height": 180, "fps": 30, "audio": false });
    server.create("demo", source);
    let pid = server.stats_until("demo", "it reports", |_| true).process.pid;
    let run_dir = server.run_dirs().remove(0);

    for (hello, refusal) in [
        (Hello { token: "0".repeat(64), ..hello(&run_dir, Purpose::Control) }, Refusal::Token),
        (
            Hello { protocol: PROTOCOL + 1, ..hello(&run_dir, Purpose::Control) },
            Refusal::Protocol { streamer: PROTOCOL, server: PROTOCOL + 1 },
        ),
    ] {
        let mut stream = connect(&run_dir);
        assert_eq!(greet(&mut stream, &hello), HelloReply::Refused(refusal));
        assert_closed(stream, "refused");
    }

    let request = GetClipboard { wanted: Wanted::Texts };
    let message = encode(&ServerIpcMessage::Request { id: RequestId(1), request: request.into() }).unwrap();
    let too_long = (MAX_FRAME as u32 + 1).to_le_bytes();
    let broken: [(&str, Vec<u8>); 5] = [
        ("a frame that ends early", message[..message.len() - 1].to_vec()),
        ("half a length", message[..2].to_vec()),
        ("a frame that is too long", [&too_long[..], &[0; 100]].concat()),
        ("the longest length there is", vec![0xff; 64]),
        ("a frame of garbage", [&[3, 0, 0, 0][..], &[0xff; 3]].concat()),
    ];
    for purpose in [None, Some(Purpose::Bulk), Some(Purpose::Control)] {
        for (what, bytes) in &broken {
            let mut stream = connect(&run_dir);
            if let Some(purpose) = purpose {
                let reply = greet(&mut stream, &hello(&run_dir, purpose));
                assert!(matches!(reply, HelloReply::Accepted(_)), "{reply:?}");
            }
            stream.write_all(bytes).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert_closed(stream, what);

            // The web-server, whose own connection was replaced by ours, is back.
            eventually("the streamer is served as before", || {
                let snapshot = server.get("/api/streamers/demo/snapshot").status == 200;
                let peers = server.get("/api/streamers/demo/peers").status == 200;
                (snapshot && peers).then_some(())
            });
        }
    }
    let uptime = server.streamer("demo").and_then(|now| now.stats).map_or(0, |stats| stats.uptime_ms);
    let now = server.stats_until("demo", "it goes on reporting", |stats| stats.uptime_ms > uptime);
    assert_eq!(now.process.pid, pid, "the same process");
    assert_eq!(server.streamer("demo").map(|now| now.state), Some(StreamerState::Running));
    // And it obeys.
    server.delete("/api/streamers/demo").expect(204);
    eventually("nothing of it runs", || server.session_processes().is_empty().then_some(()));
}
