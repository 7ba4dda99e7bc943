//! A secret that a setting gives, or another setting names the file of.

use std::path::{Path, PathBuf};

use common::spec::InvalidField;

/// The secret, and its file.
pub(super) type Named = (Option<String>, Option<PathBuf>);

/// What the first place names, in either way; what the second does if the first names nothing.
pub(super) fn over(first: Named, second: Named) -> Named {
    if first.0.is_some() || first.1.is_some() { first } else { second }
}

/// The secret that the setting `field` gives, or that the file has which the setting `file_field` names.
///
/// # Errors
/// Both are there, or the file cannot be read.
pub(super) fn given_or_read(
    [field, file_field]: [&'static str; 2],
    given: Option<String>,
    path: Option<&Path>,
) -> Result<Option<String>, InvalidField> {
    match (given, path) {
        (Some(_), Some(_)) => {
            Err(InvalidField::new(field, format!("is given, and {file_field} too; one is enough")))
        }
        (None, Some(path)) => read(file_field, path).map(Some),
        (given, None) => Ok(given),
    }
}

/// The secret in a file that the setting `field` names.
///
/// # Errors
/// It cannot be read.
pub(super) fn read(field: &'static str, path: &Path) -> Result<String, InvalidField> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| InvalidField::new(field, format!("{}: {error}", path.display())))?;
    Ok(text.trim().to_owned())
}
