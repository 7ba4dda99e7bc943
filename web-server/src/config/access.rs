//! The part of the configuration about who may reach the server, and as whom.

use std::path::{Path, PathBuf};

use clap::Args;
use common::spec::InvalidField;
use serde::Deserialize;

use crate::auth::address::Network;
use crate::auth::secrets::Secrets;

/// Longest file with secrets, bytes.
const MAX_SECRETS_FILE: u64 = 64 * 1024;
/// Variable with one admin secret. There is no flag for it: everybody can read those.
pub const SECRET_VARIABLE: &str = "ORIEL_ADMIN_SECRET";

/// Flags and environment.
#[derive(Debug, Default, Args)]
#[group(skip)]
pub struct Options {
    /// Value of [`SECRET_VARIABLE`].
    #[arg(skip)]
    pub admin_secret: Option<String>,

    /// File with admin secrets, one a line; ORIEL_ADMIN_SECRET holds one itself
    #[arg(long, env = "ORIEL_ADMIN_SECRET_FILE", value_name = "FILE")]
    pub admin_secret_file: Option<PathBuf>,

    /// Serve everything below this path, as a proxy in front passes it on: /oriel
    #[arg(long, env = "ORIEL_BASE_PATH", value_name = "PATH")]
    pub base_path: Option<String>,

    /// Name by which the server is reached, besides addresses and localhost; repeatable
    #[arg(long, env = "ORIEL_ALLOWED_HOST", value_name = "NAME", value_delimiter = ',')]
    pub allowed_host: Vec<String>,

    /// Origin of pages, besides our own, that may use the server: https://app.example; repeatable
    #[arg(long, env = "ORIEL_ALLOWED_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub allowed_origin: Vec<String>,

    /// Address or network of proxies whose X-Forwarded-For is believed; repeatable
    #[arg(long, env = "ORIEL_TRUSTED_PROXY", value_name = "NETWORK", value_delimiter = ',')]
    pub trusted_proxy: Vec<Network>,

    /// Serve HTTPS with this certificate chain (PEM)
    #[arg(long, env = "ORIEL_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(long, env = "ORIEL_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

/// `auth:`.
#[derive(Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthFile {
    /// Those who show one of these are admins.
    #[serde(default)]
    pub admin_secrets: Vec<String>,
    /// `--admin-secret-file`.
    pub admin_secrets_file: Option<PathBuf>,
    /// Programs that may be run by REST; absent: all.
    pub allowed_commands: Option<Vec<String>>,
    /// How inputs by REST, URLs and files, must begin; absent: in any way.
    pub allowed_inputs: Option<Vec<String>>,
}

impl std::fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthFile").field("admin_secrets", &self.admin_secrets.len()).finish_non_exhaustive()
    }
}

/// `http:`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpFile {
    /// `--base-path`.
    pub base_path: Option<String>,
    /// `--allowed-host`.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// `--allowed-origin`.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// `--trusted-proxy`.
    #[serde(default)]
    pub trusted_proxies: Vec<Network>,
}

/// `tls:`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFile {
    /// `--tls-cert`.
    pub cert: Option<PathBuf>,
    /// `--tls-key`.
    pub key: Option<PathBuf>,
}

/// Everything decided.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Access {
    /// Of admins; without any, everybody on this machine is one.
    pub secrets: Secrets,
    /// Before every path: empty, or `/oriel`.
    pub base_path: String,
    /// Names by which the server is reached, in lower case.
    pub hosts: Vec<String>,
    /// Origins that may do what our own pages may.
    pub origins: Vec<String>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// HTTPS, if so.
    pub tls: Option<TlsFiles>,
    /// What REST may start.
    pub allowed: Allowed,
}

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// What admins may start by REST.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Programs; `None`: all.
    pub commands: Option<Vec<String>>,
    /// Beginnings of URLs and paths; `None`: all.
    pub inputs: Option<Vec<String>>,
}

/// Why there is no such access.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Somebody else could reach a server that trusts everybody.
    #[error(
        "refusing to listen on {0} without an admin secret, as others could reach it: set ORIEL_ADMIN_SECRET or \
         ORIEL_ADMIN_SECRET_FILE (`openssl rand -hex 32` makes a good one), or listen on a loopback address, for \
         example --listen 127.0.0.1:8080"
    )]
    Open(std::net::SocketAddr),
    /// The same, through a proxy.
    #[error(
        "{0} is for a server that others reach through a proxy, which must have an admin secret: set \
         ORIEL_ADMIN_SECRET or ORIEL_ADMIN_SECRET_FILE"
    )]
    Proxied(&'static str),
    /// A file cannot be read.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A value cannot be.
    #[error("{0}")]
    Invalid(#[from] InvalidField),
}

impl Access {
    /// What flags and environment say, with what they leave open from the file.
    ///
    /// # Errors
    /// It cannot be, or is not safe on `listen`.
    pub fn merge(
        options: Options,
        auth: AuthFile,
        http: HttpFile,
        tls: TlsFile,
        listen: std::net::SocketAddr,
    ) -> Result<Self, AccessError> {
        let or_listed = |flags: Vec<String>, listed| if flags.is_empty() { listed } else { flags };
        let secrets_file = options.admin_secret_file.or(auth.admin_secrets_file);
        let mut secrets: Vec<_> = options.admin_secret.map_or(auth.admin_secrets, |secret| vec![secret]);
        if let Some(path) = secrets_file {
            secrets.extend(read_secrets(&path).map_err(|error| AccessError::File { path, error })?);
        }
        let secrets = Secrets::new(secrets)
            .map_err(|unfit| InvalidField::new("auth.admin_secrets", unfit.to_string()))?;
        let trusted = options.trusted_proxy;
        let access = Self {
            secrets,
            base_path: base_path(options.base_path.or(http.base_path).unwrap_or_default())?,
            hosts: hosts(or_listed(options.allowed_host, http.allowed_hosts))?,
            origins: origins(or_listed(options.allowed_origin, http.allowed_origins))?,
            trusted_proxies: if trusted.is_empty() { http.trusted_proxies } else { trusted },
            tls: tls_files(options.tls_cert.or(tls.cert), options.tls_key.or(tls.key))?,
            allowed: Allowed { commands: auth.allowed_commands, inputs: auth.allowed_inputs },
        };
        access.check(listen)?;
        Ok(access)
    }

    fn check(&self, listen: std::net::SocketAddr) -> Result<(), AccessError> {
        if !self.secrets.is_empty() {
            return Ok(());
        }
        let proxied = [
            ("http.base_path", !self.base_path.is_empty()),
            ("http.allowed_hosts", !self.hosts.is_empty()),
            ("http.trusted_proxies", !self.trusted_proxies.is_empty()),
        ];
        match proxied.into_iter().find(|(_, set)| *set) {
            _ if !listen.ip().is_loopback() => Err(AccessError::Open(listen)),
            Some((key, _)) => Err(AccessError::Proxied(key)),
            None => Ok(()),
        }
    }
}

fn read_secrets(path: &Path) -> std::io::Result<Vec<String>> {
    if std::fs::metadata(path)?.len() > MAX_SECRETS_FILE {
        return Err(std::io::Error::other(format!("has more than {MAX_SECRETS_FILE} bytes")));
    }
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match lines.map(str::to_owned).collect::<Vec<_>>() {
        // Whoever names a file wants the server locked.
        none if none.is_empty() => Err(std::io::Error::other("holds no secret")),
        secrets => Ok(secrets),
    }
}

fn base_path(text: String) -> Result<String, InvalidField> {
    let path = text.trim_matches('/');
    let segment = |segment: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
    };
    match path {
        "" => Ok(String::new()),
        path if path.split('/').all(segment) => Ok(format!("/{path}")),
        _ => Err(InvalidField::new("http.base_path", format!("must be a path like /oriel, not {text:?}"))),
    }
}

fn hosts(names: Vec<String>) -> Result<Vec<String>, InvalidField> {
    let host = |name: String| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if !name.is_empty() && name.bytes().all(allowed) {
            return Ok(name.to_ascii_lowercase());
        }
        let message = format!("must be names without scheme and port, as in oriel.example, not {name:?}");
        Err(InvalidField::new("http.allowed_hosts", message))
    };
    names.into_iter().map(host).collect()
}

fn origins(origins: Vec<String>) -> Result<Vec<String>, InvalidField> {
    let origin = |origin: String| {
        let origin = origin.to_ascii_lowercase();
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        match authority {
            Some(authority) if !authority.is_empty() && !authority.contains(['/', '@', '*', ' ']) => {
                Ok(origin)
            }
            _ => {
                let message =
                    format!("must be like https://app.example:8443, without a path, not {origin:?}");
                Err(InvalidField::new("http.allowed_origins", message))
            }
        }
    };
    origins.into_iter().map(origin).collect()
}

fn tls_files(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, InvalidField> {
    match (cert, key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (Some(_), None) => Err(InvalidField::new("tls.key", "is needed beside tls.cert")),
        (None, Some(_)) => Err(InvalidField::new("tls.cert", "is needed beside tls.key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a-secret-of-enough-length";

    fn merge(options: Options, http: HttpFile, listen: &str) -> Result<Access, AccessError> {
        Access::merge(
            options,
            AuthFile::default(),
            http,
            TlsFile::default(),
            listen.parse().expect("an address"),
        )
    }

    fn secret() -> Options {
        Options { admin_secret: Some(SECRET.into()), ..Options::default() }
    }

    #[test]
    fn what_others_can_reach_needs_a_secret_and_the_refusal_says_how() {
        for listen in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            let error = merge(Options::default(), HttpFile::default(), listen).unwrap_err();
            assert!(matches!(error, AccessError::Open(_)), "{error}");
            assert!(error.to_string().contains("ORIEL_ADMIN_SECRET"), "{error}");
            assert!(merge(secret(), HttpFile::default(), listen).is_ok());
        }
        assert!(merge(Options::default(), HttpFile::default(), "[::1]:80").unwrap().secrets.is_empty());
        for http in [
            HttpFile { base_path: Some("/x".into()), ..HttpFile::default() },
            HttpFile { allowed_hosts: vec!["a.example".into()], ..HttpFile::default() },
            HttpFile { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..HttpFile::default() },
        ] {
            let error = merge(Options::default(), http, "127.0.0.1:80").unwrap_err();
            assert!(matches!(error, AccessError::Proxied(_)), "{error}");
        }
    }

    #[test]
    fn secrets_come_from_a_file_with_comments_and_never_from_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets");
        let from = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let options = Options { admin_secret_file: Some(path.clone()), ..Options::default() };
            merge(options, HttpFile::default(), "0.0.0.0:80")
        };
        let access = from(&format!("# ours\n\n  {SECRET}  \nanother-secret-of-length\n")).unwrap();
        assert!(access.secrets.contain(SECRET) && access.secrets.contain("another-secret-of-length"));
        assert!(from("# nothing\n").unwrap_err().to_string().contains("no secret"));
        let error = from("shorty\n").unwrap_err().to_string();
        assert!(error.contains("16") && !error.contains("shorty"), "{error}");
    }

    #[test]
    fn values_are_checked_and_made_alike() {
        for (given, expected) in [("", ""), ("/", ""), ("oriel", "/oriel"), ("/a/b/", "/a/b")] {
            assert_eq!(base_path(given.into()).unwrap(), expected);
        }
        for wrong in ["/a//b", "/a/../b", "/{id}", "/a b", "https://x"] {
            assert!(base_path(wrong.into()).is_err(), "{wrong}");
        }
        assert_eq!(hosts(vec!["Oriel.Example".into()]).unwrap(), ["oriel.example"]);
        assert_eq!(origins(vec!["https://A.example:1".into()]).unwrap(), ["https://a.example:1"]);
        for wrong in ["a.example:80", "https://a.example", "", "*"] {
            assert!(hosts(vec![wrong.into()]).is_err(), "{wrong}");
        }
        for wrong in ["a.example", "https://", "https://a.example/", "*", "https://*"] {
            assert!(origins(vec![wrong.into()]).is_err(), "{wrong}");
        }
        assert!(tls_files(Some("c".into()), None).is_err() && tls_files(None, Some("k".into())).is_err());
    }
}
