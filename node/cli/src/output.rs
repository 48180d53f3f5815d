//! Printing: data to stdout in the shape that was asked for, talk to stderr.

use std::io::{self, ErrorKind, Write};

use clap::ValueEnum;
use serde_json::Value;

use crate::fail::{Done, Fail};

/// The shapes that data can be printed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// More columns
    Wide,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
    /// Names only, one a line
    Name,
}

/// A column of a table: what stands above it, and what of an object stands in it.
pub(crate) struct Column {
    pub(crate) head: &'static str,
    pub(crate) wide: bool,
    pub(crate) cell: fn(&Value) -> String,
}

/// A column that people always see.
pub(crate) const fn column(head: &'static str, cell: fn(&Value) -> String) -> Column {
    Column { head, wide: false, cell }
}

/// A column that is seen when more is asked for.
pub(crate) const fn wide(head: &'static str, cell: fn(&Value) -> String) -> Column {
    Column { head, wide: true, cell }
}

/// Says something to whoever runs the command. That nobody listens is no error.
pub(crate) fn talk(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints bytes as they are.
pub(crate) fn bytes(data: &[u8]) -> Done {
    let mut stdout = io::stdout().lock();
    stdout.write_all(data).and_then(|()| stdout.flush()).map_err(refused)
}

/// Prints a line.
pub(crate) fn line(text: &str) -> Done {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints one object.
pub(crate) fn one(format: Format, object: &Value, columns: &[Column]) -> Done {
    match format {
        Format::Json => line(&format!("{object:#}")),
        _ => rows(format, std::slice::from_ref(object), columns),
    }
}

/// Prints many objects; `document` is what JSON calls them together.
pub(crate) fn many(
    format: Format,
    document: &Value,
    rows_of: &[Value],
    columns: &[Column],
) -> Done {
    match format {
        Format::Json => line(&format!("{document:#}")),
        _ => rows(format, rows_of, columns),
    }
}

fn rows(format: Format, objects: &[Value], columns: &[Column]) -> Done {
    let mut text = String::new();
    match format {
        Format::Name => {
            for object in objects {
                text.push_str(&shown(&object["name"]));
                text.push('\n');
            }
        }
        Format::Json | Format::Jsonl => {
            for object in objects {
                text.push_str(&object.to_string());
                text.push('\n');
            }
        }
        Format::Table | Format::Wide => text = table(format == Format::Wide, objects, columns),
    }
    bytes(text.as_bytes())
}

/// A table as text, a line for the heads and one for each object.
pub(crate) fn table(all: bool, objects: &[Value], columns: &[Column]) -> String {
    let columns: Vec<&Column> = columns.iter().filter(|column| all || !column.wide).collect();
    let head = columns.iter().map(|column| column.head.to_owned()).collect();
    let body =
        objects.iter().map(|object| columns.iter().map(|column| (column.cell)(object)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(body).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut shown = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            shown.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

/// A JSON value as people read it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // A line of a table stays one line, and no value moves the cursor of whoever looks at it.
        Value::String(text) => {
            text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
        }
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

fn refused(error: io::Error) -> Fail {
    match error.kind() {
        ErrorKind::BrokenPipe => Fail::PipeClosed,
        _ => Fail::io("writing to stdout")(error),
    }
}
