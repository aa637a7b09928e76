//! Files below `--root`, and nothing else.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use crate::harness::{Answer, Client, Server, emulated, heavy, skipped};
use crate::{assert_page, pattern};

/// A directory of this test's own, removed at its end.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lisle-server-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("root")).expect("a place for files");
        Self(path)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn write(&self, name: &str, contents: &[u8]) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, contents).expect("a file");
    }

    pub(crate) fn serve(&self, flags: &[&str]) -> Server {
        let root = self.root();
        let root = root.to_str().expect("text");
        Server::start(&[&["--root", root], flags].concat())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn get_with(client: &mut Client, path: &str, headers: &str) -> Answer {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"));
    client.answer()
}

/// The digest of the content of an answer whose head has been read, and its length.
fn digest(client: &mut Client, head: &Answer) -> (u64, Vec<u8>) {
    let length: u64 = head
        .header("content-length")
        .and_then(|length| length.parse().ok())
        .expect("a length");
    let mut hash = Sha256::new();
    client.content(length, |piece| hash.update(piece));
    (length, hash.finalize().to_vec())
}

#[test]
fn files_of_every_size_arrive_whole() {
    let place = Place::new();
    let sizes = [0, 1, 4095, 4096, 4097, 65_536, 5_000_000];
    for size in sizes {
        place.write(&format!("{size}.bin"), &pattern(size));
    }
    let server = place.serve(&[]);
    let mut client = server.connect();
    for size in sizes.into_iter().chain(sizes) {
        client.send(format!("GET /{size}.bin HTTP/1.1\r\nHost: x\r\n\r\n"));
        let head = client.head();
        assert_eq!(head.code, 200);
        let expected = Sha256::digest(pattern(size)).to_vec();
        assert_eq!(digest(&mut client, &head), (size as u64, expected));
    }
}

/// A sparse one with data here and there, its first and last bytes included.
#[test]
fn a_file_of_a_gibibyte_arrives_whole() {
    let size: u64 = if emulated() { 1 << 24 } else { 1 << 30 };
    let place = Place::new();
    let file = File::create_new(place.root().join("large")).expect("a file");
    file.set_len(size).expect("a sparse file");
    for spot in [0, size / 3, size - 5000] {
        file.write_all_at(&pattern(5000), spot).expect("a spot");
    }
    let mut hash = Sha256::new();
    let mut reader = File::open(place.root().join("large")).expect("a file");
    std::io::copy(&mut reader, &mut hash).expect("a digest");
    let server = place.serve(&[]);
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = client.head();
    assert_eq!(digest(&mut client, &head), (size, hash.finalize().to_vec()));
    // Both ends of it, on the same connection.
    for range in ["bytes=0-4999", "bytes=-5000"] {
        let part = get_with(&mut client, "/large", &format!("Range: {range}\r\n"));
        assert_eq!(part.code, 206);
        assert!(part.body == pattern(5000), "{range}");
    }
}

/// 64 clients at once, and no copy of the file for each: with `LISLE_TEST_HEAVY=1` of a gibibyte.
#[test]
fn concurrent_downloads_take_little_memory() {
    let size: u64 = match (heavy(), emulated()) {
        (true, _) => 1 << 30,
        (false, false) => 16 << 20,
        (false, true) => 1 << 18,
    };
    let clients = if emulated() { 8 } else { 64 };
    let place = Place::new();
    let file = File::create_new(place.root().join("large")).expect("a file");
    file.set_len(size).expect("a sparse file");
    let server = place.serve(&[]);
    let (mut client, address) = (server.connect(), server.address());
    get_with(&mut client, "/large", "Range: bytes=0-0\r\n");
    let before = server.peak_memory();
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(move || {
                let mut client = Client::connect(address).expect("the server accepts");
                client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
                assert_eq!(client.head().code, 200);
                let zeroes = vec![0; 1 << 18];
                client.content(size, |piece| assert!(*piece == zeroes[..piece.len()]));
            });
        }
    });
    let grown = server.peak_memory() - before;
    assert!(grown < 64 << 20, "grown by {grown} bytes");
}

#[test]
fn types_indices_and_directories() {
    let place = Place::new();
    place.write("index.html", b"<p>top");
    place.write("below/index.html", b"<p>below");
    place.write("empty/x", b"");
    for name in [
        "a.txt", "a.css", "a.js", "a.json", "a.png", "a.svg", "a.wasm", "a", "a.zzz",
    ] {
        place.write(name, b"x");
    }
    let server = place.serve(&[]);
    let mut client = server.connect();
    let cases = [
        ("/", "text/html; charset=utf-8", "<p>top"),
        ("/below/", "text/html; charset=utf-8", "<p>below"),
        (
            "/below/index.html?query",
            "text/html; charset=utf-8",
            "<p>below",
        ),
        ("/a.txt", "text/plain; charset=utf-8", "x"),
        ("/a.css", "text/css; charset=utf-8", "x"),
        ("/a.js", "text/javascript; charset=utf-8", "x"),
        ("/a.json", "application/json", "x"),
        ("/a.png", "image/png", "x"),
        ("/a.svg", "image/svg+xml", "x"),
        ("/a.wasm", "application/wasm", "x"),
        ("/a", "application/octet-stream", "x"),
        ("/a.zzz", "application/octet-stream", "x"),
    ];
    for (path, content_type, content) in cases {
        let answer = get_with(&mut client, path, "");
        assert_eq!(answer.code, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert_eq!(answer.body, content.as_bytes(), "{path}");
    }
    let moved = get_with(&mut client, "/below", "");
    assert_eq!(moved.code, 301);
    assert_eq!(moved.header("location"), Some("/below/"));
    for path in ["/empty/", "/nothing", "/a.txt/", "/a.txt/b"] {
        assert_eq!(get_with(&mut client, path, "").code, 404, "{path}");
    }
    client.send("DELETE /a.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    let refused = client.answer();
    assert_eq!(refused.code, 405);
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    // What is not a file is there as before.
    client.send(crate::post(b"echo"));
    assert_eq!(client.answer().body, b"echo");
}

#[test]
fn without_an_index_there_is_the_page() {
    let place = Place::new();
    let server = place.serve(&[]);
    assert_page(&server.get("/"));
}

#[test]
fn names_with_escapes() {
    let place = Place::new();
    place.write("a b/ü%.txt", b"found");
    let server = place.serve(&[]);
    assert_eq!(server.get("/a%20b/%C3%BC%25.txt").body, b"found");
    assert_eq!(server.get("/a%20b%2F%c3%bc%25.txt").body, b"found");
    assert_eq!(server.get("//a%20b/%c3%bc%25.txt").body, b"found");
    for path in ["/a%20b/%FC%25.txt", "/a%00", "/%", "/%zz"] {
        assert_eq!(server.get(path).code, 404, "{path}");
    }
}

#[test]
fn nothing_outside_the_root_is_served() {
    let place = Place::new();
    fs::write(place.0.join("secret"), b"secret").expect("a file");
    fs::create_dir(place.0.join("root-2")).expect("a directory");
    fs::write(place.0.join("root-2/secret"), b"secret").expect("a file");
    place.write("inside.txt", b"inside");
    place.write("deep/down/x", b"x");
    let root = place.root();
    let link = |to: &Path, name: &str| symlink(to, root.join(name)).expect("a link");
    link(Path::new("../secret"), "out");
    link(&place.0.join("secret"), "out-absolute");
    link(Path::new(".."), "up");
    link(Path::new("deep/../../secret"), "out-and-in");
    link(Path::new("loop"), "loop");
    link(Path::new("/proc/self/root"), "magic");
    link(Path::new("inside.txt"), "alias");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a pipe");
    let server = place.serve(&[]);
    let paths = [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/.%2e/secret",
        "/deep/../../secret",
        "/deep/down/../../../secret",
        "/../root-2/secret",
        "/../root/inside.txt",
        "//etc/passwd",
        "/..\\secret",
        "/out",
        "/out-absolute",
        "/out-and-in",
        "/up/secret",
        "/up/root/inside.txt",
        "/loop",
        "/magic/etc/passwd",
        "/pipe",
        "/./inside.txt",
    ];
    let mut client = server.connect();
    for path in paths {
        let answer = get_with(&mut client, path, "");
        assert_eq!(answer.code, 404, "{path}");
        assert!(
            !answer.body.windows(6).any(|six| six == b"secret"),
            "{path}"
        );
    }
    // The absolute form is a path, too.
    let absolute = get_with(&mut client, "http://x/../secret", "");
    assert_eq!(absolute.code, 404);
    assert_eq!(server.get("/inside.txt").body, b"inside");
    if emulated() {
        skipped(
            "links inside the root (openat2 is not known to emulators; without it none is followed)",
        );
    } else {
        assert_eq!(server.get("/alias").body, b"inside");
    }
}

#[test]
fn parts_of_files() {
    let place = Place::new();
    let content = pattern(100_000);
    place.write("file", &content);
    place.write("ten", b"0123456789");
    place.write("empty", b"");
    let server = place.serve(&[]);
    let mut client = server.connect();
    let cases = [
        ("bytes=0-0", Some((0, 0))),
        ("bytes=0-", Some((0, 9))),
        ("bytes=3-5", Some((3, 5))),
        ("bytes=3-500", Some((3, 9))),
        ("bytes=9-99999999999999999999999", Some((9, 9))),
        ("bytes=-3", Some((7, 9))),
        ("bytes=-300", Some((0, 9))),
        // Not understood, or too much at once: the whole.
        ("bytes=5-3", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=+1-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes", None),
    ];
    for (range, part) in cases {
        let answer = get_with(&mut client, "/ten", &format!("Range: {range}\r\n"));
        match part {
            None => assert_eq!((answer.code, &answer.body[..]), (200, &b"0123456789"[..])),
            Some((first, last)) => {
                assert_eq!(answer.code, 206, "{range}");
                assert_eq!(answer.body, &b"0123456789"[first..=last], "{range}");
                let said = format!("bytes {first}-{last}/10");
                assert_eq!(answer.header("content-range"), Some(&*said), "{range}");
            }
        }
    }
    for (path, range) in [
        ("/ten", "bytes=10-"),
        ("/ten", "bytes=10-11"),
        ("/ten", "bytes=-0"),
        ("/empty", "bytes=0-"),
        ("/empty", "bytes=-1"),
    ] {
        let answer = get_with(&mut client, path, &format!("Range: {range}\r\n"));
        assert_eq!(answer.code, 416, "{path} {range}");
        let length = if path == "/ten" { 10 } else { 0 };
        let said = format!("bytes */{length}");
        assert_eq!(answer.header("content-range"), Some(&*said));
    }
    let middle = get_with(&mut client, "/file", "Range: bytes=20000-79999\r\n");
    assert_eq!(middle.code, 206);
    assert!(middle.body == content[20_000..80_000]);
    client.send("HEAD /file HTTP/1.1\r\nHost: x\r\nRange: bytes=5-9\r\n\r\n");
    let head = client.head();
    assert_eq!((head.code, head.header("content-length")), (206, Some("5")));
    // No content came with it.
    assert_eq!(get_with(&mut client, "/ten", "").body, b"0123456789");
}

#[test]
fn conditions() {
    let place = Place::new();
    place.write("file", b"first");
    let server = place.serve(&[]);
    let mut client = server.connect();
    let first = get_with(&mut client, "/file", "");
    let tag = first.header("etag").expect("a tag").to_owned();
    let date = first.header("last-modified").expect("a date").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'));
    httpdate::parse_http_date(&date).expect("a date");
    let not_modified = [
        format!("If-None-Match: {tag}\r\n"),
        format!("If-None-Match: W/{tag}\r\n"),
        format!("If-None-Match: \"x\", {tag}\r\n"),
        "If-None-Match: *\r\n".to_owned(),
        format!("If-Modified-Since: {date}\r\n"),
    ];
    for condition in &not_modified {
        client.send(format!("GET /file HTTP/1.1\r\nHost: x\r\n{condition}\r\n"));
        let answer = client.head();
        assert_eq!(answer.code, 304, "{condition}");
        assert_eq!(answer.header("etag"), Some(&*tag));
        assert_eq!(answer.header("content-length"), None);
    }
    let cases = [
        ("If-None-Match: \"x\"\r\n".to_owned(), 200),
        (format!("If-Match: {tag}\r\n"), 200),
        ("If-Match: *\r\n".to_owned(), 200),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        (format!("If-Match: W/{tag}\r\n"), 412),
        (format!("Range: bytes=0-1\r\nIf-Range: {tag}\r\n"), 206),
        ("Range: bytes=0-1\r\nIf-Range: \"x\"\r\n".to_owned(), 200),
        (format!("Range: bytes=0-1\r\nIf-Range: {date}\r\n"), 206),
        (
            "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".to_owned(),
            200,
        ),
        ("If-Modified-Since: yesterday\r\n".to_owned(), 200),
        // The tag decides if there is one.
        (
            format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n"),
            200,
        ),
    ];
    for (condition, code) in cases {
        let answer = get_with(&mut client, "/file", &condition);
        assert_eq!(answer.code, code, "{condition}");
    }
    place.write("file", b"second");
    let second = get_with(&mut client, "/file", &not_modified[0]);
    assert_eq!((second.code, &second.body[..]), (200, &b"second"[..]));
    assert_ne!(second.header("etag"), Some(&*tag));
}

/// Clients that go away, or stop reading, in the middle of a file.
#[test]
fn downloads_that_are_broken_off() {
    let place = Place::new();
    let file = File::create_new(place.root().join("large")).expect("a file");
    file.set_len(1 << 26).expect("a sparse file");
    // Longer than the machine may keep a client from asking.
    let server = place.serve(&["--read-timeout-ms", "2000"]);
    for _ in 0..20 {
        let mut client = server.connect();
        client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.head().code, 200);
    }
    let mut stuck = server.connect();
    stuck.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    crate::harness::until(|| server.stats()["requests"]["broken"] == 21);
    // A connection is closed a moment after that is counted; the one that asks is open.
    crate::harness::until(|| server.stats()["connections"]["open"] == 1);
}

/// A file that shrinks while it is sent cannot keep what its head promised.
#[test]
fn a_file_that_shrinks_ends_the_connection() {
    let place = Place::new();
    let file = File::create_new(place.root().join("large")).expect("a file");
    file.set_len(1 << 28).expect("a sparse file");
    let server = place.serve(&[]);
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.head().code, 200);
    file.set_len(0).expect("a short file");
    let mut rest = Vec::new();
    let came = client.into_stream().take(1 << 28).read_to_end(&mut rest);
    assert!(came.is_ok_and(|came| came < 1 << 28));
    assert_eq!(server.get("/large").body, b"");
}

#[test]
fn a_root_that_is_not_there() {
    let place = Place::new();
    let file = place.root().join("file");
    let mut options = File::options();
    let mut made = options
        .create_new(true)
        .write(true)
        .open(&file)
        .expect("a file");
    made.write_all(b"x").expect("a file");
    for root in [place.root().join("nothing"), file] {
        let root = root.to_str().expect("text");
        let (code, _, stderr) = crate::process::run(&["--root", root]);
        assert_eq!(code, Some(1));
        assert!(stderr.contains(root), "{stderr}");
    }
}
