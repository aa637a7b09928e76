//! hyper on tokio's multi-thread runtime; files by tower-http's `ServeDir`, as its users would.
//!
//! `peer-hyper PORT ROOT`

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tower_http::services::ServeDir;
use tower_service::Service;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

async fn answer(request: Request<Incoming>, mut files: ServeDir) -> Result<Response<Body>, Infallible> {
    if request.uri().path() == "/hello" {
        let body = Full::new(Bytes::from_static(b"Hello, World!"));
        let response = Response::builder()
            .header("content-type", "text/plain; charset=utf-8")
            .body(body.map_err(|never| match never {}).boxed_unsync())
            .unwrap();
        return Ok(response);
    }
    let response = files.call(request).await?;
    Ok(response.map(|body| body.boxed_unsync()))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().unwrap().parse().unwrap();
    let files = ServeDir::new(arguments.next().unwrap());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let files = files.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, files.clone()));
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
