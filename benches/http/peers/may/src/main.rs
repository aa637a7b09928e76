//! may_minihttp, as in its own example; files are read whole, since it has no way to send them.
//!
//! `peer-may PORT ROOT`

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use may_minihttp::{HttpService, HttpServiceFactory, Request, Response};

struct Service(Arc<PathBuf>);

impl HttpService for Service {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        match request.path() {
            "/hello" => {
                response.header("Content-Type: text/plain; charset=utf-8");
                response.body("Hello, World!");
            }
            path => match std::fs::read(self.0.join(path.trim_start_matches('/'))) {
                Ok(bytes) => {
                    response.header("Content-Type: application/octet-stream");
                    response.body_vec(bytes);
                }
                Err(_) => {
                    response.status_code(404, "Not Found");
                }
            },
        }
        Ok(())
    }
}

struct Factory(Arc<PathBuf>);

impl HttpServiceFactory for Factory {
    type Service = Service;
    fn new_service(&self, _id: usize) -> Service {
        Service(self.0.clone())
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap();
    let root = PathBuf::from(arguments.next().unwrap());
    may::config().set_workers(std::thread::available_parallelism().map_or(2, usize::from));
    let server = Factory(Arc::new(root)).start(format!("127.0.0.1:{port}")).unwrap();
    server.wait();
}
