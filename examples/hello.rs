//! The smallest program: threads that are spawned and joined.
//!
//! Shows `lisle::run`, `spawn`, and that a thread's
//! result comes back through `join`, as with `std::thread`.
//!
//! ```text
//! cargo run --example hello
//! ```

use std::io;

use lisle::thread;

const THREADS: usize = 10;

fn main() -> io::Result<()> {
    let greetings = lisle::run(greet)?;
    for greeting in &greetings {
        println!("{greeting}");
    }
    assert_eq!(greetings.len(), THREADS);
    assert_eq!(greetings[3], "hello from thread 3");
    println!("ok: {THREADS} threads said hello");
    Ok(())
}

/// What each of the threads has to say, in the order of their spawning.
fn greet() -> io::Result<Vec<String>> {
    let mut handles = Vec::new();
    for number in 0..THREADS {
        let builder = thread::Builder::new().name(format!("greeter {number}"));
        handles.push(builder.spawn(move || greeting(number))?);
    }
    let join = |handle: thread::JoinHandle<String>| handle.join().expect("no greeter panics");
    Ok(handles.into_iter().map(join).collect())
}

fn greeting(number: usize) -> String {
    // The others go first; joining sorts it out.
    thread::yield_now();
    format!("hello from thread {number}")
}
