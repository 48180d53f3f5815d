//! Files with secrets: readable by their owner alone, or refused.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use quorate::{Cookie, Cookies};
use quorate_http::code;
use rand::TryRng;

use crate::fail::{Done, Fail};

/// No secret is longer.
const BYTES_MAX: u64 = 4096;

/// Refuses a secret that others than its owner can read.
pub(crate) fn guarded(file: &Path) -> Result<fs::Metadata, Fail> {
    let shown = file.display();
    let meta = fs::metadata(file).map_err(Fail::io(format!("looking at the secret {shown}")))?;
    if meta.mode() & 0o077 != 0 {
        let mode = meta.mode() & 0o777;
        return Err(Fail::new(code::OPEN_SECRET, format!("{shown} has mode {mode:04o}"))
            .next(format!("chmod 600 {shown}")));
    }
    Ok(meta)
}

/// Reads a secret; blanks around it do not belong to it.
pub(crate) fn read(file: &Path) -> Result<String, Fail> {
    let (meta, shown) = (guarded(file)?, file.display());
    if meta.len() > BYTES_MAX {
        return Err(Fail::new(code::BAD_SETTING, format!("{shown} is too long for a secret")));
    }
    let secret =
        fs::read_to_string(file).map_err(Fail::io(format!("reading the secret {shown}")))?;
    match secret.trim() {
        "" => Err(Fail::new(code::BAD_SETTING, format!("{shown} is empty"))),
        secret => Ok(secret.to_owned()),
    }
}

/// Reads the cookies of a file, one a line, the newest first.
pub(crate) fn read_cookies(file: &Path) -> Result<Vec<Cookie>, Fail> {
    let wrong = |why| Fail::new(code::BAD_SETTING, format!("{}: {why}", file.display()));
    let text = read(file)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let cookies: Result<Vec<_>, _> = lines.map(Cookie::new).collect();
    let cookies = cookies.map_err(|error| wrong(error.to_string()))?;
    if cookies.len() > Cookies::VALID_MAX {
        let (found, most) = (cookies.len(), Cookies::VALID_MAX);
        return Err(wrong(format!(
            "it has {found} cookies, one a line; {most} may be valid at once"
        )));
    }
    Ok(cookies)
}

/// The secret of this user's own clusters on this machine, drawn when it is first needed.
pub(crate) fn own_cookie() -> Result<(String, PathBuf), Fail> {
    let Some(home) = std::env::home_dir().filter(|home| !home.as_os_str().is_empty()) else {
        let why = "there is no home directory to keep a cookie in";
        return Err(Fail::new(code::NO_SECRET, why).next("name one with --cookie-file FILE"));
    };
    let dir = home.join(".quorate");
    let file = dir.join("cookie");
    if !file.exists() {
        let doing = || format!("making {}", file.display());
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(Fail::io(doing()))?;
        draw(&file).map_err(Fail::io(doing()))?;
    }
    Ok((read(&file)?, file))
}

/// Writes a secret that is drawn at random. If another was first, that one stays.
pub(crate) fn draw(file: &Path) -> std::io::Result<()> {
    let part = file.with_extension(format!("part-{}", std::process::id()));
    let mut open = OpenOptions::new();
    let mut written = open.write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    written.write_all(format!("{}\n", random()).as_bytes())?;
    written.sync_all()?;
    // A link appears whole or not at all, and never takes the place of what is there.
    let linked = fs::hard_link(&part, file);
    fs::remove_file(&part)?;
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// 256 random bits in hexadecimal.
pub(crate) fn random() -> String {
    let mut bytes = [0; 32];
    let Ok(()) = quorate_env::dice().try_fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file that only its owner reads, whole or not at all.
pub(crate) fn write_whole(file: &Path, text: &str) -> Done {
    let doing = || format!("writing {}", file.display());
    let part = file.with_extension(format!("part-{}", std::process::id()));
    let mut open = OpenOptions::new();
    let opened = open.write(true).create(true).truncate(true).mode(0o600).open(&part);
    opened
        .and_then(|mut written| written.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&part, file))
        .map_err(Fail::io(doing()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_drawn_once_and_refused_when_it_lies_open() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cookie");
        draw(&file).unwrap();
        let first = read(&file).unwrap();
        assert_eq!(first.len(), 64);
        draw(&file).unwrap();
        assert_eq!(read(&file).unwrap(), first);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no part is left behind");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&file).unwrap_err().is(code::OPEN_SECRET));
    }

    #[test]
    fn a_file_has_one_cookie_or_two_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cookie");
        let count = |text: &str| {
            write_whole(&file, text).unwrap();
            read_cookies(&file).map(|cookies| cookies.len())
        };
        let [a, b] = ["a", "b"].map(|letter| letter.repeat(32));
        assert_eq!(count(&format!("{a}\n")).unwrap(), 1);
        assert_eq!(count(&format!("\n {b} \n\n{a}")).unwrap(), 2);
        assert!(count(&format!("{a}\n{b}\n{a}")).unwrap_err().is(code::BAD_SETTING));
        assert!(count(&format!("{a}\nshort")).unwrap_err().is(code::BAD_SETTING));
    }
}
