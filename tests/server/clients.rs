//! An asynchronous HTTP client, hyper, on user threads of this process.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::rt::ReadBufCursor;
use hyper::{Request, Response};
use lisle::future::{AsyncStream, block_on};
use lisle::net::TcpStream;
use lisle::thread::{Builder, JoinHandle};

use crate::harness::Server;
use crate::pattern;

/// lisle's stream with hyper's traits.
struct Stream(AsyncStream<TcpStream>);

impl hyper::rt::Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut piece = [0; 8192];
        let room = buffer.remaining().min(piece.len());
        let n = ready!(self.0.poll_read(context, &mut piece[..room]))?;
        buffer.put_slice(&piece[..n]);
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(context)
    }
}

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: `block_on` polls in a function of its own that is never inlined; nothing else here
    // touches a thread-local.
    unsafe { Builder::new().stack_size(1 << 20).spawn_light(f) }.expect("a thread")
}

async fn ask(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> (u16, Vec<u8>) {
    sender.ready().await.expect("the connection stands");
    let answer: Response<_> = sender.send_request(request).await.expect("an answer");
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.expect("a body");
    (code, body.to_bytes().to_vec())
}

fn request(method: &str, path: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "x")
        .body(Full::new(Bytes::from(body)))
        .expect("a request")
}

/// A connection and what is asked on it run as two light threads.
async fn converse(stream: TcpStream, rounds: usize) -> usize {
    let (mut sender, connection) = http1::handshake(Stream(AsyncStream::new(stream)))
        .await
        .expect("a connection");
    let driver = spawn(move || block_on(connection));
    let mut served = 0;
    for round in 0..rounds {
        let body = pattern(round * 3000);
        let (code, echoed) = ask(&mut sender, request("POST", "/echo", body.clone())).await;
        assert!((code, &echoed) == (200, &body), "round {round}");
        let (code, hello) = ask(&mut sender, request("GET", "/hello", Vec::new())).await;
        assert_eq!((code, &hello[..]), (200, &b"Hello, World!"[..]));
        served += 2;
    }
    let (code, _) = ask(&mut sender, request("GET", "/nothing", Vec::new())).await;
    assert_eq!(code, 404);
    drop(sender);
    driver
        .await
        .expect("it does not panic")
        .expect("it ends well");
    served + 1
}

#[test]
fn hyper_on_user_threads() {
    let server = Server::start(&[]);
    let address = server.address();
    let clients: Vec<_> = (0..10)
        .map(|_| {
            spawn(move || {
                let stream = TcpStream::connect(address).expect("the server accepts");
                block_on(converse(stream, 20))
            })
        })
        .collect();
    let served: usize = clients
        .into_iter()
        .map(|client| client.join().expect("it does not panic"))
        .sum();
    assert_eq!(server.stats()["requests"]["answered"], served);
}
