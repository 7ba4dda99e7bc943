//! What viewers and programs are told of slots, from the outside.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::net::TcpStream;

use harness::Server;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// A viewer that says what it can do, and listens.
fn viewer(server: &Server, id: &str, capabilities: &Value) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(harness::wait::SOON)).unwrap();
    let url = format!("ws://{}/api/streamers/{id}/peer", server.address());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "oriel.v1".parse().unwrap());
    let mut socket = tungstenite::client(request, stream).unwrap().0;
    let hello = json!({ "type": "hello", "capabilities": capabilities });
    socket.send(Message::text(hello.to_string())).unwrap();
    socket
}

/// All that it is told until one of these has come.
fn until(socket: &mut WebSocket<TcpStream>, kind: &str) -> Vec<Value> {
    let mut told = Vec::new();
    loop {
        let Message::Text(text) = socket.read().unwrap() else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        let found = message["type"] == kind;
        told.push(message);
        if found {
            return told;
        }
    }
}

#[test]
fn without_preallocated_slots_streams_info_follows_the_offer_and_names_its_sections() {
    let server = Server::start();
    server.create("demo", json!({"type": "test", "width": 160, "height": 96, "fps": 5}));
    server.post("/api/streamers/demo/slots", &json!({"source": "main"})).expect(201);
    server.delete("/api/streamers/demo/slots/0").expect(204);

    let mut socket = viewer(&server, "demo", &json!({"preallocatedSlots": false}));
    let told = until(&mut socket, "streams-info");
    let offer = told.iter().find(|message| message["type"] == "offer").expect("the offer comes first");
    let streams = told.last().unwrap()["streams"].as_array().unwrap().clone();
    assert_eq!((streams.len(), &streams[0]["slot"]), (1, &json!(1)), "{streams:?}");
    for (mid, track) in [("mid", "video1"), ("audioMid", "audio1")] {
        let mid = streams[0][mid].as_str().unwrap();
        let section = format!("a=mid:{mid}\r\n");
        let sdp = offer["sdp"].as_str().unwrap();
        let carries = sdp.split("m=").find(|text| text.contains(&section)).expect(mid);
        assert!(carries.contains(&format!("msid:slot1 {track}")), "{mid}: {carries}");
    }

    // With all slots in the first offer, they are where they always are, and told at once.
    let mut socket = viewer(&server, "demo", &json!({}));
    let told = until(&mut socket, "streams-info");
    assert!(told.iter().all(|message| message["type"] != "offer"), "{told:?}");
    assert_eq!(told.last().unwrap()["streams"][0]["mid"], "2");
}

#[test]
fn a_source_without_a_picture_has_no_size_and_no_codec() {
    let server = Server::start();
    server.create("demo", json!({"type": "test", "width": 160, "height": 96, "fps": 5}));
    let camera = json!({"name": "camera", "source": {"type": "rtsp", "url": "rtsp://127.0.0.1:1/nothing"}});
    server.post("/api/streamers/demo/sources", &camera).expect(204);
    let shown = server.put("/api/streamers/demo/slots/1", &json!({"source": "camera"})).expect(200);
    let shown: Value = shown.json();
    for field in ["width", "height", "codec"] {
        assert_eq!(shown[field], Value::Null, "{field}: {shown}");
    }
    let shown: Value =
        server.put("/api/streamers/demo/slots/2", &json!({"source": "main"})).expect(200).json();
    assert_eq!((&shown["width"], &shown["codec"]), (&json!(160), &json!("H264")), "{shown}");
}
