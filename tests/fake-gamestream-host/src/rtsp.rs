//! RTSP: one request per connection, plain or encrypted.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use crate::crypto::{Gcm, Key, Tag};
use crate::host::{PATIENCE, Shared, State};
use crate::scenario::RtspFault;
use crate::session::{Launch, Session};
use crate::{audio, sdp, video};

/// Sunshine's buffer for a whole message.
const MAX_MESSAGE: usize = 2048;
/// Length of the header of an encrypted message.
const SEALED_HEADER: usize = 24;
/// In the first number of an encrypted message.
const SEALED: u32 = 0x8000_0000;
/// The id of every session; Sunshine's is constant as well.
const SESSION_ID: &str = "DEADBEEFCAFE";

/// A request, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    command: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let command = words.next()?.to_owned();
        let target = words.next()?.to_owned();
        if words.next() != Some("RTSP/1.0") {
            return None;
        }
        let headers =
            lines.map(|line| line.split_once(": ").map(|(name, value)| (name.into(), value.into())));
        Some(Self { command, target, headers: headers.collect::<Option<_>>()?, body: body.to_owned() })
    }

    /// Names are case-sensitive on Sunshine.
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// One connection.
pub fn serve(shared: &Arc<Shared>, mut stream: TcpStream) {
    // Only while a launch is pending are connections taken.
    let Some(launch) = pending(&mut shared.state()) else { return };
    let Ok(text) = read(&mut stream, &launch) else {
        shared.state().complain("an RTSP message could not be read or decrypted, or was too long");
        return;
    };
    let Some(request) = Request::parse(&text) else {
        shared.state().complain(format!("not an RTSP request: {text:.40}"));
        return;
    };
    let fault = shared.state().scenario.rtsp.get(&request.command).cloned();
    if let Some(RtspFault::Hang) = fault {
        shared.wait(PATIENCE * 12, |state| state.scenario.rtsp.is_empty().then_some(()));
        return;
    }
    if let Some(RtspFault::Close) = fault {
        return;
    }
    let mut answer = match fault {
        Some(RtspFault::Status(status)) => reply(&request, status, &[], ""),
        _ => answer(shared, &request),
    };
    if let Some(RtspFault::BadNumbers) = fault {
        answer = answer.replace("server_port=", "server_port=9").replace("Connect-Data: ", "Connect-Data: -");
    }
    // The client may have gone.
    let _ = write(shared, &mut stream, answer.into_bytes(), &launch, fault.as_ref());
}

/// The launch that waits for RTSP, unless it has waited too long.
fn pending(state: &mut State) -> Option<Launch> {
    state.launch.take_if(|launch| launch.at.elapsed() > PATIENCE);
    state.launch.clone()
}

fn read(stream: &mut TcpStream, launch: &Launch) -> io::Result<String> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut length = 0;
    let plain = loop {
        let count = stream.read(&mut bytes[length..])?;
        length += count;
        if count == 0 {
            // The end, or no room left.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let so_far = &bytes[..length];
        if launch.encrypted_rtsp {
            let Some((header, sealed)) = so_far.split_at_checked(SEALED_HEADER) else { continue };
            let first = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            if first & SEALED == 0 {
                return Err(io::Error::other("not encrypted"));
            }
            if sealed.len() >= (first & !SEALED) as usize {
                break open(&launch.key, b'C', so_far).ok_or_else(|| io::Error::other("forged"))?;
            }
        } else if is_whole(so_far) {
            break so_far.to_vec();
        }
    };
    String::from_utf8(plain).map_err(io::Error::other)
}

/// Head and as much body as it says.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let length = head.split("\r\n").find_map(|line| line.strip_prefix("Content-length: ")?.parse().ok());
    bytes.len() >= end + 4 + length.unwrap_or(0)
}

fn iv(sequence: u32, sender: u8) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..4].copy_from_slice(&sequence.to_le_bytes());
    (iv[10], iv[11]) = (sender, b'R');
    iv
}

/// Encrypts a message of `sender`: `C` or `H`.
fn seal(key: &Key, sender: u8, sequence: u32, mut text: Vec<u8>) -> Vec<u8> {
    let tag = Gcm::short(key).seal(&iv(sequence, sender), &mut text);
    let mut message = (SEALED | text.len() as u32).to_be_bytes().to_vec();
    message.extend(sequence.to_be_bytes());
    message.extend(tag);
    message.extend(text);
    message
}

fn open(key: &Key, sender: u8, message: &[u8]) -> Option<Vec<u8>> {
    let (header, sealed) = message.split_at_checked(SEALED_HEADER)?;
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let tag = Tag::try_from(&header[8..]).ok()?;
    let mut text = sealed.get(..(number(0) & !SEALED) as usize)?.to_vec();
    Gcm::short(key).open(&iv(number(4), sender), &tag, &mut text).then_some(text)
}

fn write(
    shared: &Shared,
    stream: &mut TcpStream,
    answer: Vec<u8>,
    launch: &Launch,
    fault: Option<&RtspFault>,
) -> io::Result<()> {
    if let Some(RtspFault::Endless) = fault {
        stream.write_all(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nX: ")?;
        return (0..4096).try_for_each(|_| stream.write_all(&[b'x'; 1 << 16]));
    }
    if let Some(RtspFault::Garbage) = fault {
        return stream.write_all(&[0xa5; 700]);
    }
    if !launch.encrypted_rtsp {
        return stream.write_all(&answer);
    }
    let sequence = {
        let mut state = shared.state();
        // PLAY is the last one: the launch is over.
        let answers = state.launch.as_mut().map(|launch| &mut launch.answers);
        answers.map_or(launch.answers + 1, |answers| {
            *answers += 1;
            *answers
        })
    };
    let mut message = seal(&launch.key, b'H', sequence, answer);
    match fault {
        Some(RtspFault::LongLength) => message[..4].copy_from_slice(&(SEALED | 0x7fff_ffff).to_be_bytes()),
        Some(RtspFault::Forged) => message[8] ^= 1,
        _ => {}
    }
    stream.write_all(&message)
}

fn reply(request: &Request, status: u16, headers: &[(&str, String)], body: &str) -> String {
    let reason = if status == 200 { "OK" } else { "Refused" };
    let sequence = request.header("CSeq").unwrap_or("0");
    let mut text = format!("RTSP/1.0 {status} {reason}\r\nCSeq: {sequence}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n" + body
}

fn answer(shared: &Arc<Shared>, request: &Request) -> String {
    let mut guard = shared.state();
    let state = &mut *guard;
    check(state, request);
    let Some(launch) = &mut state.launch else { return reply(request, 454, &[], "") };
    launch.low_sound |= request.header("Host") == Some("0.0.0.0");
    let ids = state.scenario.session_ids;
    match request.command.as_str() {
        "OPTIONS" => reply(request, 200, &[], ""),
        "PLAY" => {
            state.launch = None;
            reply(request, 200, &[], "")
        }
        "DESCRIBE" => reply(request, 200, &[], &sdp::describe(&state.scenario)),
        "SETUP" => {
            let (port, extension) = match request.target.split('/').next().unwrap_or_default() {
                "streamid=audio" => {
                    (shared.ports.audio_port, ("X-SS-Ping-Payload", launch.ping_payload.clone()))
                }
                "streamid=video" => {
                    (shared.ports.video_port, ("X-SS-Ping-Payload", launch.ping_payload.clone()))
                }
                "streamid=control" => {
                    (shared.ports.control_port, ("X-SS-Connect-Data", launch.connect_data.to_string()))
                }
                _ => return reply(request, 404, &[], ""),
            };
            let mut headers = vec![
                ("Session", format!("{SESSION_ID};timeout = 90")),
                ("Transport", format!("server_port={port}")),
            ];
            headers.extend(ids.then_some(extension));
            reply(request, 200, &headers, "")
        }
        "ANNOUNCE" => match sdp::announced(&request.body, &state.scenario) {
            Ok(settings) => {
                let session = Arc::new(Session::new(launch.clone(), settings, ids));
                state.end_session();
                state.session = Some(session.clone());
                state.counters.sessions += 1;
                drop(guard);
                begin(shared, &session);
                reply(request, 200, &[], "")
            }
            Err(complaint) => {
                state.complain(complaint);
                reply(request, 400, &[], "")
            }
        },
        _ => reply(request, 404, &[], ""),
    }
}

/// What every request has to have.
fn check(state: &mut State, request: &Request) {
    let command = &request.command;
    if request.header("X-GS-ClientVersion") != Some("14") {
        state.complain(format!("{command} has no X-GS-ClientVersion: 14"));
    }
    if request.header("CSeq").and_then(|number| number.parse::<u32>().ok()).is_none() {
        state.complain(format!("{command} has no CSeq"));
    }
    if request.header("Host").is_none() {
        state.complain(format!("{command} has no Host"));
    }
    let early = ["OPTIONS", "DESCRIBE"].contains(&command.as_str()) || request.target.contains("audio");
    if !early && request.header("Session") != Some(SESSION_ID) {
        state.complain(format!("{command} {} has no Session", request.target));
    }
}

/// The threads of a session end with it.
fn begin(shared: &Arc<Shared>, session: &Arc<Session>) {
    type Thread = fn(&Shared, &Session);
    for (name, run) in [("video", video::run as Thread), ("audio", audio::run)] {
        let shared = shared.clone();
        let session = session.clone();
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || run(&shared, &session)).expect("a thread can be started");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    const KEY: Key = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    #[test]
    fn encrypted_messages_are_as_published() {
        let options = "OPTIONS rtspenc://10.0.0.2:48010 RTSP/1.0\r\nCSeq: 1\r\nX-GS-ClientVersion: 14\r\n\
                       Host: 10.0.0.2\r\n\r\n";
        let published = "8000005e000000012d08db93e955792ddd3a6271f2d5a8dd9fe452003a42126629e9a38df3e5ba69a1abdaec51aa\
                         1661850e8735998f849928429fae652a7d7788916ae9ff8d5721d8bff2ab045348a1a29682f061923eb620ad7296\
                         ec124ce9376925fd34731fbb9a57546d489c9a459a48b2bbecf2";
        let published = from_hex(published).unwrap();
        assert_eq!(seal(&KEY, b'C', 1, options.into()), published);
        assert_eq!(open(&KEY, b'C', &published), Some(options.into()));
        assert_eq!(open(&KEY, b'H', &published), None);
        let answer = "8000001c00000001f1734c68fca6356daf5717bc54c6f6a2600872b43a271f6b4fc685cedf9a7cb84351077c0cc521\
                      456e1d06e9";
        let sealed = seal(&KEY, b'H', 1, b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n".to_vec());
        assert_eq!(sealed, from_hex(answer).unwrap());
    }

    #[test]
    fn requests_are_read_by_their_exact_headers() {
        let text = "ANNOUNCE streamid=control/13/0 RTSP/1.0\r\nCSeq: 6\r\nContent-length: 4\r\n\r\nbody";
        let request = Request::parse(text).unwrap();
        assert_eq!(
            (request.header("CSeq"), request.header("cseq"), request.body.as_str()),
            (Some("6"), None, "body")
        );
        assert!(is_whole(text.as_bytes()) && !is_whole(&text.as_bytes()[..text.len() - 1]));
        assert_eq!(Request::parse("OPTIONS x HTTP/1.1\r\n\r\n"), None);
    }
}
