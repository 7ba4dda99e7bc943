//! Queries a camera on a connection of its own: where it redirects to, and whether it responds at all. The crate that reads it reports
//! a redirection, but not its target, and ignores a response with wrong line ends; so the request is repeated here.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

/// Timeout of the response.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest head of a response.
const MAX_HEAD: u64 = 16 * 1024;
const DEFAULT_PORT: u16 = 554;

/// Requests a camera's description, and returns the target of its redirection.
///
/// # Errors
/// The reason why it is not known, without passwords.
pub async fn target(url: &Url) -> Result<Url, String> {
    let mut head = Vec::new();
    let asked = tokio::time::timeout(ANSWER, ask(url, &mut head)).await;
    let asked = asked.map_err(|_| "the camera redirects, and then does not answer".to_owned())?;
    asked.map_err(|error| format!("the camera redirects, and then: {error}"))?;
    let location = location(&head).ok_or("the camera redirects without a location")?;
    // Relative ones violate RFC 2326 §14.25, but are unambiguous.
    url.join(location).map_err(|error| format!("the camera redirects to what is no URL: {error}"))
}

/// True if a camera sends something that is not a complete response.
pub async fn mumbles(url: &Url) -> bool {
    let mut head = Vec::new();
    // However it ends, the received bytes are checked.
    let _ = tokio::time::timeout(ANSWER, ask(url, &mut head)).await;
    is_mumbled(&head)
}

fn is_mumbled(head: &[u8]) -> bool {
    !head.is_empty() && !head.windows(4).any(|end| end == b"\r\n\r\n")
}

async fn ask(url: &Url, head: &mut Vec<u8>) -> std::io::Result<()> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let mut stream = TcpStream::connect((host, url.port().unwrap_or(DEFAULT_PORT))).await?;
    let request = format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut stream = stream.take(MAX_HEAD);
    while !is_whole(head) {
        if stream.read_buf(head).await? == 0 {
            break;
        }
    }
    Ok(())
}

fn is_whole(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n") || head.windows(2).any(|end| end == b"\n\n")
}

/// The field `Location` of a redirection.
fn location(head: &[u8]) -> Option<&str> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.strip_prefix("RTSP/1.")?.split(' ').nth(1)?;
    if !status.starts_with('3') {
        return None;
    }
    lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("location").then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_counts_only_where_an_answer_redirects() {
        let of = |head: &'static str| location(head.as_bytes());
        assert_eq!(of("RTSP/1.0 302 Found\r\nCSeq: 1\r\nLocation: rtsp://h/x\r\n\r\n"), Some("rtsp://h/x"));
        assert_eq!(of("RTSP/1.0 301 x\nLOCATION :  /other \n\n"), Some("/other"));
        assert_eq!(of("RTSP/1.0 200 OK\r\nLocation: rtsp://h/x\r\n\r\n"), None);
        assert_eq!(of("RTSP/1.0 302 Found\r\n\r\nLocation: rtsp://h/x\r\n"), None, "its body says nothing");
        assert_eq!(of("HTTP/1.1 302 Found\r\nLocation: rtsp://h/x\r\n\r\n"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn what_says_something_and_ends_no_answer_mumbles() {
        assert!(is_mumbled(b"RTSP/1.0 200 OK\nCSeq: 1\n\n"));
        assert!(is_mumbled(b"HELO"));
        assert!(!is_mumbled(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"));
        assert!(!is_mumbled(b""));
    }
}
