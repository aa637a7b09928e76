//! Two operating-system processes, one causal history.
//!
//! The program starts itself once more. The two connect over TCP and talk in both
//! directions at once: in each, one user thread sends and another receives, and they share
//! the process's vector clock. At the end they exchange their histories, and each checks
//! the whole: that every stamp follows from those before it, and that what the other said
//! last was caused by what it had heard first.
//!
//! ```text
//! cargo run --release --example two_processes
//! ```

use std::io;
use std::process::Command;
use std::sync::Arc;

use lisle::channel::stamped::Shared;
use lisle::clock::wire::{Reader, WireError, Writer};
use lisle::clock::{Clock, EventId, History, Process, Stamped, Vector, VectorStamp};
use lisle::net::{TcpListener, TcpStream};
use lisle::sync::Mutex;
use lisle::thread;

const MESSAGES: u32 = 200;

type Letter = Stamped<u32, VectorStamp>;

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match std::env::args().nth(1) {
        Some(address) => {
            talk(1, TcpStream::connect(address)?)?;
        }
        None => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?.to_string();
            let mut other = Command::new(std::env::current_exe()?)
                .arg(address)
                .spawn()?;
            let history = talk(0, listener.accept()?.0)?;
            let status = lisle::blocking(|| other.wait())?;
            assert!(status.success(), "the other process has checked it, too");
            println!(
                "ok: processes {} and {} agree on one history of {} events",
                std::process::id(),
                other.id(),
                history.len()
            );
        }
    }
    Ok(())
}

/// Talks to the other process, then checks what has happened.
fn talk(process: u32, stream: TcpStream) -> Result<History, WireError> {
    let site = Site {
        clock: Shared::new(Vector::new(process)),
        history: Arc::new(Mutex::new(History::new())),
    };
    let (mut writer, mut reader) = (
        Writer::new(stream.try_clone().map_err(WireError::Io)?),
        Reader::new(io::BufReader::new(stream)),
    );
    let receiving = {
        let site = site.clone();
        thread::spawn(move || {
            for _ in 0..MESSAGES {
                let letter = reader.read::<Letter>()?.ok_or(WireError::Truncated)?;
                site.received(&letter);
            }
            Ok(reader)
        })
    };
    for n in 0..MESSAGES {
        writer.write(&site.sent(n))?;
    }
    let mut reader = receiving
        .join()
        .expect("the receiving thread does not panic")?;

    // Both histories are whole now.
    let mut history = site.history.lock().expect("nobody panics").clone();
    writer.write(&history)?;
    history.merge(reader.read::<History>()?.ok_or(WireError::Truncated)?);
    check(&history);
    Ok(history)
}

/// A process: its clock and its part of the history.
#[derive(Clone)]
struct Site {
    clock: Shared<Vector>,
    history: Arc<Mutex<History>>,
}

impl Site {
    fn sent(&self, n: u32) -> Letter {
        let letter = self.clock.stamped(n);
        let mut history = self.history.lock().expect("nobody panics");
        history.send(letter.stamp.clone(), &n.to_string());
        letter
    }

    fn received(&self, letter: &Letter) {
        // The event's own stamp, before the other thread has another event.
        let stamp = self.clock.with(|clock| {
            clock.receive(&letter.stamp);
            clock.now()
        });
        let mut history = self.history.lock().expect("nobody panics");
        history.receive(stamp, &letter.stamp, &letter.message.to_string());
    }
}

fn check(history: &History) {
    history
        .check()
        .expect("every stamp follows from those before it");
    assert_eq!(history.len() as u32, 2 * 2 * MESSAGES);
    assert_eq!(history.violations(), [], "a stream keeps its order");
    let [first, last] = [(0, 1), (1, u64::from(2 * MESSAGES))].map(|(process, time)| EventId {
        process: Process::new(process),
        time,
    });
    let [a, b] = [first, last].map(|id| &history.get(id).expect("all events are there").stamp);
    assert!(
        a < b,
        "what one did first was before what the other did last"
    );
    assert!(
        history.chain(first, last).is_some(),
        "and there is a chain from one to the other"
    );
}
