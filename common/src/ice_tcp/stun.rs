//! What of a STUN message tells for whom it is (RFC 8489 §14.3, RFC 8445 §7.2.2). Nothing is verified here: ICE checks the
//! integrity of the message.

/// Bytes of the header of each message.
pub const HEADER: usize = 20;
/// The same in all messages, after their type and length.
pub const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// Type of a binding request.
pub const BINDING_REQUEST: [u8; 2] = [0, 1];
/// Type of the response to one.
pub const BINDING_SUCCESS: [u8; 2] = [1, 1];

const USERNAME: [u8; 2] = [0, 6];

/// Our user name fragment in a binding request, if `datagram` is one.
pub fn our_ufrag(datagram: &[u8]) -> Option<&str> {
    let (header, mut attributes) = datagram.split_at_checked(HEADER)?;
    if header[..2] != BINDING_REQUEST || header[4..8] != MAGIC_COOKIE {
        return None;
    }
    loop {
        let (attribute, rest) = attributes.split_at_checked(4)?;
        let len = usize::from(u16::from_be_bytes([attribute[2], attribute[3]]));
        if attribute[..2] == USERNAME {
            let name = std::str::from_utf8(rest.get(..len)?).ok()?;
            return name.split(':').next();
        }
        attributes = rest.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(attributes: &[u8]) -> Vec<u8> {
        let len = (attributes.len() as u16).to_be_bytes();
        [&[0, 1], &len[..], &MAGIC_COOKIE, &[7; 12], attributes].concat()
    }

    #[test]
    fn the_first_half_of_the_user_name_is_ours() {
        let software = [0x80, 0x22, 0, 3, b'a', b'b', b'c', 0];
        let username = [0, 6, 0, 7, b'o', b'u', b'r', b':', b'y', b'o', b'u', 0];
        assert_eq!(our_ufrag(&request(&[&software[..], &username].concat())), Some("our"));
        assert_eq!(our_ufrag(&request(&software)), None);
        assert_eq!(our_ufrag(&request(&[0, 6, 0xff, 0xff, b'o'])), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            our_ufrag(&bytes);
            our_ufrag(&request(&bytes));
        }
    }
}
