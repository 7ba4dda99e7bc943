//! A fuzzer for stable Rust: takes real messages from `corpus/` and from the types themselves, changes them in small ways, and
//! gives them to the parsers of [`targets`], for as long as `ORIEL_FUZZ_SECONDS` says. `proptest` makes a failing input
//! small; it is then put into the corpus, and so is tried first from then on.
//!
//! A coverage-guided fuzzer needs a nightly compiler. What is lost without it is made up for by good seeds: everything that
//! these parsers know is in them.

mod hosts;
pub mod targets;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::Index;
use proptest::test_runner::{Config, TestError, TestRunner};

/// How long each target is run, unless told otherwise: all of them together are a part of the tests.
const SECONDS: f64 = 2.0;
/// Inputs are not grown beyond this, bytes. Larger ones are refused by length, before they are parsed.
const MAX_INPUT: usize = 64 * 1024;
/// Inputs between two looks at the clock.
const CASES: u32 = 64;

/// Something that takes bytes from outside.
pub struct Target {
    /// Also of its folder in the corpus.
    pub name: &'static str,
    /// Real inputs, besides those of the corpus.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Takes an input. What it does not like it must refuse, not panic at.
    pub run: fn(&[u8]),
}

/// One small change.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Repeat(Index, Index, u8),
    Truncate(Index),
    /// The end of another seed from there on.
    Splice(Index, Index, Index),
    /// A number in a text, or four bytes, become one at which parsers stumble.
    Number(Index, u64),
}

/// Values at the edges of types and of what is usual.
const NUMBERS: [u64; 12] =
    [0, 1, 0x7f, 0xff, 0x100, 0x7fff, 0xffff, 0x10000, 0x7fff_ffff, 0xffff_ffff, 1 << 53, u64::MAX];

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0..8u8).prop_map(|(i, bit)| Change::Flip(i, bit)),
        (at(), any::<u8>()).prop_map(|(i, byte)| Change::Set(i, byte)),
        (at(), vec(any::<u8>(), 1..8)).prop_map(|(i, bytes)| Change::Insert(i, bytes)),
        (at(), at()).prop_map(|(i, len)| Change::Remove(i, len)),
        (at(), at(), 1..40u8).prop_map(|(i, len, times)| Change::Repeat(i, len, times)),
        at().prop_map(Change::Truncate),
        (at(), at(), at()).prop_map(|(other, from, to)| Change::Splice(other, from, to)),
        (at(), proptest::sample::select(NUMBERS.to_vec())).prop_map(|(i, n)| Change::Number(i, n)),
    ]
}

impl Change {
    fn apply(&self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let len = input.len();
        if len == 0 {
            if let Change::Insert(_, bytes) = self {
                input.extend_from_slice(bytes);
            }
            return;
        }
        // Half of all lengths are short.
        let length = |index: &Index, start: usize| 1 + index.index((len - start).min(64));
        match self {
            Change::Flip(i, bit) => input[i.index(len)] ^= 1 << bit,
            Change::Set(i, byte) => input[i.index(len)] = *byte,
            Change::Insert(i, bytes) => drop(input.splice(i.index(len)..i.index(len), bytes.iter().copied())),
            Change::Remove(i, n) => {
                let start = i.index(len);
                drop(input.drain(start..start + length(n, start)));
            }
            Change::Repeat(i, n, times) => {
                let start = i.index(len);
                let end = start + length(n, start);
                let part = input[start..end].repeat(usize::from(*times));
                drop(input.splice(end..end, part));
            }
            Change::Truncate(i) => input.truncate(i.index(len)),
            Change::Splice(other, from, to) => {
                let other = &seeds[other.index(seeds.len())];
                let tail = other.get(from.index(other.len().max(1))..).unwrap_or_default();
                input.truncate(to.index(len));
                input.extend_from_slice(tail);
            }
            Change::Number(i, n) => {
                let start = i.index(len);
                match input[start..].iter().position(u8::is_ascii_digit) {
                    Some(digit) => {
                        let digits =
                            input[start + digit..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                        let place = start + digit..start + digit + digits;
                        drop(input.splice(place, n.to_string().into_bytes()));
                    }
                    None => {
                        let bytes = (*n as u32).to_be_bytes();
                        for (at, byte) in input.iter_mut().skip(start).zip(bytes) {
                            *at = byte;
                        }
                    }
                }
            }
        }
        input.truncate(MAX_INPUT);
    }
}

/// Runs a target: what is in its folder of `corpus` and its seeds as they are, then changed, until its time is over.
///
/// # Panics
/// When the target does, with the name of the file that shows it.
pub fn fuzz(target: &Target, corpus: &Path) {
    let folder = corpus.join(target.name);
    let mut seeds = (target.seeds)();
    for file in files(&folder) {
        seeds.push(fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    for seed in &seeds {
        (target.run)(seed);
    }

    let seconds = std::env::var("ORIEL_FUZZ_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("ORIEL_FUZZ_SECONDS is a number"));
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    let pool = seeds.clone();
    let count = seeds.len();
    let input = (0..count, prop_oneof![3 => vec(change(), 1..4), 1 => vec(change(), 1..24)], Just(()))
        .prop_map(move |(seed, changes, ())| {
            let mut input = pool[seed].clone();
            for change in &changes {
                change.apply(&mut input, &pool);
            }
            input
        });
    let inputs = AtomicU64::new(0);
    while Instant::now() < deadline {
        // A runner is for so many cases in all, however often it is run.
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let result = TestRunner::new(config).run(&input, |input| {
            inputs.fetch_add(1, Relaxed);
            (target.run)(&input);
            Ok(())
        });
        if let Err(TestError::Fail(reason, input)) = result {
            let file = folder.join(format!("found-{:016x}", hash(&input)));
            let kept = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, &input));
            panic!("{}: {reason}; the input is {} ({kept:?})", target.name, file.display());
        }
    }
    let inputs = inputs.into_inner();
    eprintln!("{}: {count} seeds, {inputs} inputs", target.name);
}

/// The corpus that is kept.
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files
}

fn hash(input: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    hasher.finish()
}
