//! Files in the home of a session: what goes in and out, what does not get out of the home, and what is left of what breaks off.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::api::Token;
use common::audit::{AuditAction, AuditList};
use common::files::{FileEntry, FileKind, FileList, FileUpload};
use harness::server::Answer;
use harness::{Server, binary, eventually};
use serde_json::json;

const SECRET: &str = "an-admin-secret-of-a-test";
const BYTES: &str = "application/octet-stream";
const FILES: &str = "/api/streamers/desk/files";

/// A desktop, and its home.
fn desk(server: &Server) -> PathBuf {
    server.create(
        "desk",
        json!({ "type": "desktop", "width": 320, "height": 240, "command": ["sleep", "1000"] }),
    );
    server.state_dir().join("homes/session/desk")
}

fn put(server: &Server, path: &str, content: &[u8]) -> Answer {
    server.send("PUT", &format!("{FILES}/{path}"), BYTES, content)
}

fn list(server: &Server, path: &str) -> FileList {
    server.get(&format!("{FILES}/{path}")).expect(200).json()
}

fn names(list: &FileList) -> Vec<&str> {
    list.entries.iter().map(|entry| entry.name.as_str()).collect()
}

/// Status and code of a refusal.
fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.problem().code)
}

#[test]
fn files_go_in_and_out_whole_and_in_parts() {
    let server = Server::start();
    let home = desk(&server);
    let made: FileEntry = put(&server, "gr%C3%BC%C3%9Fe.txt", b"hello files").expect(201).json();
    assert_eq!((made.name.as_str(), made.size, made.kind), ("grüße.txt", 11, FileKind::File));
    assert_eq!(fs::read(home.join("grüße.txt")).unwrap(), b"hello files");
    put(&server, &made.path, b"hello again").expect(200);

    let read = server.get(&format!("{FILES}/{}", made.path)).expect(200);
    assert_eq!(
        (read.body.as_slice(), read.content_type.as_str()),
        (&b"hello again"[..], "text/plain; charset=utf-8")
    );
    let etag = read.etag.unwrap();
    let with =
        |name, value: &str| server.send_with("GET", &format!("{FILES}/{}", made.path), &[(name, value)], &[]);
    with("if-none-match", &etag).expect(304);
    assert_eq!(with("range", "bytes=6-").expect(206).body, b"again");
    assert_eq!(refused(&with("range", "bytes=99-")), (416, "range_not_satisfiable".into()));
    let kept = server.send_with("PUT", &format!("{FILES}/{}", made.path), &[("if-none-match", "*")], b"x");
    assert_eq!(refused(&kept), (412, "file_exists".into()));

    // A page of a session's is nobody's page.
    put(&server, "page.html", b"<script>alert(1)</script>").expect(201);
    let raw = raw_get(&server, &format!("{FILES}/page.html"));
    for header in [
        "content-type: application/octet-stream",
        "content-disposition: attachment; filename=\"page.html\"",
        "content-security-policy: sandbox; default-src 'none'",
        "x-content-type-options: nosniff",
    ] {
        assert!(raw.contains(header), "{header}: {raw}");
    }

    server.send("PUT", &format!("{FILES}/folder/"), "", &[]).expect(201);
    server.send("PUT", &format!("{FILES}/folder/"), "", &[]).expect(200);
    put(&server, "folder/b", b"b").expect(201);
    fs::write(home.join("folder").join(OsStr::from_bytes(b"caf\xe9")), "latin").unwrap();
    symlink("/etc/passwd", home.join("folder/link")).unwrap();
    let pages = |after: &str| list(&server, &format!("folder/?limit=2{after}"));
    let first = pages("");
    assert_eq!(names(&first), ["b", "caf\u{fffd}"]);
    assert_eq!(first.entries[1].path, "folder/caf%E9");
    let second = pages(&format!("&after={}", first.next.unwrap().replace('%', "%25")));
    assert_eq!((names(&second), &second.next), (vec!["link"], &None));
    assert_eq!(second.entries[0].kind, FileKind::Link);
    assert_eq!(server.get(&format!("{FILES}/folder/caf%E9")).expect(200).body, b"latin");

    // In parts: an interruption is asked about, and leaves nothing to be seen.
    let part = |range: &str, content: &[u8]| {
        let headers = [("content-type", BYTES), ("content-range", range)];
        server.send_with("PUT", &format!("{FILES}/folder/parts"), &headers, content)
    };
    assert_eq!(part("bytes */10", b"").expect(202).json::<FileUpload>().received, 0);
    assert_eq!(
        part("bytes 0-3/10", b"0123").expect(202).json::<FileUpload>(),
        FileUpload { received: 4, total: 10 }
    );
    assert_eq!(refused(&part("bytes 6-9/10", b"6789")), (409, "wrong_offset".into()));
    assert_eq!(refused(&part("bytes 4-9/10", b"4")), (400, "invalid_field".into()));
    assert_eq!(part("bytes */10", b"").expect(202).json::<FileUpload>().received, 4);
    assert!(!names(&list(&server, "")).contains(&".oriel-uploads") && !home.join("folder/parts").exists());
    let forget = |total: &str| {
        server.send_with("DELETE", &format!("{FILES}/folder/parts"), &[("content-range", total)], b"")
    };
    assert_eq!(refused(&forget("bytes */11")), (404, "file_not_found".into()));
    forget("bytes */10").expect(204);
    assert_eq!(refused(&part("bytes 4-9/10", b"456789")), (409, "wrong_offset".into()));
    part("bytes 0-3/10", b"0123").expect(202);
    part("bytes 4-9/10", b"456789").expect(201);
    assert_eq!(fs::read(home.join("folder/parts")).unwrap(), b"0123456789");
    assert!(!home.join(".oriel-uploads").exists());

    let archive = server.get(&format!("{FILES}/folder?archive=zip")).expect(200);
    assert_eq!(archive.content_type, "application/zip");
    let script = "import io, sys, zipfile; z = zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read())); z.testzip() and sys.exit(1); \
                  print({i.filename: z.read(i).decode() for i in z.infolist()})";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(&archive.body).unwrap();
    let listed = python.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&listed.stdout).trim(),
        "{'b': 'b', 'caf%E9': 'latin', 'parts': '0123456789'}"
    );

    let delete = |path: &str| server.delete(&format!("{FILES}/{path}"));
    assert_eq!(refused(&delete("folder")), (409, "directory_not_empty".into()));
    delete("folder?recursive=true").expect(204);
    assert!(!home.join("folder").exists() && fs::metadata("/etc/passwd").is_ok());
    assert_eq!(refused(&delete("folder")), (404, "file_not_found".into()));
    assert_eq!(refused(&delete("")), (400, "bad_path".into()));
    let trail: AuditList = server.get("/api/streamers/desk/audit").expect(200).json();
    let what: Vec<_> = trail.entries.iter().map(|entry| (entry.action, entry.detail.as_deref())).collect();
    for entry in [
        (AuditAction::FileDeleted, Some("folder")),
        (AuditAction::FileWritten, Some("folder/parts")),
        (AuditAction::FileRead, Some("page.html")),
        (AuditAction::FileRead, Some("folder/")),
    ] {
        assert!(what.contains(&entry), "{entry:?} in {what:?}");
    }
    the_command_line_copies(&server, &home);
}

/// Also a file that takes several requests.
fn the_command_line_copies(server: &Server, home: &std::path::Path) {
    let folder = tempfile::tempdir().unwrap();
    let oriel = |arguments: &[&str]| {
        let mut command = Command::new(binary("oriel"));
        command
            .env("ORIEL_URL", server.url(""))
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .current_dir(folder.path());
        let output = command.arg("files").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let large: Vec<u8> = (0..17_u32 << 18).flat_map(u32::to_le_bytes).collect();
    fs::write(folder.path().join("large"), &large).unwrap();
    oriel(&["mkdir", "desk", "in"]);
    oriel(&["put", "desk", "large", "in/"]);
    assert_eq!(fs::read(home.join("in/large")).unwrap(), large);
    oriel(&["get", "desk", "in/large", "-o", "back"]);
    assert_eq!(fs::read(folder.path().join("back")).unwrap(), large);
    let listed = oriel(&["ls", "desk", "in"]);
    assert!(listed.contains("large") && listed.contains("17825792"), "{listed}");
    oriel(&["rm", "-r", "desk", "in"]);
    assert!(!home.join("in").exists());
}

/// A response as it is on the wire, in lower case.
fn raw_get(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).to_lowercase()
}

#[test]
fn nothing_leads_out_of_the_home_and_what_is_no_file_is_not_opened() {
    let server = Server::start();
    let home = desk(&server);
    let outside = server.state_dir().join("homes/session/secret");
    fs::write(&outside, "treasure").unwrap();
    symlink(&outside, home.join("link")).unwrap();
    symlink("..", home.join("up")).unwrap();
    symlink("/dev/zero", home.join("zero")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, home.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    fs::create_dir(home.join("empty")).unwrap();
    for (path, status, code) in [
        ("../secret", 400, "bad_path"),
        ("%2e%2e/secret", 400, "bad_path"),
        ("empty%2f..%2f..%2fsecret", 400, "bad_path"),
        ("/etc/passwd", 400, "bad_path"),
        ("a%00b", 400, "bad_path"),
        (".oriel-uploads/x", 400, "bad_path"),
        (&"n".repeat(300), 400, "name_too_long"),
        ("link", 409, "is_a_link"),
        ("up/secret", 409, "is_a_link"),
        ("zero", 409, "is_a_link"),
        ("pipe", 409, "not_a_file"),
        ("none", 404, "file_not_found"),
        ("none/below", 404, "file_not_found"),
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let of_a_link = matches!(path, "link" | "zero" | "pipe") && method == "DELETE";
            let makes = path == "none" && method == "PUT";
            if of_a_link || makes {
                continue;
            }
            let answer = server.send(method, &format!("{FILES}/{path}"), BYTES, b"");
            assert_eq!(refused(&answer), (status, code.into()), "{method} {path}");
        }
    }
    assert_eq!(refused(&put(&server, "empty", b"x")), (409, "is_a_directory".into()));
    assert_eq!(refused(&put(&server, "pipe/x", b"x")), (409, "not_a_directory".into()));
    // What a link is called can go; what it leads to stays.
    for name in ["link", "zero", "pipe", "up"] {
        server.delete(&format!("{FILES}/{name}?recursive=true")).expect(204);
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), "treasure");
    assert_eq!(names(&list(&server, "")).iter().filter(|name| **name == "link").count(), 0);

    // A directory as large as they come is read page by page.
    for n in 0..3000 {
        fs::write(home.join("empty").join(format!("{n:05}")), "").unwrap();
    }
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page = list(&server, &format!("empty?limit=1000{after}"));
        all.extend(page.entries.into_iter().map(|entry| entry.name));
        let Some(next) = page.next else { break };
        after = format!("&after={next}");
    }
    assert_eq!(all, (0..3000).map(|n| format!("{n:05}")).collect::<Vec<_>>());
    let problem = server.get(&format!("{FILES}/empty?limit=5000")).expect(400).problem();
    assert_eq!(problem.field.as_deref(), Some("limit"));

    server.create("camera", json!({ "type": "test", "width": 160, "height": 90 }));
    assert_eq!(refused(&server.get("/api/streamers/camera/files/")), (404, "no_home".into()));
}

#[test]
fn who_steers_writes_as_much_as_is_allowed_and_nobody_else_anything() {
    let mut server = Server::start_with(&[
        ("ORIEL_ADMIN_SECRET", SECRET),
        ("ORIEL_FILES_MAX_UPLOAD_MB", "1"),
        ("ORIEL_FILES_QUOTA_MB", "2"),
    ]);
    server.use_token(SECRET);
    let home = desk(&server);
    let token = |role: &str| {
        let made = server.post("/api/streamers/desk/tokens", &json!({ "role": role })).expect(201);
        made.json::<Token>().token
    };
    let with = |token: &str, method: &str, length: usize| {
        let bearer = format!("Bearer {token}");
        let headers = [("content-type", BYTES), ("authorization", bearer.as_str())];
        server.send_with(method, &format!("{FILES}/file"), &headers, &vec![7; length])
    };
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(refused(&with(&token("viewer"), method, 0)), (403, "forbidden".into()), "{method}");
        let stranger = server.send_with(method, &format!("{FILES}/file"), &[], &[]);
        assert_eq!(refused(&stranger), (401, "unauthorized".into()), "{method}");
    }
    let controller = token("controller");
    with(&controller, "PUT", 1 << 20).expect(201);
    assert_eq!(refused(&with(&controller, "PUT", (1 << 20) + 1)), (413, "file_too_large".into()));
    // What is replaced is there until the other one is complete.
    with(&controller, "PUT", 900_000).expect(200);
    fs::write(home.join("more"), vec![1; 1 << 20]).unwrap();
    assert_eq!(refused(&with(&controller, "PUT", 400_000)), (507, "over_quota".into()));
    with(&controller, "DELETE", 0).expect(204);

    // A body that breaks off is no file, and leaves nothing.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head =
        format!("PUT {FILES}/broken HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\n");
    write!(stream, "{head}Content-Length: 500000\r\n\r\n{}", "x".repeat(100_000)).unwrap();
    eventually("it has begun", || home.join(".oriel-uploads").exists().then_some(()));
    drop(stream);
    eventually("nothing is left of it", || (!home.join(".oriel-uploads").exists()).then_some(()));
    assert!(!home.join("broken").exists());
    // What needs no more than is left is taken without its length, too.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(
        stream,
        "{}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        head.replace("broken", "chunked")
    )
    .unwrap();
    eventually("it is there", || (fs::read(home.join("chunked")).ok()? == b"hello").then_some(()));

    server.configure("files: {access: read}");
    server.kill();
    server.start_again();
    eventually("it is adopted", || (server.get(&format!("{FILES}/")).status == 200).then_some(()));
    assert_eq!(refused(&put(&server, "file", b"x")), (403, "files_off".into()));
}
