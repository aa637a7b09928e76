//! Accepts connections and starts a user thread for each.
//!
//! # Full and light threads
//!
//! Connections run on full threads, like any code under `std::thread`. With `--light` they run on
//! *light* threads: the cheapest kind, which borrow the thread-locals of whichever kernel thread
//! runs them. The price is a promise, made in the `unsafe` block below: **no function that
//! contains, after inlining, a call that can block also touches a thread-local.** How this program
//! keeps it:
//!
//! - Nothing in it declares a thread-local, and nothing that blocks is called from a closure that
//!   std runs inside one of its own.
//! - What touches one somewhere inside is called only through `#[inline(never)]` functions that do
//!   not block: printing (`report`), std's mutexes, which look at the panic count (`take`, the methods
//!   of `registry.rs`), files (`files.rs`), TLS (`tls.rs`), and looking at the runtime (`stats.rs`).
//! - The rest of a connection's code is slices, vectors and calls into `lisle::net`. The memory
//!   allocator is behind a call that is never inlined.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lisle::net::{TcpListener, TcpStream};
use lisle::thread::{self, Builder, JoinHandle};

use crate::Shared;
use crate::connection::Connection;
use crate::options::Options;
use crate::registry::Ticket;
use crate::tls::Tls;
use crate::transport::Transport;

/// Address space for a stack; memory is taken page by page, as it is touched.
const STACK_SIZE: usize = 128 << 10;

/// The same where TLS is spoken: without optimisation its arithmetic wants much.
const TLS_STACK_SIZE: usize = 1 << 20;

/// What a connection's thread needs.
pub(crate) fn stack_size(options: &Options) -> usize {
    match options.tls {
        None => STACK_SIZE,
        Some(_) => TLS_STACK_SIZE,
    }
}

/// How long to wait when the system cannot give what a connection needs.
const PAUSE: Duration = Duration::from_millis(50);

/// Binds, and starts the listener thread. Returns it with the address in use.
pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<(JoinHandle<()>, SocketAddr)> {
    let wanted = shared.options.address;
    let listener = TcpListener::bind(wanted).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {wanted}: {error}"))
    })?;
    let address = listener.local_addr()?;
    let builder = Builder::new()
        .name("listener".to_owned())
        .stack_size(STACK_SIZE)
        .on(&shared.runtime);
    let shared = Arc::clone(shared);
    let handle = builder.spawn(move || listen(&listener, &shared))?;
    Ok((handle, address))
}

/// Accepts until cancelled. An error costs one connection, never the listener.
fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut failing = false;
    loop {
        let ticket = wait_for_room(shared);
        // Out of descriptors, memory or threads: connections that end give them back.
        let mut wait_a_while = |error: io::Error| {
            if !std::mem::replace(&mut failing, true) {
                report(&error);
            }
            thread::sleep(PAUSE);
        };
        match accept(listener) {
            Ok(stream) => {
                let arrival = Arrival::new(stream, ticket);
                // Whoever has been let in is not sent away because a thread cannot be had now.
                while let Err(error) = start_connection(&arrival) {
                    wait_a_while(error);
                }
                failing = false;
            }
            // The client was gone before its turn came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => wait_a_while(error),
        }
    }
}

/// A connection that waits for its thread.
struct Arrival {
    shared: Arc<Shared>,
    key: usize,
    connection: Arc<Mutex<Option<(TcpStream, Ticket)>>>,
}

impl Arrival {
    fn new(stream: TcpStream, mut ticket: Ticket) -> Arrival {
        ticket.open();
        Arrival {
            shared: Arc::clone(ticket.shared()),
            key: ticket.key(),
            connection: Arc::new(Mutex::new(Some((stream, ticket)))),
        }
    }
}

/// What waits for its thread, for that.
#[inline(never)]
fn take(connection: &Mutex<Option<(TcpStream, Ticket)>>) -> Option<(TcpStream, Ticket)> {
    connection
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    loop {
        match listener.accept() {
            Ok((stream, _peer)) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Blocks while as many connections are open as are allowed.
fn wait_for_room(shared: &Arc<Shared>) -> Ticket {
    loop {
        match Ticket::try_take(shared) {
            Some(ticket) => return ticket,
            None => thread::park(),
        }
    }
}

/// Starts the thread that serves the connection. Does not block.
#[inline(never)]
fn start_connection(arrival: &Arrival) -> io::Result<()> {
    let shared = &arrival.shared;
    let connection = Arc::clone(&arrival.connection);
    let body = move || {
        if let Some((stream, ticket)) = take(&connection) {
            serve(stream, ticket);
        }
    };
    let builder = Builder::new().stack_size(stack_size(&shared.options));
    let handle = if shared.options.light {
        // SAFETY: what `serve` calls and blocks in (`Wire`'s reads and writes) touches no
        // thread-local; what does touch one is behind never-inlined functions that do not block,
        // as this module's header lists.
        unsafe { builder.spawn_light(body) }?
    } else {
        builder.spawn(body)?
    };
    shared.registry.attach(arrival.key, handle.thread().clone());
    Ok(())
}

/// The body of a connection's thread. The ticket is given back last, when the socket is closed.
fn serve(stream: TcpStream, ticket: Ticket) {
    let transport = secure(stream, ticket.shared());
    if let Ok(connection) = transport.and_then(|transport| Connection::new(transport, &ticket)) {
        connection.run();
    }
}

/// The handshake comes with the first read.
#[inline(never)]
fn secure(stream: TcpStream, shared: &Shared) -> io::Result<Transport> {
    Ok(match &shared.tls {
        None => Transport::Plain(stream),
        Some(config) => Transport::Tls(Box::new(Tls::new(stream, config)?)),
    })
}

#[inline(never)]
fn report(error: &io::Error) {
    eprintln!("server: cannot take a connection (will go on trying): {error}");
}
