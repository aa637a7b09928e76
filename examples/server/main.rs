//! A multithreaded HTTP/1.1 server: one user thread per connection, plain blocking code.
//!
//! ```text
//!  main thread ── starts ──> listener ── accept, one user thread each ───> connection
//!      │                        ▲                                            │  read, answer,
//!      └─ waits for Ctrl-C ─────┴── cancel ──────────────────────────────────┘  read, ...
//! ```
//!
//! ```text
//! cargo run --release --example server
//! curl http://127.0.0.1:8080/
//! wrk -t2 -c256 -d10s http://127.0.0.1:8080/
//! ```
//!
//! Shutting down is cancellation. A connection that waits for its next request is cancelled where
//! it waits; one that is busy with a request runs under a shield and ends with that request.
//! Thousands of connections need as many file descriptors: see `ulimit -n`.
//!
//! | file | what it holds |
//! |---|---|
//! | `options.rs` | the command line |
//! | `listener.rs` | accepts, and starts a thread per connection (the only `unsafe`) |
//! | `registry.rs` | which connections live, for the limit and for shutdown |
//! | `connection.rs` | the life of one connection |
//! | `wire.rs` | its two buffers |
//! | `transport.rs`, `tls.rs` | its socket, plain or with TLS |
//! | `head.rs`, `body.rs` | reading requests |
//! | `routes.rs`, `response.rs`, `clock.rs` | answering them |
//! | `files.rs`, `conditions.rs`, `file_route.rs` | files: finding them, which part, sending them |
//! | `stats.rs`, `metrics.rs` | what `/stats` and `/metrics` show |
#![allow(clippy::disallowed_types)] // an example uses std's atomics and mutexes like any program

mod body;
mod clock;
mod conditions;
mod connection;
mod file_route;
mod files;
mod head;
mod listener;
mod metrics;
mod options;
mod registry;
mod response;
mod routes;
mod shutdown;
mod stats;
mod tls;
mod transport;
mod wire;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use files::Root;
use lisle::{Runtime, RuntimeBuilder};
use options::{Options, Parsed};
use registry::Registry;
use shutdown::Shutdown;
use stats::Counters;

/// What every thread of the server sees.
struct Shared {
    runtime: Runtime,
    options: Options,
    root: Option<Root>,
    tls: Option<Arc<rustls::ServerConfig>>,
    counters: Counters,
    registry: Registry,
    shutdown: Shutdown,
}

fn main() -> ExitCode {
    let options = match Options::from_command_line() {
        Ok(Parsed::Run(options)) => options,
        Ok(Parsed::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("server: {message}\nTry --help.");
            return ExitCode::from(2);
        }
    };
    match prepare(options) {
        Ok(shared) => lisle::run(move || match serve(&shared) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("server: {error}");
                ExitCode::FAILURE
            }
        }),
        Err(message) => {
            eprintln!("server: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What must be there before anybody is served. The error is a sentence for the user.
fn prepare(options: Options) -> Result<Arc<Shared>, String> {
    let root = match &options.root {
        Some(path) => {
            Some(Root::open(path).map_err(|error| format!("--root {}: {error}", path.display()))?)
        }
        None => None,
    };
    let tls = match &options.tls {
        Some((certificates, key)) => Some(tls::configure(certificates, key)?),
        None => None,
    };
    let mut builder = RuntimeBuilder::from_env().map_err(|error| error.to_string())?;
    if let Some(lwps) = options.lwps {
        builder = builder.lwps(lwps);
    }
    if options.warm > 0 {
        // What is made beforehand has the runtime's own stack size.
        builder = builder
            .stack_size(listener::stack_size(&options))
            .warm_threads(options.warm);
    }
    let runtime = builder
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    Ok(Arc::new(Shared {
        runtime,
        registry: Registry::new(options.max_connections),
        counters: Counters::new(),
        shutdown: Shutdown::new(),
        root,
        tls,
        options,
    }))
}

/// Serves until a signal comes, then drains.
fn serve(shared: &Arc<Shared>) -> std::io::Result<()> {
    // From here on they do not end the process by themselves.
    let signals = shutdown::signals()?;
    let (listener, address) = listener::start(shared)?;
    let scheme = if shared.tls.is_some() {
        "https"
    } else {
        "http"
    };
    println!("listening on {scheme}://{address}");
    shared.shutdown.wait(signals)?;

    let deadline = Instant::now() + Duration::from_secs(shared.options.drain_seconds);
    listener.thread().cancel();
    if let Err(payload) = listener.join()
        && !payload.is::<lisle::cancel::Cancelled>()
    {
        std::panic::resume_unwind(payload);
    }
    // No connection can be added from here on.
    shared.registry.cancel_all();
    let unfinished = shared.registry.wait_until_empty(deadline);

    let served = shared.counters.requests();
    match unfinished {
        0 => println!("served {served} requests"),
        n => println!("served {served} requests; gave up on {n} unfinished connections"),
    }
    Ok(())
}
