//! Starts the example server as a process, and talks to it byte by byte.
//!
//! Every wait ends at [`deadline`]: a server that hangs fails a test, and never hangs it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How long any one thing may take. Generous: it decides only how soon a hang is reported.
pub(crate) fn deadline() -> Duration {
    Duration::from_secs(if emulated() { 300 } else { 60 })
}

/// Whether the server runs under an emulator, where everything takes longer.
pub(crate) fn emulated() -> bool {
    std::env::var_os("LISLE_TEST_RUNNER").is_some()
}

/// For whoever reads the log, or looks for `SKIPPED` in it; past the test harness, which
/// captures what tests print.
pub(crate) fn skipped(what_and_why: &str) {
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED: {what_and_why}");
}

/// Whether tests are to take as long and as much as they like: `LISLE_TEST_HEAVY=1`.
pub(crate) fn heavy() -> bool {
    std::env::var_os("LISLE_TEST_HEAVY").is_some()
}

/// Waits until the condition holds.
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline();
    while !condition() {
        assert!(Instant::now() < end, "it does not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Raises the number of descriptors that this process, and servers started after, may have;
/// returns it.
pub(crate) fn raise_descriptor_limit() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the maximum");
    limit.maximum.map_or(usize::MAX, |most| most as usize)
}

/// The example's executable, which cargo puts beside the directory of this test's.
///
/// `cargo test` builds it; `cargo test --test server` does not, so it may be missing or old. For an emulator,
/// whoever knows the target has built it.
fn executable() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = std::env::current_exe().expect("this test has a path");
        let profile_directory = test.ancestors().nth(2).expect("it is in <profile>/deps");
        let path = profile_directory.join("examples/server");
        if !emulated() && modified(&path) < newest_source() {
            build(profile_directory);
        }
        assert!(
            path.exists(),
            "cargo build --example server, for this target, comes first"
        );
        path
    })
}

fn build(profile_directory: &Path) {
    let profile = match profile_directory.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let target_directory = profile_directory
        .parent()
        .expect("it is in a target directory");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--quiet",
            "--example",
            "server",
            "--profile",
            profile,
        ])
        .arg("--target-dir")
        .arg(target_directory)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the example does not build");
}

/// When the file was written; the beginning of time if there is none.
fn modified(path: &Path) -> SystemTime {
    let metadata = path.metadata().and_then(|metadata| metadata.modified());
    metadata.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Of the example, and of the crates that it is linked with.
fn newest_source() -> SystemTime {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directories = [
        "examples/server",
        "src",
        "sync/src",
        "runtime/src",
        "lwp/src",
    ];
    let newest = directories.map(|directory| newest_in(&root.join(directory)));
    newest.into_iter().max().expect("the example has sources")
}

fn newest_in(directory: &Path) -> SystemTime {
    let entries = directory.read_dir().expect("sources");
    let times = entries.map(|entry| {
        let path = entry.expect("a directory entry").path();
        match path.is_dir() {
            true => newest_in(&path),
            false => modified(&path),
        }
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A command that runs the server, through the emulator if one is asked for.
pub(crate) fn command() -> Command {
    let runner = std::env::var("LISLE_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    match words.next() {
        Some(program) => {
            let mut command = Command::new(program);
            command.args(words).arg(executable());
            command
        }
        None => Command::new(executable()),
    }
}

/// The lines of a stream, read by a thread, so that waiting for one can have an end.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    /// What it complains of, if that is piped.
    errors: Option<Receiver<String>>,
    address: SocketAddr,
}

impl Server {
    /// Starts the server on a free port, and waits until it listens.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_command(command(), flags)
    }

    /// As [`Server::start`], with a command that ends in the server.
    pub(crate) fn start_command(mut command: Command, flags: &[&str]) -> Self {
        let mut child = command
            .args(["--addr", "127.0.0.1:0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let lines = lines_of(child.stdout.take().expect("it is piped"));
        let errors = child.stderr.take().map(lines_of);
        let mut server = Self {
            child,
            lines,
            errors,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let line = server
            .lines
            .recv_timeout(deadline())
            .expect("the server says where it is");
        let address = line
            .strip_prefix("listening on ")
            .and_then(|url| url.split_once("://"))
            .map(|(_, address)| address)
            .expect("that line comes first");
        server.address = address.parse().expect("an address");
        assert_ne!(
            server.address.port(),
            0,
            "the port it got, not the one it asked for"
        );
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connect(&self) -> Client {
        self.try_connect().expect("the server accepts")
    }

    pub(crate) fn try_connect(&self) -> std::io::Result<Client> {
        Client::connect(self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The answer to `GET path`, on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Answer {
        let mut client = self.connect();
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ));
        let answer = client.answer();
        client.expect_end();
        answer
    }

    /// The most memory that it has had resident so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the server lives");
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        1024 * kilobytes
            .and_then(|text| text.parse::<u64>().ok())
            .expect("a number")
    }

    pub(crate) fn stats(&self) -> serde_json::Value {
        serde_json::from_slice(&self.get("/stats").body).expect("JSON")
    }

    /// The next line that it prints to a piped stderr.
    pub(crate) fn complaint(&self) -> String {
        let errors = self.errors.as_ref().expect("stderr is piped");
        errors.recv_timeout(deadline()).expect("a complaint")
    }

    /// What it has complained of so far, to a piped stderr.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let errors = self.errors.as_ref().expect("stderr is piped");
        errors.try_iter().collect()
    }

    /// Sends a signal by its name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id();
        let script = format!("kill -{name} {id}");
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.expect("a shell").success());
    }

    /// Waits until the process has ended; returns its status and what it printed since it listened.
    pub(crate) fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let status = wait(&mut self.child);
        let mut lines = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline()) {
            lines.push(line);
        }
        (status, lines)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let ended = self.child.try_wait();
            let complaints = self
                .errors
                .as_ref()
                .map(|errors| errors.try_iter().collect::<Vec<_>>());
            eprintln!("the server, if it has ended: {ended:?}; it complained: {complaints:?}");
        }
        // Both fail when it has ended, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a child has ended, or kills it and panics.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + deadline();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        if Instant::now() > end {
            child.kill().expect("a child");
            panic!("the server does not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A client that sends what it is told to, sound or not.
pub(crate) struct Client {
    stream: TcpStream,
    /// Received and not looked at.
    received: Vec<u8>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, deadline())?;
        stream.set_read_timeout(Some(deadline()))?;
        stream.set_write_timeout(Some(deadline()))?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server reads");
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends from another thread, so that this one can read meanwhile.
    pub(crate) fn send_in_background(&self, bytes: Vec<u8>) -> thread::JoinHandle<()> {
        let mut stream = self.stream.try_clone().expect("a second descriptor");
        thread::spawn(move || stream.write_all(&bytes).expect("the server reads"))
    }

    pub(crate) fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("a connection");
    }

    /// Reads a response with its content.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = self.line();
                let size = usize::from_str_radix(&size, 16).expect("the size of a chunk");
                answer.body.extend(self.take(size));
                assert_eq!(self.line(), "");
                if size == 0 {
                    return answer;
                }
            }
        }
        let length = answer.header("content-length").expect("a length");
        let length = length.parse().expect("a number");
        answer.body = self.take(length);
        answer
    }

    /// As [`Client::answer`]; `None` if the connection ends instead.
    pub(crate) fn answer_or_end(&mut self) -> Option<Answer> {
        let mut first = [0];
        match self.stream.read(&mut first) {
            Ok(1) => self.received.extend(first),
            Ok(_) => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("the server answers in time, or ends: {error}"),
        }
        Some(self.answer())
    }

    /// Reads content of this length, piece by piece.
    pub(crate) fn content(&mut self, length: u64, mut sink: impl FnMut(&[u8])) {
        let mut left = length;
        let known = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(self.received.len());
        sink(&self.take(known));
        left -= known as u64;
        let mut piece = vec![0; 1 << 18];
        while left > 0 {
            let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = self
                .stream
                .read(&mut piece[..wanted])
                .expect("the server sends in time");
            assert_ne!(n, 0, "the content is cut off");
            sink(&piece[..n]);
            left -= n as u64;
        }
    }

    /// The connection, without what was received already.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Reads the head of a response.
    pub(crate) fn head(&mut self) -> Answer {
        let status = self.line();
        let rest = status.strip_prefix("HTTP/1.1 ").expect("a status line");
        let mut answer = Answer {
            code: rest[..3].parse().expect("a status code"),
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = self.line();
            if line.is_empty() {
                return answer;
            }
            let (name, value) = line.split_once(": ").expect("a header");
            answer.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The server closes, and says nothing before it does.
    pub(crate) fn expect_end(&mut self) {
        let n = self.receive();
        assert_eq!(n, 0, "{:?}", String::from_utf8_lossy(&self.received));
        assert!(self.received.is_empty());
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.take(end + 2);
                return String::from_utf8(line[..end].to_vec()).expect("text");
            }
            assert_ne!(self.receive(), 0, "the answer is cut off");
        }
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        while self.received.len() < n {
            assert_ne!(self.receive(), 0, "the answer is cut off");
        }
        let rest = self.received.split_off(n);
        std::mem::replace(&mut self.received, rest)
    }

    fn receive(&mut self) -> usize {
        let mut piece = [0; 1 << 16];
        let n = self
            .stream
            .read(&mut piece)
            .expect("the server answers in time");
        self.received.extend_from_slice(&piece[..n]);
        n
    }
}
