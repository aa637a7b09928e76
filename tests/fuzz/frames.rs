//! Stamped messages as they come from a stream: read, or refused with the reason; the
//! same however they trickle; and what was read is read again when it is written.

use std::fmt::Debug;
use std::io::{self, Read};

use lisle::clock::wire::{Reader, WireError, Writer};
use lisle::clock::{
    self as clock, Clock, Delta, DeltaDecoder, History, Lamport, LamportStamp, Matrix, MatrixStamp,
    Process, Stamped, Vector, VectorStamp, VectorTime,
};
use lisle::delivery::{CausalHeader, Envelope};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::driver::fuzz;
use crate::support::{many, watchdog};

const WORDS: &[&[u8]] = &[
    b"lisle\0\x01",
    b"\x01\0\0\0\0",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x80\x80\x80\x80\x80\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x40",
    b"\x01\x01",
];

/// Gives out a byte at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let one = buffer.len().min(1);
        self.0.read(&mut buffer[..one])
    }
}

fn reason(error: &WireError) -> &'static str {
    assert!(!error.to_string().is_empty());
    match error {
        WireError::Io(error) => panic!("the stream is in memory: {error}"),
        WireError::NotLisle => "not lisle",
        WireError::Version(_) => "version",
        WireError::TooLarge(_) => "too large",
        WireError::Truncated => "truncated",
        WireError::Malformed(_) => "malformed",
        WireError::Trailing(_) => "trailing",
        WireError::Broken => "broken",
        _ => "other",
    }
}

/// All messages of a stream, and how it ends.
fn all<T: DeserializeOwned>(stream: impl Read) -> (Vec<T>, String) {
    let mut reader = Reader::new(stream).limit(1 << 16);
    let (mut messages, mut end) = (Vec::new(), String::new());
    loop {
        match reader.read::<T>() {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, end + "end"),
            Err(WireError::Broken) => return (messages, end),
            Err(error) => end += reason(&error),
        }
    }
}

fn check<T>(input: &[u8], uses: impl Fn(&T)) -> String
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let (messages, end) = all::<T>(input);
    assert_eq!(
        all::<T>(Trickle(input)),
        (messages.as_slice().iter().map(again).collect(), end.clone())
    );
    messages.iter().for_each(uses);
    format!("{} {end}", messages.len())
}

/// The message after it was written and read.
fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T) -> T {
    let mut stream = Vec::new();
    Writer::new(&mut stream).write(message).unwrap();
    let (mut messages, end) = all::<T>(stream.as_slice());
    assert_eq!(end, "end");
    let copy = messages.pop().expect("one message");
    assert_eq!(&copy, message);
    copy
}

/// Clocks receive whatever a stream may say.
fn received(stamps: &(LamportStamp, VectorStamp, MatrixStamp)) {
    let p = Process::new(1);
    let (mut lamport, mut vector) = (Lamport::new(p), Vector::new(p));
    let mut matrix = Matrix::new(p, [Process::new(2)]);
    lamport.receive(&stamps.0);
    vector.receive(&stamps.1);
    matrix.receive(&stamps.2);
    lamport.tick();
    vector.tick();
    matrix.tick();
    again(&(lamport.stamp(), vector.stamp(), matrix.stamp()));
}

fn decoded(deltas: &Vec<Delta>) {
    let mut decoder = DeltaDecoder::default();
    for delta in deltas {
        if let Ok(time) = decoder.decode(delta.clone()) {
            again(&time);
        }
    }
}

fn as_each(input: &[u8]) -> String {
    let Some((kind, stream)) = input.split_first() else {
        return "empty".into();
    };
    let outcome = match kind % 7 {
        0 => check::<Stamped<String, VectorStamp>>(stream, |_| ()),
        1 => check(stream, received),
        2 => check::<(clock::Event, Vec<u8>)>(stream, |_| ()),
        3 => check::<History>(stream, |_| ()),
        4 => check(stream, decoded),
        5 => check::<Envelope<CausalHeader, String>>(stream, |_| ()),
        _ => check::<VectorTime>(stream, |_| ()),
    };
    format!("{}: {outcome}", kind % 7)
}

#[test]
fn frames_are_read_or_refused() {
    let _dog = watchdog();
    fuzz(
        "frames",
        &["tests/fuzz/corpus/frames"],
        WORDS,
        many(30_000) as u64,
        as_each,
    );
}
