//! Pictures that a peer puts on the clipboard. They arrive in parts, as no picture fits into a message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::clipboard::{ClipboardType, InvalidContent, MAX_PART, MAX_PICTURE};

/// Collects a picture whose parts arrive in order. Holds at most [`MAX_PICTURE`] bytes.
#[derive(Debug, Default)]
pub struct Parts(Vec<u8>);

impl Parts {
    /// Takes the next part, in base64; `at` bytes come before it. Returns the picture with the last one.
    ///
    /// # Errors
    /// A description of what is wrong, for people; all parts so far are dropped.
    pub fn take(&mut self, at: u32, part: &str, last: bool) -> Result<Option<Vec<u8>>, String> {
        let mut all = std::mem::take(&mut self.0);
        if at == 0 {
            all.clear();
        }
        if all.len() != at as usize {
            return Err(format!("at: {} bytes came before this part, not {at}", all.len()));
        }
        let bytes = BASE64.decode(part).map_err(|error| format!("data: not base64: {error}"))?;
        if bytes.len() > MAX_PART {
            return Err(format!("data: a part has at most {MAX_PART} bytes, not {}", bytes.len()));
        }
        let len = all.len() + bytes.len();
        if len > MAX_PICTURE {
            return Err(InvalidContent::TooLong { kind: ClipboardType::Png, len }.to_string());
        }
        all.extend(bytes);
        if last {
            return Ok(Some(all));
        }
        self.0 = all;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_together_in_order_and_bounded() {
        let mut parts = Parts::default();
        let encode = |bytes: &[u8]| BASE64.encode(bytes);
        assert_eq!(parts.take(0, &encode(b"ab"), false), Ok(None));
        assert_eq!(parts.take(2, &encode(b""), false), Ok(None));
        assert_eq!(parts.take(2, &encode(b"c"), true), Ok(Some(b"abc".to_vec())));
        assert!(parts.take(3, &encode(b"d"), true).unwrap_err().starts_with("at: "), "nothing is left of it");
        assert_eq!(parts.take(0, &encode(b"lost"), false), Ok(None));
        assert_eq!(parts.take(0, &encode(b"d"), true), Ok(Some(b"d".to_vec())), "another one begins");

        let full = encode(&[0; MAX_PART]);
        let mut at = 0;
        while at + MAX_PART <= MAX_PICTURE {
            assert_eq!(parts.take(at as u32, &full, false), Ok(None));
            at += MAX_PART;
        }
        assert!(parts.take(at as u32, &full, false).unwrap_err().contains("4194304"));
        assert!(parts.take(0, &encode(&[0; MAX_PART + 1]), true).unwrap_err().contains("49152"));
        assert!(parts.take(0, "?", true).unwrap_err().starts_with("data: "));
    }
}
