//! Files in the home of a session: list, copy in and out, remove.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use common::files::{FileKind, FileList, FileUpload, encoded};
use common::id::StreamerId;
use ureq::http::header;

use super::of;
use crate::args::Files;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, Progress, table};

/// What is sent in one request, bytes: what has to be sent again when a connection breaks.
const PART: u64 = 16 << 20;
/// How often in a row a part is tried.
const ATTEMPTS: u32 = 5;

pub fn files(client: &Client, out: Output, what: Files) -> Result<(), Failure> {
    match what {
        Files::Ls { id, path } => list(client, out, &id, &path),
        Files::Get { id, path, output, zip } => get(client, out, &id, &path, output, zip),
        Files::Put { id, file, path } => put(client, out, &id, &file, path),
        Files::Mkdir { id, path } => {
            client.send("PUT", &at(&id, &format!("{path}/")), None)?;
            out.done(&format!("{path} is there"))
        }
        Files::Rm { id, path, recursive } => {
            let query = if recursive { "?recursive=true" } else { "" };
            client.delete(&format!("{}{query}", at(&id, &path)))?;
            out.done(&format!("{path} is removed"))
        }
    }
}

/// The route of a path below the home, where one slash is as good as two.
fn at(id: &StreamerId, path: &str) -> String {
    let names = path.split('/').filter(|name| !name.is_empty());
    let mut route = names.map(|name| encoded(name.as_bytes())).collect::<Vec<_>>().join("/");
    if path.ends_with('/') && !route.is_empty() {
        route.push('/');
    }
    of(id, &format!("/files/{route}"))
}

/// All pages; as JSON, one a line.
fn list(client: &Client, out: Output, id: &StreamerId, path: &str) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut after = String::new();
    loop {
        let answer = client.get(&format!("{}?limit=1000{after}", at(id, path)))?;
        // A file may be JSON as well, but it is one to be saved.
        let page =
            answer.json::<FileList>().map_err(|_| Failure::Usage(format!("{path} is no directory")))?;
        if out.json {
            out.answer(&answer, || Ok(String::new()))?;
        }
        rows.extend(page.entries.into_iter().map(|entry| {
            let slash = if entry.kind == FileKind::Directory { "/" } else { "" };
            let size = if entry.kind == FileKind::File { entry.size.to_string() } else { String::new() };
            vec![size, entry.modified.format("%Y-%m-%d %H:%M").to_string(), format!("{}{slash}", entry.name)]
        }));
        match page.next {
            // It is encoded once already, and is the value of a parameter.
            Some(next) => after = format!("&after={}", next.replace('%', "%25")),
            None if out.json => return Ok(()),
            None => return out.line(&table(&["BYTES", "MODIFIED", "NAME"], rows, "empty")),
        }
    }
}

fn get(
    client: &Client,
    out: Output,
    id: &StreamerId,
    path: &str,
    output: Option<PathBuf>,
    zip: bool,
) -> Result<(), Failure> {
    let name = path.rsplit('/').find(|name| !name.is_empty()).unwrap_or(id.as_str());
    let query = if zip { "?archive=zip" } else { "" };
    let route = format!("{}{query}", at(id, path));
    let file = output.unwrap_or_else(|| if zip { format!("{name}.zip") } else { name.to_owned() }.into());
    if file == Path::new("-") {
        return client.download(&route, &mut io::stdout().lock());
    }
    let _progress = Progress::start(&format!("{path} to {}", file.display()));
    let failed = |error| Failure::file(&file, error);
    // Beside it first: what breaks off leaves what was there before.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    client.download(&route, temporary.as_file_mut())?;
    temporary.as_file_mut().flush().map_err(failed)?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    temporary.as_file().set_permissions(permissions).map_err(failed)?;
    temporary.persist(&file).map_err(|error| failed(error.error))?;
    out.done(&format!("{} is there", file.display()))
}

fn put(
    client: &Client,
    out: Output,
    id: &StreamerId,
    file: &Path,
    path: Option<String>,
) -> Result<(), Failure> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| Failure::Usage(format!("{} is no file", file.display())))?;
    let path = match path {
        None => name,
        Some(path) if path.ends_with('/') => format!("{path}{name}"),
        Some(path) => path,
    };
    let route = at(id, &path);
    let failed = |error| Failure::file(file, error);
    let mut source = File::open(file).map_err(failed)?;
    let metadata = source.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Failure::Usage(format!("{} is no regular file", file.display())));
    }
    let total = metadata.len();
    let _progress = Progress::start(&format!("{} to {path}", file.display()));
    if total <= PART {
        let mut whole = Vec::new();
        source.read_to_end(&mut whole).map_err(failed)?;
        client.send("PUT", &route, Some(("application/octet-stream", whole)))?;
    } else {
        parts(client, &route, total, |offset, len| part(&source, offset, len).map_err(failed))?;
    }
    out.done(&format!("{path} is there"))
}

/// Sends a file in parts, from where an earlier try has ended. `read`: its bytes at an offset.
fn parts(
    client: &Client,
    route: &str,
    total: u64,
    read: impl Fn(u64, u64) -> Result<Vec<u8>, Failure>,
) -> Result<(), Failure> {
    let send = |range: String, body: Vec<u8>| {
        let headers = [(header::CONTENT_RANGE, range)];
        client.send_with("PUT", route, &headers, Some(("application/octet-stream", body)))
    };
    let mut attempts = 0;
    // Not known, after an interruption as well.
    let mut offset = None;
    loop {
        let sent = match offset {
            None => send(format!("bytes */{total}"), Vec::new()),
            Some(offset) => {
                let len = PART.min(total - offset);
                send(format!("bytes {offset}-{}/{total}", offset + len - 1), read(offset, len)?)
            }
        };
        match sent {
            // Anything but the state of an upload describes the file that it has become.
            Ok(answer) => match answer.json::<FileUpload>() {
                Ok(upload) => {
                    attempts = 0;
                    offset = Some(upload.received.min(total));
                }
                Err(_) => return Ok(()),
            },
            Err(Failure::Unreachable { .. } | Failure::TimedOut(_)) if attempts < ATTEMPTS => {
                attempts += 1;
                offset = None;
            }
            Err(failure) => return Err(failure),
        }
    }
}

fn part(file: &File, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, offset)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_encoded_once_and_stays_below() {
        let id = StreamerId::parse("a").unwrap();
        for (path, expected) in [
            ("", "/api/streamers/a/files/"),
            ("/", "/api/streamers/a/files/"),
            ("b c/grüße?", "/api/streamers/a/files/b%20c/gr%C3%BC%C3%9Fe%3F"),
            ("//etc//", "/api/streamers/a/files/etc/"),
        ] {
            assert_eq!(at(&id, path), expected);
        }
    }
}
