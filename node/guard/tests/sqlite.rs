//! The statements for SQLite, run by the real thing, in the orders that hurt.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Session, filled};

const SCHEMA: &str = include_str!("../sql/sqlite_schema.sql");
const ADMIT: &str = include_str!("../sql/sqlite_admit.sql");
const COLUMN: &str = include_str!("../sql/column.sql");
const ACCOUNTS: &str = "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER, \
                        fence INTEGER NOT NULL DEFAULT 0);
                        INSERT INTO account VALUES (1, 0, 0), (2, 0, 0);";

/// Takes statements as a shell does. `timeout=0`: who is locked out hears of it at once.
const SHELL: &str = r"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
sql = ''
for line in sys.stdin:
    if line.startswith('\\echo '):
        print(line[6:].strip(), flush=True)
        continue
    sql += line
    if sqlite3.complete_statement(sql):
        try:
            for row in db.execute(sql):
                print(*row, sep='|')
        except sqlite3.Error as error:
            print('ERROR:', error)
        sql = ''
";

/// How an owner makes sure that it is still the owner.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Check {
    Without,
    /// It looks at the epoch, and writes when that was fine.
    Looks,
    Admits,
}

fn is_here() -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", "import sqlite3"]).stdout(Stdio::null()).stderr(Stdio::null());
    let here = python.status().is_ok_and(|status| status.success());
    if !here {
        eprintln!("python3 with sqlite3 is not here: the statements for SQLite were not run");
    }
    here
}

fn session(file: &Path) -> Session {
    Session::start(Command::new("python3").args(["-u", "-c", SHELL]).arg(file))
}

/// Two owners on a fresh database that the old one has written to already.
fn owners(dir: &Path) -> (Session, Session) {
    let file = dir.join("accounts.db");
    let (mut old, new) = (session(&file), session(&file));
    assert_eq!(old.ask(SCHEMA), "");
    assert_eq!(old.ask(ACCOUNTS), "");
    assert_eq!(old.ask(&admit(17)), "");
    (old, new)
}

fn admit(epoch: u64) -> String {
    filled(ADMIT, &[("name", "'billing'"), ("epoch", &epoch.to_string())])
}

fn set(balance: u64) -> String {
    format!("UPDATE account SET balance = {balance} WHERE id = 1;")
}

/// The old owner checks, is paused, and wakes up after the new one has written. Gives what stays.
fn woken_too_late(check: Check) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, mut new) = owners(dir.path());
    let fence = "SELECT epoch <= 17 FROM quorate_fence WHERE name = 'billing';";
    if check == Check::Looks {
        assert_eq!(old.ask(fence), "1", "it is the owner when it looks");
    }
    assert_eq!(new.ask(&format!("BEGIN IMMEDIATE;\n{}\n{}\nCOMMIT;", admit(18), set(2))), "");
    let admitted = match check {
        Check::Without | Check::Looks => true,
        Check::Admits => {
            let said = old.ask(&format!("BEGIN IMMEDIATE;\n{}", admit(17)));
            assert!(said.contains("stale epoch"), "{said}");
            false
        }
    };
    if admitted {
        assert_eq!(old.ask(&set(1)), "");
    } else {
        assert_eq!(old.ask("ROLLBACK;"), "");
    }
    new.ask("SELECT balance FROM account WHERE id = 1;")
}

#[test]
fn an_owner_that_wakes_up_too_late_writes_where_nothing_admits_it_first() {
    if is_here() {
        assert_eq!(woken_too_late(Check::Without), "1", "the stale write is there");
        assert_eq!(woken_too_late(Check::Looks), "1", "looking is no admission");
        assert_eq!(woken_too_late(Check::Admits), "2");
    }
}

#[test]
fn who_was_admitted_keeps_the_others_out_until_it_has_written() {
    if !is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut old, mut new) = owners(dir.path());
    assert_eq!(old.ask(&format!("BEGIN IMMEDIATE;\n{}", admit(17))), "");
    assert!(new.ask("BEGIN IMMEDIATE;").contains("locked"), "nobody comes in between");
    assert_eq!(old.ask(&format!("{}\nCOMMIT;", set(1))), "");
    assert_eq!(new.ask(&format!("BEGIN IMMEDIATE;\n{}\n{}\nCOMMIT;", admit(18), set(2))), "");
    let said = old.ask(&format!("BEGIN IMMEDIATE;\n{}", admit(17)));
    assert!(said.contains("stale epoch"), "{said}");
    assert_eq!(new.ask("SELECT epoch FROM quorate_fence;"), "18");
}

#[test]
fn a_fence_in_a_column_keeps_its_own_row_and_no_other() {
    if !is_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut old, mut new) = owners(dir.path());
    let write =
        |id, epoch, balance| filled(COLUMN, &[("id", id), ("epoch", epoch), ("balance", balance)]);
    assert_eq!(new.ask(&write("1", "18", "2")), "");
    assert_eq!(old.ask(&format!("{}\n{}", write("1", "17", "1"), write("2", "17", "1"))), "");
    let rows = new.ask("SELECT id, balance FROM account ORDER BY id;");
    assert_eq!(rows, "1|2\n2|1", "the row that the new owner had not touched is not held");
}
