//! Named servers: `$XDG_CONFIG_HOME/oriel/contexts.toml`, which holds tokens, so that only its owner may read it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::client::Base;
use crate::failure::Failure;

/// Longest file that is read, bytes.
const MAX_LEN: u64 = 1 << 20;
/// Permissions of the file, which holds secrets.
const MODE: u32 = 0o600;

/// All of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that is used when nothing else is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By their names.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// A server, and how to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Its address.
    pub url: Base,
    /// The admin's secret, or a token for one session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Certificates that it is trusted by, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Contexts {
    /// Where the file is.
    ///
    /// # Errors
    /// There is neither `XDG_CONFIG_HOME` nor `HOME`.
    pub fn path() -> Result<PathBuf, Failure> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
        let base = base.ok_or_else(|| {
            Failure::Other("contexts are kept below XDG_CONFIG_HOME or HOME, and neither is set".into())
        })?;
        Ok(base.join("oriel").join("contexts.toml"))
    }

    /// Reads the file; there are none if there is no file.
    ///
    /// # Errors
    /// It cannot be read, or is not what it should be.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            file => file.map_err(|error| Failure::file(path, error))?,
        };
        let mut text = String::new();
        let read = file.take(MAX_LEN + 1).read_to_string(&mut text);
        read.map_err(|error| Failure::file(path, error))?;
        if text.len() as u64 > MAX_LEN {
            return Err(Failure::Other(format!("{} is longer than {MAX_LEN} bytes", path.display())));
        }
        // The parser's own message shows the line, which may hold a token.
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Failure::Other(format!("{}: line {line}: {}", path.display(), error.message()))
        })
    }

    /// Replaces the file, as a whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let failed = |error| Failure::file(path, error);
        let text = toml::to_string(self).map_err(|error| Failure::Other(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(MODE)).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// The context of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let names = self.contexts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let known =
                if names.is_empty() { "there are none yet".into() } else { format!("there are: {names}") };
            Failure::Usage(format!("there is no context {name:?}; {known}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Contexts {
        let url = Base::parse("https://example.org/oriel").unwrap();
        let context = Context { url, token: Some("s3cret".into()), ca_file: None };
        Contexts { current: Some("work".into()), contexts: BTreeMap::from([("work".into(), context)]) }
    }

    #[test]
    fn what_is_saved_is_read_again_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/contexts.toml");
        assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());
        some().save(&path).unwrap();
        assert_eq!(Contexts::load(&path).unwrap(), some());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        some().save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_broken_file_is_named_with_the_line_and_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.toml");
        fs::write(&path, "current = \"a\"\n[contexts.a]\nurl = \"http://a\"\ntokne = \"s3cret\"\n").unwrap();
        let error = Contexts::load(&path).unwrap_err().to_string();
        assert!(error.contains("contexts.toml: line 4: unknown field `tokne`"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn an_unknown_context_is_refused_with_the_known_ones() {
        let error = some().get("home").unwrap_err();
        assert_eq!(error.to_string(), "there is no context \"home\"; there are: work");
        assert_eq!(error.exit_code(), 2);
    }
}
