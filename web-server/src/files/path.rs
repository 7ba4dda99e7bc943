//! Where a file is below a home, as a request says it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use common::files::encoded;
use percent_encoding::percent_decode_str;

use super::Error;

/// Longest name, bytes: the limit of Linux (`NAME_MAX`).
const MAX_NAME: usize = 255;
/// Longest path, bytes: below the limit of Linux (`PATH_MAX`).
const MAX_PATH: usize = 4000;

/// The directory of uploads that are not complete, in the home itself. It is nobody's to see.
pub(super) const UPLOADS: &str = ".oriel-uploads";

/// A path below a home, of plain names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath {
    names: Vec<OsString>,
    slash: bool,
}

impl FilePath {
    /// What stands behind `files/` in the path of a request, percent-encoded. Names need not be UTF-8.
    ///
    /// # Errors
    /// It leads elsewhere, or a name cannot be one.
    pub fn parse(encoded: &str) -> Result<Self, Error> {
        let bytes: Vec<u8> = percent_decode_str(encoded).collect();
        if bytes.len() > MAX_PATH {
            return Err(Error::NameTooLong { what: "a path", max: MAX_PATH });
        }
        let (bytes, slash) = match bytes.strip_suffix(b"/") {
            Some(bytes) if !bytes.is_empty() => (bytes, true),
            _ => (bytes.as_slice(), bytes.is_empty()),
        };
        let mut names = Vec::new();
        for name in bytes.split(|byte| *byte == b'/').filter(|_| !bytes.is_empty()) {
            match name {
                b"" => return Err(Error::BadPath("begins with a slash, or has two in a row")),
                b"." | b".." => return Err(Error::BadPath("must not hold \".\" or \"..\"")),
                _ if name.contains(&0) => return Err(Error::BadPath("must not hold the character NUL")),
                _ if name.len() > MAX_NAME => {
                    return Err(Error::NameTooLong { what: "a name", max: MAX_NAME });
                }
                _ => names.push(OsString::from_vec(name.to_vec())),
            }
        }
        if names.first().is_some_and(|name| name == UPLOADS) {
            return Err(Error::BadPath("must not begin with the directory of unfinished uploads"));
        }
        Ok(Self { names, slash })
    }

    /// It ends with a slash, or is the home itself.
    pub fn means_directory(&self) -> bool {
        self.slash
    }

    /// Its last name; `None` for the home itself.
    pub fn name(&self) -> Option<&OsStr> {
        self.names.last().map(OsString::as_os_str)
    }

    /// Of the directory that it is in; the home is in itself.
    pub(super) fn parent(&self) -> Self {
        Self { names: self.names[..self.names.len().saturating_sub(1)].to_vec(), slash: true }
    }

    /// Its last name as text; of the home itself, `home`.
    pub fn shown_name(&self) -> String {
        self.name().map_or_else(|| "home".into(), |name| archived(name.as_bytes()))
    }

    /// Relative to the home; `.` for the home itself.
    pub(super) fn relative(&self) -> PathBuf {
        if self.names.is_empty() { ".".into() } else { self.names.iter().collect() }
    }

    /// As it stands in an address, without slashes around it.
    pub fn encoded(&self) -> String {
        let names: Vec<_> = self.names.iter().map(|name| encoded(name.as_bytes())).collect();
        names.join("/")
    }

    /// As it stands in an address, of what is called `name` in it.
    pub(super) fn encoded_child(&self, name: &[u8]) -> String {
        let parents = self.encoded();
        let slash = if parents.is_empty() { "" } else { "/" };
        format!("{parents}{slash}{}", encoded(name))
    }
}

/// A name as it is in an archive. What is not UTF-8 is encoded, so that two names stay two, and so is what other systems take for more
/// than a name.
pub(super) fn archived(name: &[u8]) -> String {
    let plain = std::str::from_utf8(name).ok().filter(|name| !name.contains(['\\', ':']));
    plain.map_or_else(|| encoded(name), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_plain_names_in_whatever_encoding() {
        for (text, relative, encoded) in [
            ("", ".", ""),
            ("a", "a", "a"),
            ("a/b%20c/", "a/b c", "a/b%20c"),
            ("a%2Fb", "a/b", "a/b"),
            ("gr%C3%BC%C3%9Fe/..x/.../-~_", "grüße/..x/.../-~_", "gr%C3%BC%C3%9Fe/..x/.../-~_"),
            ("%252e%252e", "%2e%2e", "%252e%252e"),
            ("100%", "100%", "100%25"),
        ] {
            let path = FilePath::parse(text).unwrap();
            assert_eq!(path.relative().to_str(), Some(relative), "{text}");
            assert_eq!(path.encoded(), encoded, "{text}");
            assert_eq!(FilePath::parse(&path.encoded()).unwrap().relative(), path.relative(), "{text}");
        }
        let latin = FilePath::parse("caf%E9").unwrap();
        assert_eq!(latin.relative().as_os_str().as_bytes(), b"caf\xe9");
        assert_eq!(latin.encoded(), "caf%E9");
        assert_eq!(archived(b"caf\xe9"), "caf%E9");
        assert_eq!(archived(b"..\\x"), "..%5Cx");
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for text in [
            "..",
            "a/../b",
            "%2e%2e/etc",
            ".",
            "a/./b",
            "/etc/passwd",
            "%2Fetc",
            "a//b",
            "a%00b",
            "%2e.",
            "a%2f..%2fb",
            "/",
            "//",
            ".oriel-uploads/x",
        ] {
            assert!(matches!(FilePath::parse(text), Err(Error::BadPath(_))), "{text}");
        }
        for text in ["n".repeat(256), "name/".repeat(900)] {
            assert!(matches!(FilePath::parse(&text), Err(Error::NameTooLong { .. })), "{text}");
        }
        assert!(FilePath::parse(&"n".repeat(255)).is_ok());
    }
}
