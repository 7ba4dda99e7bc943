//! What a command shows: tables for people, JSON for programs, progress while something takes long.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};

use crate::client::Answer;
use crate::failure::Failure;
use crate::text::printable;

/// Where a command's results go.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// The server's JSON is wanted.
    pub json: bool,
}

impl Output {
    /// A line.
    ///
    /// # Errors
    /// Nobody reads it.
    pub fn line(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// Nobody reads them.
    pub fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    /// The server's JSON as it came if that is wanted, otherwise what `words` makes of it.
    ///
    /// # Errors
    /// Nobody reads it; and what `words` returns.
    pub fn answer(
        self,
        answer: &Answer,
        words: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        if self.json {
            return self.line(String::from_utf8_lossy(&answer.body).trim_end());
        }
        let text = words()?;
        if text.is_empty() { Ok(()) } else { self.line(text.trim_end()) }
    }

    /// A sentence about what was done: for people only, as programs have the exit code.
    ///
    /// # Errors
    /// Nobody reads it.
    pub fn done(self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.line(text) }
    }
}

/// Rows below a heading, as wide as the terminal; as wide as they are where there is none. `empty` when there are no rows.
pub fn table(heading: &[&str], rows: Vec<Vec<String>>, empty: &str) -> String {
    let width = io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
    lay_out(heading, rows, empty, width.map(|(terminal_size::Width(columns), _)| columns))
}

fn lay_out(heading: &[&str], rows: Vec<Vec<String>>, empty: &str, columns: Option<u16>) -> String {
    if rows.is_empty() {
        return empty.to_owned();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    match columns {
        Some(columns) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
        }
        // One row is one line, for grep and awk.
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table.set_header(heading.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// `name  value` in two columns, without those that have no value.
pub fn fields(fields: &[(&str, Option<String>)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = fields.iter().filter_map(|(name, value)| {
        let value = value.as_deref()?;
        Some(format!("{name:width$}  {}", printable(value)))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Says on a terminal what is being waited for, and takes it back when dropped.
pub struct Progress {
    shown: bool,
}

impl Progress {
    /// Says so, on standard error.
    pub fn start(what: &str) -> Self {
        let shown = io::stderr().is_terminal();
        if shown {
            // Where that cannot be written, nobody misses it.
            let _ = write!(io::stderr(), "{what} …");
        }
        Self { shown }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[&[&str]]) -> Vec<Vec<String>> {
        cells.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect()
    }

    #[test]
    fn columns_are_aligned_and_wide_characters_take_two() {
        let text = lay_out(&["ID", "STATE"], rows(&[&["a", "running"], &["你好", "failed"]]), "", None);
        assert_eq!(text, "ID    STATE\na     running\n你好  failed");
    }

    #[test]
    fn a_terminal_is_never_overrun_and_a_pipe_has_one_line_a_row() {
        let long = "word ".repeat(60);
        let cells = || rows(&[&["a", &long]]);
        let narrow = lay_out(&["ID", "REASON"], cells(), "", Some(40));
        assert!(
            narrow.lines().count() > 5 && narrow.lines().all(|line| line.chars().count() <= 40),
            "{narrow}"
        );
        assert_eq!(lay_out(&["ID", "REASON"], cells(), "", None).lines().count(), 2);
    }

    #[test]
    fn nothing_is_said_in_words_and_control_characters_do_nothing() {
        assert_eq!(lay_out(&["ID"], Vec::new(), "no sessions", None), "no sessions");
        assert!(!lay_out(&["ID"], rows(&[&["a\u{1b}[2J\nb"]]), "", None).contains('\u{1b}'));
        assert_eq!(fields(&[("a", None), ("bcd", Some("x\ry".into()))]), "bcd  x y");
    }
}
