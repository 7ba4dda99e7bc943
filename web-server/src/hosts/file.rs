//! The hosts that we know, in one file, which is replaced as a whole.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::durable;

const FILE: &str = "hosts.json";

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// By which hosts tell clients apart; 16 hexadecimal digits.
    pub unique_id: String,
    /// In the order in which they were added.
    pub hosts: Vec<Record>,
}

/// A Moonlight host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name in REST.
    pub id: String,
    /// Name or address.
    pub address: String,
    /// Port of HTTP.
    pub http_port: u16,
    /// Port of HTTPS.
    pub https_port: u16,
    /// What it calls itself.
    pub name: String,
    /// What other clients know it by.
    pub unique_id: String,
    /// Hardware address, for Wake-on-LAN.
    pub mac: Option<[u8; 6]>,
    /// What it can encode, as the host says it.
    pub codecs: u32,
    /// The certificate that it has, PEM, since it was paired.
    pub certificate: Option<String>,
}

/// Reads the file in `dir`; nothing is kept when there is none.
///
/// # Errors
/// It cannot be read, or is none of ours.
pub fn read(dir: &Path) -> io::Result<Kept> {
    match std::fs::read(dir.join(FILE)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(error) => Err(error),
    }
}

/// Replaces the file in `dir`: whoever reads it finds the old one or the new one.
///
/// # Errors
/// Those of the system; the old file is still there then.
pub fn write(dir: &Path, kept: &Kept) -> io::Result<()> {
    durable::replace(&dir.join(FILE), &serde_json::to_vec_pretty(kept).map_err(io::Error::other)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nonsense_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Kept::default());
        let record = Record {
            id: "a".into(),
            address: "h".into(),
            http_port: 1,
            https_port: 2,
            name: "n".into(),
            unique_id: "u".into(),
            mac: Some([1, 2, 3, 4, 5, 6]),
            codecs: 257,
            certificate: None,
        };
        let kept = Kept { unique_id: "0123456789abcdef".into(), hosts: vec![record] };
        write(dir.path(), &kept).unwrap();
        write(dir.path(), &kept).unwrap();
        assert_eq!(read(dir.path()).unwrap(), kept);
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(read(dir.path()).is_err());
    }
}
