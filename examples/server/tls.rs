//! TLS by rustls.
//!
//! rustls only turns bytes into bytes. What waits is here, and what computes is behind
//! never-inlined functions, for the reason that `listener.rs` gives.

use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lisle::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// The most of a TLS stream that is read at once: a record.
const RECORD: usize = 16 << 10;

/// Reads a certificate chain and its key. The error is a sentence for the user.
pub(crate) fn configure(certificates: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let cannot = |path: &Path, error: &dyn std::fmt::Display| {
        format!("--tls: cannot use {}: {error}", path.display())
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect)
        .map_err(|error| cannot(certificates, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| cannot(key, &error))?;
    let provider = Arc::new(rustls_graviola::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| cannot(certificates, &error))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| cannot(certificates, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A TLS stream of the server's side.
pub(crate) struct Tls {
    socket: TcpStream,
    session: ServerConnection,
    /// Received, and not decrypted yet, while a read lasts.
    received: Vec<u8>,
    /// Encrypted, and not sent yet.
    sealed: Vec<u8>,
}

impl Tls {
    pub(crate) fn new(socket: TcpStream, config: &Arc<ServerConfig>) -> io::Result<Self> {
        let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        Ok(Self {
            socket,
            session,
            received: vec![0; RECORD],
            sealed: Vec::new(),
        })
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        loop {
            match self.open(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            let n = match deadline {
                None => self.socket.read(&mut self.received)?,
                Some(deadline) => self.socket.read_deadline(&mut self.received, deadline)?,
            };
            let fed = self.feed(n);
            // Handshakes answer, and refusals say why.
            self.seal(&[]);
            self.flush()?;
            fed?;
        }
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(RECORD) {
            self.seal(piece);
            self.flush()?;
        }
        Ok(())
    }

    pub(crate) fn say_goodbye(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        self.seal(&[]);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.socket.write_all(&self.sealed);
        self.sealed.clear();
        result
    }

    /// Takes what has been decrypted.
    #[inline(never)]
    fn open(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.session.reader().read(buffer) {
            // The connection was cut; the requests that came before are whole, or not.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            result => result,
        }
    }

    /// Decrypts what was received; nothing is the end.
    #[inline(never)]
    fn feed(&mut self, n: usize) -> io::Result<()> {
        let mut bytes = &self.received[..n];
        loop {
            self.session.read_tls(&mut bytes)?;
            self.session
                .process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            if bytes.is_empty() {
                return Ok(());
            }
        }
    }

    /// Encrypts. Writing to vectors does not fail, and what is sealed is sent before more is.
    #[inline(never)]
    fn seal(&mut self, bytes: &[u8]) {
        let _ = self.session.writer().write_all(bytes);
        while self.session.wants_write() {
            if self.session.write_tls(&mut self.sealed).is_err() {
                return;
            }
        }
    }
}
