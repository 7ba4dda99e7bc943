//! The tables, and how those of an earlier version become those of this one.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use super::StoreError;

/// Written into the file's header (`PRAGMA application_id`), so that another program's database is never taken for ours:
/// "Orie" in ASCII.
const APPLICATION_ID: i32 = 0x4f72_6965;

/// Each makes the tables of the next version from those of the one before; the first from nothing. What has been released
/// is never changed, only followed by another.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE streamer (
        id TEXT PRIMARY KEY,
        created TEXT NOT NULL,
        -- 'running', or 'ended' when it ended for good by itself
        wanted TEXT NOT NULL,
        -- JSON, with passwords
        spec TEXT NOT NULL,
        arrangement TEXT NOT NULL
    ) STRICT;
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        streamer TEXT NOT NULL,
        at TEXT NOT NULL,
        action TEXT NOT NULL,
        actor TEXT NOT NULL,
        detail TEXT
    ) STRICT;
    CREATE INDEX audit_of_streamer ON audit (streamer, seq);
",
    "
    -- JSON: how it ended and was started again
    ALTER TABLE streamer ADD COLUMN history TEXT NOT NULL DEFAULT '{}';
",
    "
    -- JSON: when it is deleted, or ends as nobody uses it; 'wanted' may be 'stopped' for the latter
    ALTER TABLE streamer ADD COLUMN lifetime TEXT NOT NULL DEFAULT '{}';
",
];

/// Version of the tables of this build.
pub const VERSION: i64 = MIGRATIONS.len() as i64;

/// Looks at what is in the file and brings its tables to [`VERSION`].
///
/// # Errors
/// It is damaged, newer, or not ours; nothing is changed then.
pub fn prepare(connection: &mut Connection) -> Result<(), StoreError> {
    let number = |connection: &Connection, name: &str| {
        connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
    };
    let version = number(connection, "user_version")?;
    let application = number(connection, "application_id")?;
    let tables =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    if application != i64::from(APPLICATION_ID) && (application, version, tables) != (0, 0, 0) {
        return Err(StoreError::Foreign);
    }
    if version > VERSION {
        return Err(StoreError::Newer { found: version });
    }
    check(connection)?;
    // Nothing is written where nothing has changed: the disk may be full.
    if version == VERSION { Ok(()) } else { migrate(connection, &MIGRATIONS) }
}

/// Reads all of the file and compares it with its indexes.
fn check(connection: &Connection) -> Result<(), StoreError> {
    let found = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        .optional()?
        .unwrap_or_default();
    match found.as_str() {
        "ok" => Ok(()),
        _ => Err(StoreError::Damaged(found)),
    }
}

/// All steps that are missing, or none.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let missing = migrations.iter().skip(usize::try_from(version).unwrap_or_default());
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", migrations.len() as i64)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database as the build of that version left it.
    pub fn at_version(version: usize) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &MIGRATIONS[..version]).unwrap();
        connection
    }

    fn schema(connection: &Connection) -> Vec<String> {
        let mut statement = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
        rows.map(|row| row.unwrap().unwrap_or_default()).collect()
    }

    #[test]
    fn every_earlier_version_becomes_this_one_and_keeps_what_is_in_it() {
        let fresh = schema(&at_version(MIGRATIONS.len()));
        for version in 1..=MIGRATIONS.len() {
            let mut old = at_version(version);
            old.execute_batch(
                "INSERT INTO streamer (id, created, wanted, spec, arrangement)
                     VALUES ('demo', '2026-01-01T00:00:00Z', 'running', '{}', '{}');
                 INSERT INTO audit (streamer, at, action, actor) VALUES ('demo', '', 'created', 'api');",
            )
            .unwrap();
            prepare(&mut old).unwrap();
            assert_eq!(schema(&old), fresh, "from version {version}");
            let count = |table| {
                old.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
                    .unwrap()
            };
            assert_eq!((count("streamer"), count("audit")), (1, 1), "from version {version}");
        }
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let mut connection = at_version(1);
        let before = schema(&connection);
        let steps = [MIGRATIONS[0], "CREATE TABLE more (a) STRICT; nonsense"];
        migrate(&mut connection, &steps).unwrap_err();
        assert_eq!(schema(&connection), before);
    }
}
