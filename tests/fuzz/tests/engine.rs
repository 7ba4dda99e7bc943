//! The fuzzer finds what there is to find, and keeps it.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::panic::catch_unwind;

use fuzz::{Target, fuzz};

/// Takes three changes: hardly ever found among the first inputs, and soon after.
fn fragile(input: &[u8]) {
    let brackets = input.iter().filter(|byte| **byte == b'[').count();
    assert!(
        brackets < 5 || !input.contains(&b'7') || !input.windows(3).any(|three| three == b"]]]"),
        "a bug"
    );
}

#[test]
fn a_bug_is_found_made_small_and_kept() {
    let corpus = tempfile::tempdir().unwrap();
    let target = Target { name: "planted", seeds: || vec![b"[[1, 2], [3]]".to_vec()], run: fragile };
    let path = corpus.path().to_owned();
    let found = catch_unwind(move || fuzz(&target, &path)).unwrap_err();
    let told = found.downcast_ref::<String>().unwrap();
    assert!(told.contains("planted") && told.contains("a bug"), "{told}");
    let kept: Vec<_> = std::fs::read_dir(corpus.path().join("planted")).unwrap().collect();
    assert_eq!(kept.len(), 1);
    let input = std::fs::read(kept[0].as_ref().unwrap().path()).unwrap();
    assert!(catch_unwind(|| fragile(&input)).is_err(), "{input:?}");
}
