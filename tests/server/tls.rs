//! HTTPS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::files::Place;
use crate::harness::{Server, deadline};
use crate::{GET, pattern, post};

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/tls/cert.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/tls/key.pem");
const FLAGS: [&str; 3] = ["--tls", CERTIFICATE, KEY];

fn client() -> Arc<ClientConfig> {
    let authority = CertificateDer::from_pem_slice(include_bytes!("tls/ca.pem"));
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.expect("a certificate"))
        .expect("an authority");
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn connect(server: &Server) -> StreamOwned<ClientConnection, TcpStream> {
    let stream = TcpStream::connect(server.address()).expect("the server accepts");
    stream.set_read_timeout(Some(deadline())).expect("a socket");
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(client(), name).expect("a session");
    StreamOwned::new(session, stream)
}

/// Reads one answer whose content has this length.
fn content(stream: &mut impl Read, length: usize) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let mut content = vec![0; length];
    stream.read_exact(&mut content).expect("the content");
    content
}

#[test]
fn requests_over_tls() {
    let place = Place::new();
    std::fs::write(place.root().join("file"), pattern(300_000)).expect("a file");
    let server = place.serve(&FLAGS);
    let mut stream = connect(&server);
    for length in [0, 1, 20_000, 300_000] {
        stream.write_all(&post(&pattern(length))).expect("sent");
        stream.flush().expect("sent");
        assert!(content(&mut stream, length) == pattern(length));
    }
    stream
        .write_all(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    assert!(content(&mut stream, 300_000) == pattern(300_000));
    assert_eq!(content(&mut stream, 13), b"Hello, World!");
    // The end is said, so that nobody can fake it.
    stream
        .write_all(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("sent");
    assert_eq!(content(&mut stream, 13), b"Hello, World!");
    server.signal("INT");
    let (status, lines) = server.wait();
    assert_eq!(status.code(), Some(0));
    assert_eq!(lines, ["served 7 requests"]);
}

#[test]
fn clients_that_do_not_speak_tls() {
    let server = Server::start(&FLAGS);
    for garbage in [
        GET.as_bytes(),
        b"\x16\x03\x01\xff\xff",
        b"",
        b"\x16\x03\x01\x00\x01\x00",
    ] {
        let mut client = server.connect();
        client.send(garbage);
        client.finish_sending();
        // An alert may come first.
        let mut rest = Vec::new();
        let _ = client.into_stream().read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP"));
    }
    let mut stream = connect(&server);
    stream.write_all(GET.as_bytes()).expect("sent");
    let mut first = [0; 15];
    stream.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200 OK");
}

#[test]
fn certificates_that_are_none() {
    let cases = [
        ["/nothing", KEY],
        [CERTIFICATE, "/nothing"],
        [KEY, KEY],
        [CERTIFICATE, CERTIFICATE],
    ];
    for [certificate, key] in cases {
        let (code, _, stderr) = crate::process::run(&["--tls", certificate, key]);
        assert_eq!(code, Some(1), "{certificate} {key}");
        assert!(stderr.contains("--tls"), "{stderr}");
    }
}
