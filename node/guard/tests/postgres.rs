//! The statements for PostgreSQL, run by a real server, with two sessions in the orders that hurt.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

use crate::common::{PATIENCE, Session, filled};

const SCHEMA: &str = include_str!("../sql/postgres_schema.sql");
const ADMIT: &str = include_str!("../sql/postgres_admit.sql");
const RAISE: &str = include_str!("../sql/postgres_raise.sql");
const COLUMN: &str = include_str!("../sql/column.sql");
const ACCOUNTS: &str = "
    DROP TABLE IF EXISTS account, quorate_fence;
    CREATE TABLE account (id int PRIMARY KEY, balance int, fence bigint NOT NULL DEFAULT 0);
    INSERT INTO account VALUES (1, 0, 0), (2, 0, 0);";

/// Whom a server runs as that must not run as root.
const NOBODY: u32 = 65534;

/// How an owner makes sure that it is still the owner.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Check {
    Without,
    /// It looks at the epoch, and writes when that was fine.
    Looks,
    /// By the function.
    Admits,
    /// By the plain statement; it looks whether a row came back.
    Raises,
}

/// A server of its own, which ends with this.
struct Server {
    bin: PathBuf,
    child: Child,
    dir: TempDir,
}

impl Server {
    /// Starts one where PostgreSQL is installed.
    fn start() -> Option<Self> {
        let Some(bin) = installed() else {
            eprintln!("PostgreSQL is not here: its statements were not run");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        if getuid().is_root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = dir.path().join("data");
        let mut initdb = humble(&bin.join("initdb"), dir.path());
        initdb.args(["-N", "-A", "trust", "-U", "quorate", "-D"]).arg(&data).stdout(Stdio::null());
        assert!(initdb.status().unwrap().success());
        let mut postgres = humble(&bin.join("postgres"), dir.path());
        postgres.arg("-D").arg(&data).arg("-k").arg(dir.path());
        postgres.args(["-c", "listen_addresses=", "-c", "fsync=off"]).stderr(Stdio::null());
        let mut server = Self { bin, child: postgres.spawn().unwrap(), dir };
        until("the server takes sessions", || {
            assert!(server.child.try_wait().unwrap().is_none(), "the server ended");
            let mut ready = Command::new(server.bin.join("pg_isready"));
            ready.arg("-q").arg("-h").arg(server.dir.path()).status().unwrap().success()
        });
        Some(server)
    }

    fn session(&self) -> Session {
        // Errors come where rows do, in their order.
        let mut psql = Command::new("sh");
        psql.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-U", "quorate", "-d", "postgres", "-h"]);
        Session::start(psql.arg(self.dir.path()))
    }

    /// Two owners of fresh tables to which the old one has written already.
    fn owners(&self) -> (Session, Session) {
        let (mut old, new) = (self.session(), self.session());
        let said = old.ask(&format!("SET client_min_messages = error;\n{ACCOUNTS}\n{SCHEMA}"));
        assert_eq!(said, "");
        assert_eq!(old.ask(&check(Check::Admits, 17)), "");
        (old, new)
    }

    /// Waits until a session waits for another one's lock.
    fn one_waits(&self) {
        let mut onlooker = self.session();
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock';";
        until("a session waits for the other", || onlooker.ask(waiting) == "1");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // At once, and with all of its processes.
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::QUIT);
        }
        let _ = self.child.wait();
    }
}

fn installed() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    folders.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    let tools = ["initdb", "postgres", "psql", "pg_isready"];
    folders.into_iter().rev().find(|bin| tools.iter().all(|tool| bin.join(tool).exists()))
}

/// A command that is not run by root, which PostgreSQL refuses to be.
fn humble(program: &Path, dir: &Path) -> Command {
    let mut command = if getuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(dir).env("LC_ALL", "C").stdin(Stdio::null()).env("HOME", OsStr::new("/"));
    command
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let pause = std::time::Duration::from_millis(10);
    let mut waited = std::time::Duration::ZERO;
    while !is_so() {
        assert!(waited < PATIENCE, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(pause);
        waited += pause;
    }
}

fn check(check: Check, epoch: u64) -> String {
    let fence = "SELECT epoch <= :epoch FROM quorate_fence WHERE name = :name;";
    let sql = match check {
        Check::Without => "",
        Check::Looks => fence,
        Check::Admits => ADMIT,
        Check::Raises => RAISE,
    };
    filled(sql, &[("name", "'billing'"), ("epoch", &epoch.to_string())])
}

fn set(balance: u64) -> String {
    format!("UPDATE account SET balance = {balance} WHERE id = 1;")
}

/// The new owner is in the middle of its transaction when the old one, awake again, begins its own. Gives
/// what stays of the account.
fn met_in_the_middle(server: &Server, how: Check, isolation: &str) -> String {
    let (mut old, mut new) = server.owners();
    let new_check = if how == Check::Raises { Check::Raises } else { Check::Admits };
    new.ask(&format!("BEGIN;\n{}\n{}", check(new_check, 18), set(2)));
    old.send(&format!("BEGIN ISOLATION LEVEL {isolation};\n{}", check(how, 17)));
    let waits = matches!(how, Check::Admits | Check::Raises);
    if waits {
        server.one_waits();
        assert_eq!(new.ask("COMMIT;"), "");
    }
    let said = old.answer();
    if !waits {
        assert_eq!(new.ask("COMMIT;"), "");
    }
    match how {
        Check::Without => {}
        Check::Looks => assert_eq!(said, "t", "it was the owner, as far as it could see"),
        Check::Admits if isolation == "READ COMMITTED" => {
            assert!(said.contains("epoch 17 of singleton billing is stale"), "{said}");
        }
        Check::Admits => assert!(said.contains("could not serialize"), "{said}"),
        Check::Raises => assert_eq!(said, "", "no row"),
    }
    // After an error the server takes nothing more of a transaction, so that even who does not look is held.
    let (go_on, commit) = match how {
        Check::Raises => (String::new(), "ROLLBACK;"),
        _ => (set(1), "COMMIT;"),
    };
    old.ask(&format!("{go_on}\n{commit}"));
    new.ask("SELECT balance FROM account WHERE id = 1;")
}

#[test]
fn the_statements_for_postgresql_hold_a_stale_owner() {
    let Some(server) = Server::start() else { return };
    two_owners_in_one_moment(&server);
    who_was_admitted_first_is_waited_for(&server);
    a_fence_in_a_column_holds_its_own_row_and_no_other(&server);
    one_statement_does_not_see_what_it_waited_for(&server);
}

fn two_owners_in_one_moment(server: &Server) {
    let plain = "READ COMMITTED";
    assert_eq!(met_in_the_middle(server, Check::Without, plain), "1", "the stale write is there");
    assert_eq!(met_in_the_middle(server, Check::Looks, plain), "1", "looking is no admission");
    assert_eq!(met_in_the_middle(server, Check::Admits, plain), "2");
    assert_eq!(met_in_the_middle(server, Check::Raises, plain), "2");
    assert_eq!(met_in_the_middle(server, Check::Admits, "SERIALIZABLE"), "2");
}

fn who_was_admitted_first_is_waited_for(server: &Server) {
    let (mut old, mut new) = server.owners();
    assert_eq!(old.ask(&format!("BEGIN;\n{}", check(Check::Admits, 17))), "");
    new.send(&format!("BEGIN;\n{}\n{}", check(Check::Admits, 18), set(2)));
    server.one_waits();
    assert_eq!(old.ask(&format!("{}\nCOMMIT;", set(1))), "");
    assert_eq!(new.answer(), "");
    assert_eq!(new.ask("COMMIT;"), "");
    assert_eq!(new.ask("SELECT balance FROM account WHERE id = 1;"), "2", "one after the other");
    let late = old.ask(&check(Check::Admits, 17));
    assert!(late.contains("is stale"), "{late}");
}

fn a_fence_in_a_column_holds_its_own_row_and_no_other(server: &Server) {
    let write =
        |id, epoch, balance| filled(COLUMN, &[("id", id), ("epoch", epoch), ("balance", balance)]);
    let (mut old, mut new) = server.owners();
    assert_eq!(new.ask(&format!("BEGIN;\n{}", write("1", "18", "2"))), "");
    old.send(&write("1", "17", "1"));
    server.one_waits();
    assert_eq!(new.ask("COMMIT;"), "");
    assert_eq!(old.answer(), "");
    assert_eq!(old.ask(&write("2", "17", "1")), "");
    let rows = new.ask("SELECT id, balance FROM account ORDER BY id;");
    assert_eq!(rows, "1|2\n2|1", "the row that the new owner had not touched is not held");
}

/// Why the guide wants two statements: parts of one all see what was there when it began.
fn one_statement_does_not_see_what_it_waited_for(server: &Server) {
    let look = "SELECT count(*) FROM account WHERE id = 3";
    let (mut old, mut new) = server.owners();
    let insert = "INSERT INTO account VALUES (3, 0, 0);";
    assert_eq!(old.ask(&format!("BEGIN;\n{}\n{insert}", check(Check::Admits, 17))), "");
    let raise = check(Check::Raises, 18).trim_end().trim_end_matches(';').to_owned();
    new.send(&format!("WITH fence AS (\n{raise}\n) {look} AND EXISTS (SELECT FROM fence);"));
    server.one_waits();
    assert_eq!(old.ask("COMMIT;"), "");
    assert_eq!(new.answer(), "0");
    assert_eq!(new.ask(&format!("{look};")), "1");
}
