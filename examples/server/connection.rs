//! The life of one connection: wait, serve, wait, ...
//!
//! ```text
//!          ┌────────── idle ──────────┐        may be cancelled
//!          │                          ▼
//!     keep-alive                 first bytes
//!          │                          │
//!          └──── answered <── serving ┘        shielded from cancellation
//!                   │
//!                   └─> closed
//! ```
//!
//! Nothing waits to be sent when a connection is idle, so that cancelling it loses no answer.
//! Whatever goes wrong ends this connection and no other.

use std::io;
use std::time::Instant;

use lisle::cancel;

use crate::Shared;
use crate::body::Body;
use crate::clock::Clock;
use crate::head::{self, Head, Method};
use crate::registry::Ticket;
use crate::response::{self, Content, Persistence, Response, Status};
use crate::routes;
use crate::transport::Transport;
use crate::wire::{Failure, Wire};

/// What a connection keeps between requests; a larger one is given back.
const SPOOL_KEPT: usize = 64 << 10;

/// A body that nobody wants is read and dropped up to this size, to keep the connection.
const MAX_DISCARD: u64 = 64 << 10;

/// One client.
pub(crate) struct Connection<'a> {
    pub(crate) wire: Wire,
    pub(crate) clock: Clock,
    /// For pieces of bodies.
    pub(crate) spool: Vec<u8>,
    pub(crate) shared: &'a Shared,
    key: usize,
}

/// A request under way.
pub(crate) struct Exchange {
    pub(crate) head: Head,
    pub(crate) body: Body,
    pub(crate) persistence: Persistence,
}

/// What follows a request.
enum Next {
    Again,
    Close,
    /// The client may still be sending.
    CloseGently,
}

impl<'a> Connection<'a> {
    pub(crate) fn new(transport: Transport, ticket: &'a Ticket) -> io::Result<Self> {
        let shared = ticket.shared();
        Ok(Self {
            wire: Wire::new(transport, shared.options.read_timeout)?,
            clock: Clock::new(),
            spool: Vec::new(),
            shared,
            key: ticket.key(),
        })
    }

    /// Serves requests until either side ends it.
    pub(crate) fn run(mut self) {
        loop {
            if !self.wait_for_request() {
                return;
            }
            match cancel::shield(|| self.serve_one()) {
                Next::Again => {}
                Next::Close => return,
                Next::CloseGently => return self.wire.close_gently(),
            }
        }
    }

    /// Waits for the first bytes of a request. This is where an idle connection is cancelled.
    fn wait_for_request(&mut self) -> bool {
        while self.is_idle() {
            if !matches!(self.wire.read(), Ok(1..)) {
                return false;
            }
        }
        true
    }

    /// Whether nothing of a next request is here. Some clients send an empty line after a body.
    fn is_idle(&mut self) -> bool {
        while self.wire.input().starts_with(b"\r\n") {
            self.wire.consume(2);
        }
        matches!(self.wire.input(), [] | [b'\r'])
    }

    fn serve_one(&mut self) -> Next {
        match self.exchange() {
            Ok(next) => next,
            Err(Failure::Rejected(status)) => self.reject(status),
            Err(Failure::Gone) => {
                self.shared.counters.count_broken();
                Next::Close
            }
        }
    }

    fn exchange(&mut self) -> Result<Next, Failure> {
        let head = self.read_head()?;
        self.wire.consume(head.length);
        let mut exchange = Exchange {
            body: Body::new(head.framing, self.shared.options.max_body)?,
            persistence: match head.keep_alive && !self.shared.options.per_request {
                true => Persistence::KeepAlive(head.version),
                false => Persistence::Close,
            },
            head,
        };
        routes::answer(self, &mut exchange)?;
        self.shared.counters.count_request(self.key);
        self.discard_body(&mut exchange);

        let more = !self.is_idle();
        let next = match exchange.persistence {
            // Answers to requests that are here already leave together.
            Persistence::KeepAlive(_) if more => return Ok(Next::Again),
            Persistence::KeepAlive(_) => Next::Again,
            Persistence::Close if more || !exchange.body.is_done() => Next::CloseGently,
            Persistence::Close => Next::Close,
        };
        self.wire.flush()?;
        Ok(next)
    }

    fn read_head(&mut self) -> Result<Head, Failure> {
        let files = self.shared.root.is_some();
        if let Some(head) = head::parse(self.wire.input(), files)? {
            return Ok(head);
        }
        // From the first byte the client has this long, however slowly it drips.
        let deadline = Instant::now() + self.shared.options.read_timeout;
        loop {
            let before = self.wire.input().len();
            self.wire.read_more_until(deadline)?;
            if !head::worth_parsing(self.wire.input(), before) {
                continue;
            }
            if let Some(head) = head::parse(self.wire.input(), files)? {
                return Ok(head);
            }
        }
    }

    /// Sends what the client waits for before it sends the body, if it does.
    pub(crate) fn invite_body(&mut self, exchange: &mut Exchange) -> Result<(), Failure> {
        let expected = std::mem::take(&mut exchange.head.expects_continue);
        if expected && !exchange.body.is_done() && self.wire.input().is_empty() {
            self.wire.output().extend_from_slice(response::CONTINUE);
            self.wire.flush().map_err(|_| Failure::Gone)?;
        }
        Ok(())
    }

    /// Sends a whole answer; to a HEAD request only the head of it.
    pub(crate) fn respond(
        &mut self,
        exchange: &mut Exchange,
        response: Response<'_>,
        content: &[u8],
    ) -> Result<(), Failure> {
        let length = Content::Length(content.len() as u64);
        self.respond_with_head(exchange, response, length);
        if exchange.head.method != Method::Head {
            self.wire.send(content)?;
        }
        Ok(())
    }

    /// Puts the head of an answer in the output that does not depend on the request's body; the
    /// answer's content is the caller's to send.
    pub(crate) fn respond_with_head(
        &mut self,
        exchange: &mut Exchange,
        response: Response<'_>,
        content: Content,
    ) {
        // A client that was not invited to send its body may leave it out, or not.
        let uninvited = exchange.head.expects_continue && !exchange.body.is_done();
        if uninvited || exchange.body.left() > MAX_DISCARD {
            exchange.persistence = Persistence::Close;
        }
        self.begin_response(exchange, response, content);
    }

    /// Puts the head of an answer in the output; its content is the caller's to send.
    pub(crate) fn begin_response(
        &mut self,
        exchange: &mut Exchange,
        response: Response<'_>,
        content: Content,
    ) {
        if self.shared.shutdown.draining() {
            exchange.persistence = Persistence::Close;
        }
        let output = self.wire.output();
        response.write_head(output, &mut self.clock, content, exchange.persistence);
    }

    /// Reads over what is left of the body, so that the next request is found; or gives up.
    fn discard_body(&mut self, exchange: &mut Exchange) {
        let mut dropped = 0;
        while exchange.persistence != Persistence::Close && !exchange.body.is_done() {
            self.spool.clear();
            let read = exchange.body.read_into(&mut self.wire, &mut self.spool);
            dropped += self.spool.len() as u64;
            if read.is_err() || dropped > MAX_DISCARD {
                exchange.persistence = Persistence::Close;
            }
        }
        self.spool.clear();
        self.spool.shrink_to(SPOOL_KEPT);
    }

    /// Answers a request that cannot be served. Where the next one begins is not known, or not
    /// worth finding out, so the connection ends.
    fn reject(&mut self, status: Status) -> Next {
        self.shared.counters.count_rejected();
        let content = format!("{}\n", status.text);
        let response = Response::new(status, routes::TEXT);
        let length = Content::Length(content.len() as u64);
        let output = self.wire.output();
        response.write_head(output, &mut self.clock, length, Persistence::Close);
        let sent = self.wire.send(content.as_bytes());
        match sent.and_then(|()| self.wire.flush()) {
            Ok(()) => Next::CloseGently,
            Err(_) => Next::Close,
        }
    }
}
