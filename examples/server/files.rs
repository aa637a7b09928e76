//! Files below the root, and nothing else.
//!
//! The kernel itself keeps a path below the root (`openat2` with `RESOLVE_BENEATH`), whatever
//! symbolic links and renames there are. Where it cannot (before Linux 5.6), each name of the path
//! is opened by itself, and symbolic links are refused.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// A directory whose files are served.
pub(crate) struct Root {
    directory: OwnedFd,
}

/// A file to be served.
pub(crate) struct Served {
    pub(crate) file: File,
    pub(crate) length: u64,
    pub(crate) content_type: &'static str,
    pub(crate) modified: SystemTime,
    /// With its quotes.
    pub(crate) etag: String,
}

/// What is at a path.
pub(crate) enum Found {
    File(Served),
    /// A directory whose name lacks the slash at its end.
    Directory,
    Nothing,
}

impl Root {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { directory })
    }

    /// Looks for the path of a request, which begins with a slash. A leaf: it calls the system, but
    /// does not block the thread.
    #[inline(never)]
    pub(crate) fn find(&self, path: &str) -> io::Result<Found> {
        let Some(name) = decode(path) else {
            return Ok(Found::Nothing);
        };
        let indexed = name.is_empty() || name.ends_with('/');
        let name = match indexed {
            true => name + "index.html",
            false => name,
        };
        let file = match self.open_below(&name) {
            Ok(descriptor) => File::from(descriptor),
            Err(error) if is_absence(error) => return Ok(Found::Nothing),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() && !indexed {
            return Ok(Found::Directory);
        }
        if !metadata.is_file() {
            return Ok(Found::Nothing);
        }
        Ok(Found::File(Served {
            length: metadata.len(),
            content_type: content_type(&name),
            modified: metadata.modified()?,
            etag: etag(&metadata),
            file,
        }))
    }

    fn open_below(&self, name: &str) -> Result<OwnedFd, Errno> {
        // Without NONBLOCK, opening a pipe would wait for somebody to write to it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let below = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        loop {
            match openat2(&self.directory, name, flags, Mode::empty(), below) {
                // Something was renamed meanwhile.
                Err(Errno::AGAIN) => {}
                Err(Errno::NOSYS) => return self.open_step_by_step(name, flags),
                result => return result,
            }
        }
    }

    fn open_step_by_step(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut names = name.split('/').filter(|name| !name.is_empty()).peekable();
        let mut directory: Option<OwnedFd> = None;
        while let Some(name) = names.next() {
            let at = directory.as_ref().unwrap_or(&self.directory);
            let flags = match names.peek() {
                Some(_) => OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC,
                None => flags,
            };
            directory = Some(openat(at, name, flags | OFlags::NOFOLLOW, Mode::empty())?);
        }
        directory.ok_or(Errno::NOENT)
    }
}

/// The path as bytes of a file's name, relative; `None` if no file can have it.
fn decode(path: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(path)
        .decode_utf8()
        .ok()?;
    let name = decoded.trim_start_matches('/');
    let fits = !name.contains('\0') && !name.split('/').any(|part| part == ".." || part == ".");
    fits.then(|| name.to_owned())
}

/// Whether to say that there is no such file: also when it is outside, or not ours to read.
fn is_absence(error: Errno) -> bool {
    [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::XDEV,
        Errno::LOOP,
        Errno::ACCESS,
        Errno::PERM,
        Errno::NAMETOOLONG,
        Errno::INVAL,
        Errno::NXIO,
        Errno::ISDIR,
    ]
    .contains(&error)
}

fn content_type(name: &str) -> &'static str {
    match mime_guess::from_path(name).first_raw() {
        Some("text/html") => "text/html; charset=utf-8",
        Some("text/plain") => crate::routes::TEXT,
        Some("text/css") => "text/css; charset=utf-8",
        Some("text/javascript") => "text/javascript; charset=utf-8",
        Some(found) => found,
        None => crate::routes::BYTES,
    }
}

/// Differs when the file does: by identity, length and time of change.
fn etag(metadata: &Metadata) -> String {
    let (inode, length) = (metadata.ino(), metadata.len());
    let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
    format!("\"{inode:x}-{length:x}-{seconds:x}.{nanos:x}\"")
}
