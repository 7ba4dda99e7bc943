//! `files:`: what may be done with the files of sessions.

use clap::{Args, ValueEnum};
use common::spec::InvalidField;
use serde::{Deserialize, Serialize};

const MB: u64 = 1024 * 1024;
/// Longest upload unless configured, MiB: more than fits on a DVD.
const MAX_UPLOAD_MB: u64 = 8 * 1024;
/// Most that can be configured, MiB: an exbibyte, with which sums do not overflow.
const MOST_MB: u64 = 1024 * 1024 * 1024 * 1024;

/// What controllers may do with the files in the home of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum FileAccess {
    /// Nothing.
    None,
    /// List and read them.
    Read,
    /// All.
    #[default]
    Write,
}

/// `files:` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// `--files-access`.
    pub access: Option<FileAccess>,
    /// `--files-max-upload-mb`.
    pub max_upload_mb: Option<u64>,
    /// `--files-quota-mb`.
    pub quota_mb: Option<u64>,
}

/// Settings from flags and environment, completed from the file.
#[derive(Debug, Default, Args)]
#[group(skip)]
pub struct Options {
    /// What controllers may do with the files in the home of a session: `none`, `read` or `write` [default: write]
    #[arg(long, env = "ORIEL_FILES_ACCESS", value_name = "WHAT")]
    pub files_access: Option<FileAccess>,

    /// Longest file that can be uploaded, MiB [default: 8192]
    #[arg(long, env = "ORIEL_FILES_MAX_UPLOAD_MB", value_name = "MB")]
    pub files_max_upload_mb: Option<u64>,

    /// No upload makes the home of a session larger than this, MiB [default: not limited]
    #[arg(long, env = "ORIEL_FILES_QUOTA_MB", value_name = "MB")]
    pub files_quota_mb: Option<u64>,
}

impl Options {
    /// These settings; absent ones are taken from the file.
    pub fn over(self, file: File) -> Self {
        Self {
            files_access: self.files_access.or(file.access),
            files_max_upload_mb: self.files_max_upload_mb.or(file.max_upload_mb),
            files_quota_mb: self.files_quota_mb.or(file.quota_mb),
        }
    }
}

/// The settings of this section, with defaults and bounds applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Files {
    /// What controllers may do.
    pub access: FileAccess,
    /// Longest upload, MiB.
    pub max_upload_mb: u64,
    /// Most that a home may hold after an upload, MiB.
    pub quota_mb: Option<u64>,
}

impl Default for Files {
    fn default() -> Self {
        Self { access: FileAccess::default(), max_upload_mb: MAX_UPLOAD_MB, quota_mb: None }
    }
}

impl Files {
    /// Applies defaults and checks bounds.
    ///
    /// # Errors
    /// A value is out of bounds.
    pub fn decide(options: &Options) -> Result<Self, InvalidField> {
        let within = |field, value: u64| match (1..=MOST_MB).contains(&value) {
            true => Ok(value),
            false => Err(InvalidField::new(field, format!("must be from 1 to {MOST_MB}, not {value}"))),
        };
        let quota = options.files_quota_mb.map(|value| within("files.quota_mb", value));
        Ok(Self {
            access: options.files_access.unwrap_or_default(),
            max_upload_mb: within(
                "files.max_upload_mb",
                options.files_max_upload_mb.unwrap_or(MAX_UPLOAD_MB),
            )?,
            quota_mb: quota.transpose()?,
        })
    }

    /// Longest upload, bytes.
    pub fn max_upload_bytes(self) -> u64 {
        self.max_upload_mb * MB
    }

    /// Most that a home may hold after an upload, bytes.
    pub fn quota_bytes(self) -> Option<u64> {
        self.quota_mb.map(|quota| quota * MB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_its_name() {
        let refused = |options: Options| Files::decide(&options).unwrap_err().field;
        assert_eq!(
            refused(Options { files_max_upload_mb: Some(0), ..Options::default() }),
            "files.max_upload_mb"
        );
        assert_eq!(
            refused(Options { files_quota_mb: Some(MOST_MB + 1), ..Options::default() }),
            "files.quota_mb"
        );
        let most = Options { files_max_upload_mb: Some(MOST_MB), ..Options::default() };
        assert_eq!(Files::decide(&most).unwrap().max_upload_bytes(), MOST_MB * MB);
    }
}
