use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn record(id: &str) -> Record {
    let source = serde_json::from_str(r#"{"type":"rtsp","url":"rtsp://user:secret@10.0.0.7/1"}"#).unwrap();
    Record {
        id: StreamerId::parse(id).unwrap(),
        created: DateTime::from_timestamp(1_000_000_000, 5_000).unwrap(),
        spec: StreamerSpec::new(source),
        wanted: Wanted::Running,
        arrangement: Arrangement::default(),
        history: History::default(),
        lifetime: Lifetime { idle_timeout_s: Some(60), ..Lifetime::default() },
    }
}

fn audit(id: &str, detail: usize) -> Audit {
    Audit {
        at: DateTime::from_timestamp(1_000_000_000, 0).unwrap(),
        streamer: StreamerId::parse(id).unwrap(),
        action: AuditAction::Joined,
        by: "peer".into(),
        detail: Some(detail.to_string()),
    }
}

fn opened(dir: &Path) -> (Store, Vec<Record>) {
    Store::open(dir).unwrap()
}

#[tokio::test]
async fn what_was_put_is_there_when_it_is_opened_again_and_what_was_removed_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, records) = opened(dir.path());
    assert_eq!(records, []);
    let ended = Record { wanted: Wanted::Ended, ..record("b") };
    for put in [record("a"), record("b"), ended.clone(), record("c")] {
        store.put(put);
    }
    store.remove(record("c").id);
    store.flushed().await.unwrap();
    // As after a crash: the first is still open.
    assert_eq!(opened(dir.path()).1, [record("a"), ended]);
    store.replace_all(vec![record("d")]);
    store.flushed().await.unwrap();
    assert_eq!(opened(dir.path()).1, [record("d")]);
}

#[tokio::test]
async fn only_its_owner_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = opened(dir.path());
    store.put(record("a"));
    store.flushed().await.unwrap();
    for file in fs::read_dir(dir.path()).unwrap().flatten() {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn the_trail_of_a_streamer_is_bounded_and_read_in_pages_from_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = opened(dir.path());
    store.audit(audit("quiet", 7));
    for n in 0..2_500 {
        store.audit(audit("busy", n));
        if n % 500 == 0 {
            store.flushed().await.unwrap();
        }
    }
    store.flushed().await.unwrap();
    let id = |id| StreamerId::parse(id).unwrap();
    let mut all = Vec::new();
    loop {
        let before = all.last().map(|entry: &AuditEntry| entry.seq);
        let page = store.trail(id("busy"), before, 900).await.unwrap();
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    assert_eq!(all.len(), 2_000);
    let details: Vec<_> = all.iter().map(|entry| entry.detail.clone().unwrap()).collect();
    assert_eq!((details[0].as_str(), details[1_999].as_str()), ("2499", "500"));
    let quiet = store.trail(id("quiet"), None, 10).await.unwrap();
    assert_eq!((quiet.len(), quiet[0].action, quiet[0].at), (1, AuditAction::Joined, audit("quiet", 7).at));
    assert_eq!(store.trail(id("nobody"), None, 10).await, Ok(vec![]));
}

fn refused(dir: &Path) -> StoreError {
    Store::open(dir).err().expect("it must not be opened")
}

fn assert_untouched(dir: &Path, bytes: &[u8]) {
    assert_eq!(fs::read(dir.join(FILE)).unwrap(), bytes);
    let names: Vec<_> = fs::read_dir(dir).unwrap().flatten().map(|file| file.file_name()).collect();
    assert_eq!(names, [FILE], "nothing is left beside it");
}

#[test]
fn what_is_damaged_newer_or_of_another_program_is_refused_and_not_touched() {
    let make = |text: &str| {
        let dir = tempfile::tempdir().unwrap();
        let connection = Connection::open(dir.path().join(FILE)).unwrap();
        connection.execute_batch(text).unwrap();
        drop(connection);
        dir
    };
    let newer = make("PRAGMA application_id = 0x4f726965; PRAGMA user_version = 99; CREATE TABLE t (a);");
    let foreign = make("CREATE TABLE bookmarks (url);");
    for (dir, expected) in [(newer, "newer version (schema 99"), (foreign, "another program")] {
        let bytes = fs::read(dir.path().join(FILE)).unwrap();
        let error = refused(dir.path()).to_string();
        assert!(error.contains(expected), "{error}");
        assert_untouched(dir.path(), &bytes);
    }
}

#[test]
fn damage_anywhere_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    {
        let mut connection = open(&path).unwrap();
        schema::prepare(&mut connection).unwrap();
        let put = "INSERT INTO streamer VALUES (?1, '2026-01-01T00:00:00Z', 'running', ?1, '{}', '{}', '{}')";
        let transaction = connection.transaction().unwrap();
        for n in 0..500 {
            transaction.execute(put, [format!("{n:0100}")]).unwrap();
        }
        transaction.commit().unwrap();
    }
    let good = fs::read(&path).unwrap();
    for at in [0, 100, good.len() / 2] {
        let mut bad = good.clone();
        for byte in bad[at..].iter_mut().take(2000) {
            *byte = 0xa5;
        }
        fs::write(&path, &bad).unwrap();
        let error = refused(dir.path());
        assert!(matches!(error, StoreError::Damaged(_)), "damaged at {at}: {error:?}");
        assert_untouched(dir.path(), &bad);
    }
}

#[test]
fn a_row_that_means_nothing_is_named_and_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    drop(opened(dir.path()));
    let connection = Connection::open(dir.path().join(FILE)).unwrap();
    connection
        .execute("INSERT INTO streamer VALUES ('odd', 'today', 'running', '{}', '{}', '{}', '{}')", [])
        .unwrap();
    let error = refused(dir.path()).to_string();
    assert!(error.contains("odd") && error.contains("created"), "{error}");
    let left: i64 = connection.query_row("SELECT count(*) FROM streamer", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 1);
}

/// A disk that is full: no page can be added to the file.
#[tokio::test]
async fn while_the_disk_is_full_all_goes_on_and_afterwards_all_is_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = open(&dir.path().join(FILE)).unwrap();
    schema::prepare(&mut connection).unwrap();
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    connection.pragma_update(None, "max_page_count", pages).unwrap();
    let (writes, queue) = mpsc::channel(QUEUE);
    let health = watch::Sender::new(Health::Good);
    let mut worker = worker::Worker::new(connection, queue, health.clone());
    let store = Store { writes, health, changes: watch::Sender::new(0) };

    let large = |n: usize| {
        let mut record = record(&format!("s{n}"));
        record.spec = StreamerSpec::new(
            serde_json::from_value(serde_json::json!({
                "type": "desktop", "command": "x".repeat(10_000),
            }))
            .unwrap(),
        );
        record
    };
    let records: Vec<_> = (0..20).map(large).collect();
    for record in &records {
        store.put(record.clone());
    }
    store.audit(audit("s0", 1));
    worker.take_all();
    let Health::Degraded { reason, .. } = store.health().borrow().clone() else { panic!("it is full") };
    assert!(reason.contains("full"), "{reason}");
    let not_flushed = store.flushed_by(&mut worker).await.unwrap_err();
    assert_eq!(not_flushed.to_string(), reason, "nobody takes for kept what is not");

    // One that would fit does not make it whole.
    worker.allow_pages(100_000);
    store.put(record("one"));
    worker.take_all();
    assert_ne!(*store.health().borrow(), Health::Good);
    store.replace_all(records.clone());
    assert_eq!(store.flushed_by(&mut worker).await, Ok(()));
    assert_eq!(*store.health().borrow(), Health::Good);
    drop(store);
    let (store, mut kept) = opened(dir.path());
    kept.sort_by(|a, b| {
        a.created.cmp(&b.created).then_with(|| a.id.as_str().len().cmp(&b.id.as_str().len()))
    });
    assert_eq!(kept.len(), records.len());
    let trail = store.trail(StreamerId::parse("s0").unwrap(), None, 10).await.unwrap();
    assert_eq!(trail.len(), 1, "entries wait until there is room");
}

impl Store {
    /// Answers as the thread would.
    async fn flushed_by(&self, worker: &mut worker::Worker) -> Result<(), NotFlushed> {
        let (done, flushed) = oneshot::channel();
        self.writes.send(Write::Flush(done)).await.ok().unwrap();
        worker.take_all();
        flushed.await.unwrap()
    }
}
