//! Whose datagram is it? Binding requests name our ICE user; everything else goes by its address.

const STUN_HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0, 1];
const BINDING_SUCCESS: [u8; 2] = [1, 1];
const USERNAME: [u8; 2] = [0, 6];

/// Our user name fragment in a STUN binding request (RFC 8489 §14.3, RFC 8445 §7.2.2), if `datagram` is one.
///
/// Nothing of it is verified here: ICE checks its integrity.
pub fn our_ufrag(datagram: &[u8]) -> Option<&str> {
    let (header, mut attributes) = datagram.split_at_checked(STUN_HEADER)?;
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

/// Names a request and its response (RFC 8489 §5).
pub type Transaction = [u8; 12];

/// A STUN message of ICE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stun {
    /// A binding request.
    Request(Transaction),
    /// The response to one.
    Success(Transaction),
}

/// What `datagram` is, if it is STUN of ICE. Nothing of it is verified here.
pub fn stun(datagram: &[u8]) -> Option<Stun> {
    let (header, _) = datagram.split_at_checked(STUN_HEADER)?;
    let transaction = header[8..].try_into().ok().filter(|_| header[4..8] == MAGIC_COOKIE)?;
    match [header[0], header[1]] {
        BINDING_REQUEST => Some(Stun::Request(transaction)),
        BINDING_SUCCESS => Some(Stun::Success(transaction)),
        _ => None,
    }
}

/// Whether a datagram of ours answers a binding request. ICE answers only who knows the password, so where it
/// goes is an address of the peer. All else may go where the peer merely says that it is: to somebody else.
pub fn proves_address(sent: &[u8]) -> bool {
    matches!(stun(sent), Some(Stun::Success(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[test]
    fn only_an_answer_proves_an_address() {
        let mut datagram = request(&[]);
        assert!(!proves_address(&datagram));
        datagram[0] = 1;
        datagram[1] = 1;
        assert!(proves_address(&datagram));
        assert!(!proves_address(&datagram[..STUN_HEADER - 1]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            our_ufrag(&bytes);
            our_ufrag(&request(&bytes));
        }
    }
}
