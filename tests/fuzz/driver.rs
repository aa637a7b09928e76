//! Mutates inputs of a corpus, always in the same way, and gives each to a property.
//!
//! A property panics if something is wrong; else it says in a few words what came of
//! the input, and an input of which something new came is mutated further. So the
//! search goes deeper, on a stable toolchain and the same in each run.
//!
//! `tests/fuzz/corpus/NAME/` holds what the search begins with, and each input that
//! ever failed. `LISLE_FUZZ_SECONDS` makes it search for that long, each time
//! elsewhere (`ci/fuzz.sh`).

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Inputs are kept below this.
const LONGEST: usize = 4096;

/// A small generator (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// What the corpus of this name holds, in the order of names.
fn corpus(directory: &str) -> Vec<Vec<u8>> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), directory].iter().collect();
    let files = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let inputs: Vec<_> = files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();
    assert!(inputs.len() >= 3, "{path:?}");
    inputs
}

/// Runs the property on all inputs of the corpora, and then on `rounds` mutations.
/// `words` are what the inputs consist of.
pub(crate) fn fuzz(
    name: &str,
    corpora: &[&str],
    words: &[&[u8]],
    rounds: u64,
    property: impl Fn(&[u8]) -> String,
) {
    let mut pool: Vec<_> = corpora
        .iter()
        .flat_map(|directory| corpus(directory))
        .collect();
    let given = pool.len();
    let mut outcomes = HashSet::new();
    for input in &pool {
        outcomes.insert(checked(name, input, &property));
    }
    let seconds = std::env::var("LISLE_FUZZ_SECONDS").ok();
    let until = seconds.map(|text| {
        let seconds = text.parse().expect("LISLE_FUZZ_SECONDS is a number");
        Instant::now() + Duration::from_secs(seconds)
    });
    let first = until.map_or(0, |_| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| now.as_nanos() as u64)
    });
    let mut round = 0;
    while until.map_or(round < rounds, |until| Instant::now() < until) {
        let mut random = Random::new(first.wrapping_add(round));
        let input = mutated(&pool, words, &mut random);
        if outcomes.insert(checked(name, &input, &property)) && pool.len() < 2000 {
            pool.push(input);
        }
        round += 1;
    }
    println!(
        "{name}: {given} inputs, {round} mutations, {} outcomes",
        outcomes.len()
    );
    assert!(until.is_some() || outcomes.len() > 3, "it searches nothing");
}

/// Runs the property; keeps an input that fails where it can be found.
fn checked(name: &str, input: &[u8], property: &impl Fn(&[u8]) -> String) -> String {
    match catch_unwind(AssertUnwindSafe(|| property(input))) {
        Ok(outcome) => outcome,
        Err(payload) => {
            let hash = input.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let file = std::env::temp_dir().join(format!("lisle-fuzz-{name}-{hash:016x}"));
            let kept = std::fs::write(&file, input)
                .map_or("nowhere".into(), |()| file.display().to_string());
            eprintln!("failed on {:?}", String::from_utf8_lossy(input));
            eprintln!("kept in {kept}: once mended, put it into tests/fuzz/corpus/{name}/");
            resume_unwind(payload)
        }
    }
}

fn mutated(pool: &[Vec<u8>], words: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut input = pool[random.below(pool.len())].clone();
    for _ in 0..=random.below(6) {
        mutate(&mut input, pool, words, random);
    }
    input.truncate(LONGEST);
    input
}

fn mutate(input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&[u8]], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let length = random.below(input.len() - at + 1);
    let range = at..at + random.below(length + 1).min(64);
    match random.below(8) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff, b'0'][random.below(6)],
        2 => drop(input.drain(range)),
        3 => {
            let piece = input[range].to_vec();
            drop(input.splice(at..at, piece));
        }
        4 => {
            let piece = input[range].to_vec();
            let to = random.below(input.len() + 1);
            drop(input.splice(to..to, piece));
        }
        5 => {
            // The rest is another one's.
            let other = &pool[random.below(pool.len())];
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        6 => {
            let byte = random.next() as u8;
            input.insert(at, byte);
        }
        _ if !words.is_empty() => {
            let word = words[random.below(words.len())];
            let over = if random.below(2) == 0 { at..at } else { range };
            drop(input.splice(over, word.iter().copied()));
        }
        _ => {}
    }
}
