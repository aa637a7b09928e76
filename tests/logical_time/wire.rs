//! Messages over byte streams: whole, in pieces, malformed; and two operating-system
//! processes with one causal history.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use lisle::clock::wire::{LIMIT, Reader, VERSION, WireError, Writer};
use lisle::clock::{
    Clock, Delta, DeltaDecoder, DeltaEncoder, Event, EventId, History, Lamport, LamportStamp,
    MAX_TIME, Matrix, MatrixStamp, Process, Stamped, Vector, VectorStamp, VectorTime,
};
use lisle::delivery::{Causal, CausalHeader, Envelope, Fifo, FifoHeader};
use proptest::prelude::*;

use super::support::watchdog;
use super::{cases, processes};

type Letter = Stamped<String, VectorStamp>;

fn letter(text: &str) -> Letter {
    let mut clock = Vector::new(3);
    clock.receive(&Vector::new(Process::new(300).reborn()).stamp());
    clock.stamped(text.into())
}

fn written<T: serde::Serialize>(message: &T) -> Vec<u8> {
    let mut stream = Vec::new();
    Writer::new(&mut stream).write(message).unwrap();
    stream
}

fn read<T: serde::de::DeserializeOwned>(stream: &[u8]) -> Result<Option<T>, WireError> {
    Reader::new(stream).read()
}

/// Gives out a byte at a time, with interruptions.
struct Trickle<'a>(&'a [u8], bool);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let one = buffer.len().min(1);
        self.0.read(&mut buffer[..one])
    }
}

#[test]
fn what_is_written_is_read_however_it_trickles() {
    let mut stream = Vec::new();
    let mut writer = Writer::new(&mut stream);
    let letters: Vec<_> = (0..20).map(|n| letter(&"x".repeat(n * 31))).collect();
    letters
        .iter()
        .for_each(|letter| writer.write(letter).unwrap());
    let mut reader = Reader::new(Trickle(&stream, false));
    let all: Vec<Letter> = std::iter::from_fn(|| reader.read().unwrap()).collect();
    assert_eq!(all, letters);
    assert!(read::<Letter>(&[]).unwrap().is_none());
}

#[test]
fn every_value_has_a_form() {
    fn check<T>(value: T)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        assert_eq!(read::<T>(&written(&value)).unwrap(), Some(value));
    }
    let [p, q] = processes();
    let mut clocks = (Lamport::new(p), Vector::new(p), Matrix::new(p, [q]));
    clocks.0.tick();
    clocks.1.receive(&Vector::new(q).stamp());
    clocks.2.receive(&Matrix::new(q, []).stamp());
    check(clocks.0.stamped(1));
    check(clocks.1.stamped("text".to_string()));
    check(clocks.2.stamped(vec![1, 2]));
    check::<(LamportStamp, VectorStamp, MatrixStamp)>((
        clocks.0.now(),
        clocks.1.now(),
        clocks.2.now(),
    ));
    check(clocks.0);
    let mut delta = DeltaEncoder::new();
    check::<Delta>(delta.encode(&clocks.1.time()));
    check(clocks.1);
    check(clocks.2);
    check::<Envelope<CausalHeader, u8>>(Causal::new(p).broadcast(1));
    check::<Envelope<FifoHeader, u8>>(Fifo::new(p).broadcast(1));
    let mut history = History::new();
    history.local(letter("").stamp, "here");
    check(history);
    // And in text.
    let json = serde_json::to_string(&letter("hi")).unwrap();
    assert_eq!(
        json,
        r#"{"message":"hi","stamp":{"process":[3,0],"time":[[[3,0],2],[[300,1],1]]}}"#
    );
    assert_eq!(serde_json::from_str::<Letter>(&json).unwrap(), letter("hi"));
}

#[test]
fn versions_and_limits_are_checked() {
    let stream = written(&letter("hello"));
    let mut other = stream.clone();
    other[5] = VERSION + 1;
    assert!(matches!(read::<Letter>(&other), Err(WireError::Version(v)) if v == VERSION + 1));
    other[0] = b'L';
    assert!(matches!(read::<Letter>(&other), Err(WireError::NotLisle)));
    assert!(matches!(
        read::<Letter>(b"GET / HTTP/1.1\r\n\r\n"),
        Err(WireError::NotLisle)
    ));

    let mut large = stream.clone();
    large[6..10].copy_from_slice(&(LIMIT + 1).to_le_bytes());
    assert!(
        matches!(read::<Letter>(&large), Err(WireError::TooLarge(n)) if n == u64::from(LIMIT) + 1)
    );
    let length = stream.len() as u32 - 10;
    let mut reader = Reader::new(&stream[..]).limit(length);
    assert_eq!(reader.read::<Letter>().unwrap(), Some(letter("hello")));
    let mut reader = Reader::new(&stream[..]).limit(length - 1);
    assert!(matches!(
        reader.read::<Letter>(),
        Err(WireError::TooLarge(_))
    ));
    assert!(
        matches!(reader.read::<Letter>(), Err(WireError::Broken)),
        "there is no frame here"
    );

    let mut sink = Vec::new();
    let mut writer = Writer::new(&mut sink).limit(length - 1);
    assert!(matches!(
        writer.write(&letter("hello")),
        Err(WireError::TooLarge(_))
    ));
    writer.write(&letter("")).unwrap();
    assert_eq!(
        read(&sink).unwrap(),
        Some(letter("")),
        "nothing was written of what was too large"
    );
}

#[test]
fn what_is_cut_off_is_no_message() {
    let stream = written(&letter("hello"));
    for end in 1..stream.len() {
        let cut = read::<Letter>(&stream[..end]);
        match end {
            6 => assert!(cut.unwrap().is_none(), "a stream without a message"),
            _ => assert!(
                matches!(cut, Err(WireError::Truncated)),
                "after {end} bytes: {cut:?}"
            ),
        }
    }
}

#[test]
fn after_a_malformed_message_comes_the_next() {
    let mut stream = written(&"not a letter at all, and far too long for one");
    stream.extend_from_slice(&written(&(letter("trailing"), 1_u8))[6..]);
    stream.extend_from_slice(&written(&letter("fine"))[6..]);
    let mut reader = Reader::new(&stream[..]);
    reader.read::<(u8, VectorTime)>().unwrap_err();
    assert!(matches!(
        reader.read::<Letter>(),
        Err(WireError::Trailing(1))
    ));
    assert_eq!(reader.read::<Letter>().unwrap(), Some(letter("fine")));
    assert!(reader.read::<Letter>().unwrap().is_none());
}

/// Stamps that no clock would give are refused where they come in.
#[test]
fn impossible_stamps_are_refused() {
    type Raw = Vec<((u32, u32), u64)>;
    let refused = |raw: Raw| {
        let stream = written(&raw);
        assert!(
            matches!(read::<VectorTime>(&stream), Err(WireError::Malformed(_))),
            "{raw:?}"
        );
    };
    let good: Raw = vec![((1, 0), 1), ((1, 1), MAX_TIME)];
    assert_eq!(
        read::<VectorTime>(&written(&good)).unwrap().unwrap().len(),
        2
    );
    refused(vec![((2, 0), 1), ((1, 0), 1)]);
    refused(vec![((1, 0), 1), ((1, 0), 1)]);
    refused(vec![((1, 0), 0)]);
    refused(vec![((1, 0), MAX_TIME + 1)]);
    refused(vec![((1, 0), u64::MAX)]);
    let stamp = (MAX_TIME + 1, (1_u32, 0_u32));
    assert!(read::<LamportStamp>(&written(&stamp)).is_err());
    let delta = (0_u64, true, vec![((1_u32, 0_u32), u64::MAX)]);
    assert!(read::<Delta>(&written(&delta)).is_err());
    let header = |number: u64| read::<FifoHeader>(&written(&((1_u32, 0_u32), number)));
    assert!(header(MAX_TIME).is_ok());
    assert!(header(MAX_TIME + 1).is_err());
}

/// A matrix clock whose parts do not fit is refused: it would panic, or take members for
/// strangers.
#[test]
fn impossible_matrices_are_refused() {
    type Name = (u32, u32);
    let [p, q, r, s]: [Name; 4] = [(0, 0), (1, 0), (2, 0), (3, 0)];
    let clock = |own: Name, rows: &[Name], members: &[Name], left: &[Name]| {
        let time: Vec<_> = rows.iter().map(|&row| ((row, p), 1_u64)).collect();
        read::<Matrix>(&written(&(own, time, 1_u64, members, left)))
    };
    let good = clock(q, &[p, q], &[p, q, r], &[s]).unwrap().unwrap();
    assert_eq!(good.members().len(), 3);
    assert!(good.stable().is_empty(), "r knows nothing");
    for (what, bad) in [
        ("nobody is a member", clock(q, &[], &[], &[])),
        ("itself is none", clock(q, &[], &[p, r], &[])),
        ("they are not in order", clock(q, &[], &[q, p], &[])),
        ("one is there twice", clock(q, &[], &[p, p, q], &[])),
        ("the left are not in order", clock(q, &[], &[q], &[s, r])),
        ("one has left", clock(q, &[], &[p, q], &[p])),
        ("a row is of a stranger", clock(q, &[q, r], &[p, q], &[])),
    ] {
        assert!(
            matches!(bad, Err(WireError::Malformed(_))),
            "{what}: {bad:?}"
        );
    }
}

#[test]
fn deltas_save_bytes_on_a_stream() {
    let mut clock = Vector::new(0);
    (1..=100).for_each(|n| clock.receive(&Vector::new(n).stamp()));
    let mut encoder = DeltaEncoder::new();
    let mut sizes = Vec::new();
    let mut decoder = DeltaDecoder::new();
    for _ in 0..3 {
        clock.tick();
        let frame = written(&encoder.encode(&clock.time()));
        sizes.push(frame.len());
        let delta = read::<Delta>(&frame).unwrap().unwrap();
        assert_eq!(decoder.decode(delta).unwrap(), clock.time());
    }
    assert!(
        sizes[0] > 300 && sizes[1] < 20 && sizes[2] < 20,
        "{sizes:?}"
    );
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// Anything may come from outside.
    #[test]
    fn noise_is_an_error_and_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read::<Letter>(&noise);
        let mut framed = written(&letter(""));
        framed.truncate(6);
        framed.extend_from_slice(&(noise.len() as u32).to_le_bytes());
        framed.extend_from_slice(&noise);
        type All = (Letter, Matrix, History, Delta, Envelope<CausalHeader, Vec<String>>);
        let _ = read::<Letter>(&framed);
        let _ = read::<Vector>(&framed);
        if let Ok(Some(matrix)) = read::<Matrix>(&framed) {
            prop_assert!(matrix.members().contains(&matrix.process()));
            matrix.stable();
        }
        let _ = read::<History>(&framed);
        let _ = read::<Delta<(Process, Process)>>(&framed);
        prop_assert!(read::<All>(&framed).is_err());
    }

    /// A byte of a good stream is changed: what is read, if anything, is a letter that a
    /// clock can take.
    #[test]
    fn a_flipped_byte_is_an_error_or_another_letter(at in 0..64_usize, to in any::<u8>()) {
        let mut stream = written(&letter("some text of a certain length"));
        let at = at % stream.len();
        stream[at] = to;
        if let Ok(Some(letter)) = read::<Letter>(&stream) {
            let mut clock = Vector::new(1);
            clock.receive(&letter.stamp);
            prop_assert!(letter.stamp.time() < clock.time());
        }
    }
}

const CHILD: &str = "LISLE_TEST_WIRE_PEER";

/// Each end sends numbers that it has increased, and keeps its part of the history.
fn converse(stream: UnixStream, process: u32, begins: bool) -> History {
    let mut clock = Vector::new(process);
    let mut history = History::new();
    let mut reader = Reader::new(stream.try_clone().unwrap());
    let mut writer = Writer::new(stream);
    let mut say = |clock: &mut Vector, history: &mut History, n: u32| {
        let message = clock.stamped(n);
        history.send(message.stamp.clone(), &n.to_string());
        writer.write(&message).unwrap();
    };
    if begins {
        say(&mut clock, &mut history, 0);
    }
    while let Some(message) = reader.read::<Stamped<u32, VectorStamp>>().unwrap() {
        clock.receive(&message.stamp);
        history.receive(clock.now(), &message.stamp, &message.message.to_string());
        if message.message < 10 {
            say(&mut clock, &mut history, message.message + 1);
        }
        if message.message >= 9 {
            break;
        }
    }
    history
}

/// Two operating-system processes, a socket between them, and one history.
#[test]
fn two_operating_system_processes_extend_one_history() {
    let _watchdog = watchdog();
    let path = std::env::temp_dir().join(format!("lisle-wire-{}", std::process::id()));
    if let Some(path) = std::env::var_os(CHILD) {
        let stream = UnixStream::connect(&path).unwrap();
        let history = converse(stream, 1, false);
        // Its part comes back over a connection of its own.
        let stream = UnixStream::connect(&path).unwrap();
        Writer::new(stream).write(&history).unwrap();
        std::process::exit(0);
    }
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let test = "wire::two_operating_system_processes_extend_one_history";
    let mut peer = super::support::this_program()
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, &path)
        .spawn()
        .unwrap();
    let mut history = converse(listener.accept().unwrap().0, 0, true);
    let mut theirs = Reader::new(listener.accept().unwrap().0);
    let theirs: Vec<Event> = theirs.read::<History>().unwrap().unwrap().into();
    assert!(peer.wait().unwrap().success());
    std::fs::remove_file(&path).unwrap();

    assert!(
        theirs
            .iter()
            .all(|event| event.stamp.process() == Process::new(1))
    );
    history.merge(History::from(theirs));
    assert_eq!(history.len(), 2 * 11);
    assert_eq!(history.check(), Ok(()));
    assert_eq!(history.violations(), []);
    // They spoke in turn, so nothing is concurrent, and the first word led to the last.
    let stamps: Vec<_> = history.events().map(|event| &event.stamp).collect();
    let comparable = |a: &&VectorStamp| stamps.iter().all(|b| a.partial_cmp(b).is_some());
    assert!(stamps.iter().all(comparable));
    let [first, last] = [(0, 1), (1, 11)].map(|(process, time)| EventId {
        process: Process::new(process),
        time,
    });
    assert!(history.chain(first, last).is_some());
    assert!(history.chain(last, first).is_none());
}
