//! What the proxy changes in signalling. Pure.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde_json::Value;

/// What to do with a message from the server.
#[derive(Debug, PartialEq)]
pub enum FromServer {
    /// Pass it on as it is.
    Pass,
    /// Do not.
    Drop,
    /// It offers these addresses: pass [`with_relay`] on.
    Offer(Vec<SocketAddrV4>),
}

/// Looks at a message from the server.
pub fn from_server(text: &str) -> FromServer {
    let message = parse(text);
    match kind(&message) {
        "offer" => FromServer::Offer(candidates(sdp(&message))),
        // Each would be a way past the relay.
        "candidate" => FromServer::Drop,
        _ => FromServer::Pass,
    }
}

/// The offer with each address replaced by `relayed` of it; candidates without one are left out. Those of TCP connections stay, as these
/// go past the relay: what it drops is what a network drops that lets no UDP through.
pub fn with_relay(text: &str, relayed: impl Fn(SocketAddrV4) -> Option<SocketAddrV4>) -> String {
    change_sdp(text, |line| match line.strip_prefix("a=candidate:") {
        Some(candidate) if candidate.ends_with(" tcptype passive") => Some(line.to_owned()),
        Some(candidate) => {
            let relay = relayed(address(candidate)?)?;
            let mut words: Vec<String> = candidate.split(' ').map(str::to_owned).collect();
            words[4] = relay.ip().to_string();
            words[5] = relay.port().to_string();
            Some(format!("a=candidate:{}", words.join(" ")))
        }
        None => Some(line.to_owned()),
    })
}

/// A message from the browser without its addresses; `None` when nothing is left of it.
pub fn from_browser(text: &str) -> Option<String> {
    match kind(&parse(text)) {
        "answer" => {
            Some(change_sdp(text, |line| (!line.starts_with("a=candidate:")).then(|| line.to_owned())))
        }
        "candidate" => None,
        _ => Some(text.to_owned()),
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn kind(message: &Value) -> &str {
    message["type"].as_str().unwrap_or_default()
}

fn sdp(message: &Value) -> &str {
    message["sdp"].as_str().unwrap_or_default()
}

fn change_sdp(text: &str, change: impl Fn(&str) -> Option<String>) -> String {
    let mut message = parse(text);
    let lines = sdp(&message).lines().filter_map(change);
    let changed: String = lines.map(|line| line + "\r\n").collect();
    message["sdp"] = changed.into();
    message.to_string()
}

/// Every UDP address over IPv4 in the SDP, each once.
fn candidates(sdp: &str) -> Vec<SocketAddrV4> {
    let mut found = Vec::new();
    for address in sdp.lines().filter_map(|line| address(line.strip_prefix("a=candidate:")?)) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// `foundation component transport priority address port typ …`
fn address(candidate: &str) -> Option<SocketAddrV4> {
    let mut words = candidate.split(' ').skip(2);
    let transport = words.next()?;
    let ip: Ipv4Addr = words.nth(1)?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    transport.eq_ignore_ascii_case("udp").then(|| SocketAddrV4::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SDP: &str = "v=0\r\n\
        a=candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host\r\n\
        a=candidate:2 1 udp 2130706430 ::1 4000 typ host\r\n\
        a=candidate:3 1 tcp 2130706429 127.0.0.1 9 typ host tcptype active\r\n\
        a=candidate:4 1 tcp 2124414975 127.0.0.1 8189 typ host tcptype passive\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
        a=candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host\r\n\
        a=mid:0\r\n";

    #[test]
    fn the_relay_is_the_only_way_an_offer_shows() {
        let real = "127.0.0.1:4000".parse().unwrap();
        let relay = "127.0.0.1:5000".parse().unwrap();
        let offer = json!({"type": "offer", "sdp": SDP}).to_string();
        assert_eq!(from_server(&offer), FromServer::Offer(vec![real]));
        let message = parse(&with_relay(&offer, |address| (address == real).then_some(relay)));
        let expected = "v=0\r\n\
            a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host\r\n\
            a=candidate:4 1 tcp 2124414975 127.0.0.1 8189 typ host tcptype passive\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
            a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host\r\n\
            a=mid:0\r\n";
        assert_eq!(message, json!({"type": "offer", "sdp": expected}));
    }

    #[test]
    fn the_browser_tells_no_address() {
        let answer = json!({"type": "answer", "sdp": SDP}).to_string();
        let message = parse(&from_browser(&answer).unwrap());
        assert_eq!(sdp(&message), "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n");
        assert_eq!(from_browser(r#"{"type":"candidate","candidate":"x"}"#), None);
    }

    #[test]
    fn everything_else_passes_unchanged() {
        for text in [r#"{"type":"hello"}"#, "garbage", "[1]"] {
            assert_eq!(from_browser(text).as_deref(), Some(text));
            assert_eq!(from_server(text), FromServer::Pass);
        }
    }
}
