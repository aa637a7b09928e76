//! The command line.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
An HTTP/1.1 server with one user thread per connection.

Usage: server [OPTIONS]

  --addr ADDRESS:PORT      where to listen; port 0 takes a free one [127.0.0.1:8080]
  --root DIRECTORY         serves the files below it
  --tls CERT KEY           speaks HTTPS, with this certificate chain and private key (PEM)
  --lwps N                 virtual processors [LISLE_LWPS, or one for each processor]
  --per-request            one thread and one connection per request: no keep-alive
  --light                  connections on light threads in place of full ones: half the memory
  --max-connections N      how many connections at once; more wait to be accepted [10000]
  --warm N                 threads made ready beforehand, for many connections that come at once [0]
  --max-body BYTES         the largest request body accepted [16777216]
  --read-timeout-ms MS     how long a client may stay silent, and how long it may take
                           to send the head of a request [30000]
  --drain SECONDS          after a signal, how long requests may take to finish [10]
  --help                   prints this

GET /         index.html, or what this is
GET /hello    a greeting, for measuring
POST /echo    sends the body back
GET /stats    counters of the server and of the runtime, as JSON
GET /metrics  the same for Prometheus
GET /...      files, with --root

Ctrl-C lets the requests in progress finish; a second one does not.
";

/// How the server was asked to behave.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) address: SocketAddr,
    pub(crate) root: Option<PathBuf>,
    /// Certificate chain and key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) lwps: Option<usize>,
    pub(crate) per_request: bool,
    pub(crate) light: bool,
    pub(crate) max_connections: usize,
    /// Full threads only.
    pub(crate) warm: usize,
    pub(crate) max_body: u64,
    /// Never zero: a zero timeout is an error to the socket.
    pub(crate) read_timeout: Duration,
    pub(crate) drain_seconds: u64,
}

/// What the command line asks for.
pub(crate) enum Parsed {
    Run(Options),
    Help,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            root: None,
            tls: None,
            lwps: None,
            per_request: false,
            light: false,
            max_connections: 10_000,
            warm: 0,
            max_body: 16 << 20,
            read_timeout: Duration::from_secs(30),
            drain_seconds: 10,
        }
    }
}

impl Options {
    /// Reads the process's arguments. The error is a sentence for the user.
    pub(crate) fn from_command_line() -> Result<Parsed, String> {
        Self::parse(Parser::from_env())
    }

    fn parse(mut parser: Parser) -> Result<Parsed, String> {
        let mut options = Self::default();
        while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
            match argument {
                Arg::Long("addr") => options.address = value(&mut parser, "--addr")?,
                Arg::Long("root") => options.root = Some(path(&mut parser)?),
                Arg::Long("tls") => {
                    options.tls = Some((path(&mut parser)?, path(&mut parser)?));
                }
                Arg::Long("lwps") => options.lwps = Some(positive(&mut parser, "--lwps")?),
                Arg::Long("per-request") => options.per_request = true,
                Arg::Long("light") => options.light = true,
                Arg::Long("max-connections") => {
                    options.max_connections = positive(&mut parser, "--max-connections")?;
                }
                Arg::Long("warm") => options.warm = value(&mut parser, "--warm")?,
                Arg::Long("max-body") => options.max_body = value(&mut parser, "--max-body")?,
                Arg::Long("read-timeout-ms") => {
                    let ms: u32 = positive(&mut parser, "--read-timeout-ms")?;
                    options.read_timeout = Duration::from_millis(ms.into());
                }
                Arg::Long("drain") => {
                    let seconds: u32 = value(&mut parser, "--drain")?;
                    options.drain_seconds = seconds.into();
                }
                Arg::Long("help") | Arg::Short('h') => return Ok(Parsed::Help),
                other => return Err(other.unexpected().to_string()),
            }
        }
        if options.light && options.warm > 0 {
            return Err("--warm is for full threads: not with --light".to_owned());
        }
        Ok(Parsed::Run(options))
    }
}

fn path(parser: &mut Parser) -> Result<PathBuf, String> {
    let path = parser.value().map_err(|error| error.to_string())?;
    Ok(path.into())
}

fn value<T: FromStr<Err: Display>>(parser: &mut Parser, flag: &str) -> Result<T, String> {
    let text = parser.value().map_err(|error| error.to_string())?;
    let text = text.to_string_lossy();
    text.parse()
        .map_err(|error| format!("{flag} {text}: {error}"))
}

fn positive<T>(parser: &mut Parser, flag: &str) -> Result<T, String>
where
    T: FromStr<Err: Display> + Default + PartialEq,
{
    let number: T = value(parser, flag)?;
    if number == T::default() {
        return Err(format!("{flag} must be at least 1"));
    }
    Ok(number)
}
