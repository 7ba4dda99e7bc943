//! Counts allocations, for measurements; only with the feature `count-allocations`.
//!
//! Once a second a line `<microseconds since 1970> <allocations> <bytes>` replaces the file [`FILE`] in the run directory.
//! What the C libraries allocate is not in it.

#![expect(clippy::disallowed_methods, reason = "what is counted is told with the time")]

use std::alloc::{GlobalAlloc, Layout};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Name of the file.
pub const FILE: &str = "allocations";
const INTERVAL: Duration = Duration::from_secs(1);

static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// An allocator that counts what another one does.
pub struct Counting<A>(pub A);

fn count(bytes: usize) {
    COUNT.fetch_add(1, Relaxed);
    BYTES.fetch_add(bytes as u64, Relaxed);
}

// SAFETY: every call is passed on unchanged to an allocator that keeps the contract; counting touches no memory of it.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { self.0.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from the inner allocator, with this layout.
        unsafe { self.0.dealloc(ptr, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { self.0.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: as in `dealloc`; `new_size` is the caller's to keep in bounds.
        unsafe { self.0.realloc(ptr, layout, new_size) }
    }
}

/// Starts to write the file, for as long as the process lives.
pub fn report(run_dir: &Path) {
    let file = run_dir.join(FILE);
    std::thread::spawn(move || {
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
            let line = format!("{now} {} {}\n", COUNT.load(Relaxed), BYTES.load(Relaxed));
            // Renamed into place, so that nobody reads half of it.
            let new = file.with_extension("new");
            let written = std::fs::write(&new, line).and_then(|()| std::fs::rename(&new, &file));
            if let Err(error) = written {
                tracing::warn!(%error, "allocations cannot be reported");
            }
            std::thread::sleep(INTERVAL);
        }
    });
}
