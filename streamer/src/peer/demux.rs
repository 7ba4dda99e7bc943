//! Tells which peer a datagram belongs to: binding requests contain our ICE user name; everything else is matched by its address.

pub use common::ice_tcp::stun::our_ufrag;
use common::ice_tcp::stun::{BINDING_REQUEST, BINDING_SUCCESS, HEADER, MAGIC_COOKIE};

/// Whether a packet is STUN (RFC 7983 §7).
pub fn is_stun(packet: &[u8]) -> bool {
    packet.first().is_some_and(|byte| *byte < 4)
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

/// Parses `datagram` if it is a STUN message of ICE. Nothing of it is verified here.
pub fn stun(datagram: &[u8]) -> Option<Stun> {
    let (header, _) = datagram.split_at_checked(HEADER)?;
    let transaction = header[8..].try_into().ok().filter(|_| header[4..8] == MAGIC_COOKIE)?;
    match [header[0], header[1]] {
        BINDING_REQUEST => Some(Stun::Request(transaction)),
        BINDING_SUCCESS => Some(Stun::Success(transaction)),
        _ => None,
    }
}

/// Whether a datagram of ours answers a binding request. ICE answers only requests with the right password, so the destination
/// is an address of the peer. Anything else may be sent to an address that the peer merely claims to have.
pub fn proves_address(sent: &[u8]) -> bool {
    matches!(stun(sent), Some(Stun::Success(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_proves_an_address() {
        let mut datagram = [&BINDING_REQUEST[..], &[0, 0], &MAGIC_COOKIE, &[7; 12]].concat();
        assert!(!proves_address(&datagram));
        datagram[0] = 1;
        datagram[1] = 1;
        assert!(proves_address(&datagram));
        assert!(!proves_address(&datagram[..HEADER - 1]));
    }
}
