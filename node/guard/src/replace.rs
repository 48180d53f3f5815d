//! Replacing a file so that it is always the whole old one or the whole new one, whatever is cut short.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Puts bytes in the place of what a file holds, durably; what one may do with it stays as it was. Whoever
/// calls holds the file's lock: the name of the draft is always the same, so that what a killed writer left
/// is taken away by the next one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = beside(path, ".", ".quorate-tmp");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let permissions = fs::metadata(path).ok().map(|before| before.permissions());
    // A new file, never one that somebody has put there, nor where a link of theirs leads. At no time may
    // more people read it than what it replaces.
    let mut draw_up = OpenOptions::new();
    draw_up.write(true).create_new(true);
    if let Some(permissions) = &permissions {
        draw_up.mode(permissions.mode() & 0o777);
    }
    let mut file = draw_up.open(&draft)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    OpenOptions::new().read(true).open(directory(path))?.sync_all()
}

/// The path of a file that belongs to another one.
pub(crate) fn beside(path: &Path, before: &str, after: &str) -> PathBuf {
    let mut name = OsString::from(before);
    name.push(path.file_name().unwrap_or_default());
    name.push(after);
    path.with_file_name(name)
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The one path of a file, however it was named: two names of it must not have a bar each.
pub(crate) fn settled(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        // It is not there yet. A link that leads to nothing is left alone: it would be replaced.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
            let name = path.file_name().ok_or(error)?;
            Ok(fs::canonicalize(directory(path))?.join(name))
        }
        found => found,
    }
}
