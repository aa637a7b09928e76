//! TLS by rustls, which only wants `Read` and `Write`.

use std::io::{Read, Write};
use std::sync::Arc;

use lisle::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::{listen, pattern};
use crate::support::{end, on, runtime, watchdog};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls_graviola::default_provider())
}

fn server() -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../server/tls/cert.pem"));
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../server/tls/key.pem"));
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.unwrap()], key.unwrap());
    Arc::new(config.unwrap())
}

fn client() -> Arc<ClientConfig> {
    let authority = CertificateDer::from_pem_slice(include_bytes!("../server/tls/ca.pem"));
    let mut roots = RootCertStore::empty();
    roots.add(authority.unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[test]
fn rustls_over_streams() {
    const SIZE: usize = 300_000;
    let _dog = watchdog();
    let rt = runtime(1);
    let (listener, address) = on(&rt, listen).join().unwrap();
    // Its crypto wants more stack than a light thread has by default in debug builds.
    let builder = || lisle::thread::Builder::new().on(&rt).stack_size(1 << 20);
    let serving = crate::support::spawn(builder(), move || {
        let stream = listener.accept().unwrap().0;
        let tls = ServerConnection::new(server()).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, stream);
        let mut heard = vec![0; SIZE];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(&heard).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    let asking = crate::support::spawn(builder(), move || {
        let stream = TcpStream::connect(address).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(client(), name).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, stream);
        stream.write_all(&pattern(5, SIZE)).unwrap();
        stream.flush().unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        heard == pattern(5, SIZE)
    });
    assert!(asking.join().unwrap());
    serving.join().unwrap();
    end(rt);
}
