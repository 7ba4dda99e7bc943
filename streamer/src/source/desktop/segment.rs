//! Memory shared with an X server: it writes pixels into it, we read them.

use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use x11rb::connection::Connection as _;
use x11rb::protocol::shm::{self, ConnectionExt as _};
use x11rb::rust_connection::RustConnection;

use super::display::x;
use crate::source::Error;

/// One segment, mapped read-only here.
pub struct Segment {
    id: shm::Seg,
    address: *mut std::ffi::c_void,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and only this value reads through it.
unsafe impl Send for Segment {}

impl Segment {
    /// Makes a segment of `len` bytes and attaches the server to it.
    ///
    /// # Errors
    /// The system has not enough memory, or the server refuses it.
    pub fn new(connection: &RustConnection, len: usize) -> Result<Self, Error> {
        let (address, memory) = map(len).map_err(|e| Error::Io {
            what: format!("sharing {len} bytes with the X server"),
            source: e.into(),
        })?;
        let id = connection.generate_id().map_err(x)?;
        let segment = Self { id, address, len };
        connection.shm_attach_fd(id, memory, false).map_err(x)?.check().map_err(x)?;
        Ok(segment)
    }

    /// The segment's id at the server.
    pub fn id(&self) -> shm::Seg {
        self.id
    }

    /// The pixels that the server has written.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping has `len` bytes as long as `self` lives, and cannot be truncated (it is
        // sealed). The server writes only while a request of ours asks it to; the one thread that uses the
        // connection waits for such a request before it reads.
        unsafe { std::slice::from_raw_parts(self.address.cast(), self.len) }
    }

    /// Detaches the server from the segment.
    pub fn detach(self, connection: &RustConnection) -> Result<(), Error> {
        connection.shm_detach(self.id).map_err(x)?.ignore_error();
        Ok(())
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length; nothing borrowed from it is alive.
        if let Err(error) = unsafe { munmap(self.address, self.len) } {
            tracing::error!(%error, "unmapping shared memory");
        }
    }
}

fn map(len: usize) -> Result<(*mut std::ffi::c_void, OwnedFd), rustix::io::Errno> {
    let memory = memfd_create("oriel-frame", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&memory, len as u64)?;
    // Nobody, not even an X server that is not ours, can take the memory away under the mapping.
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let address = unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, &memory, 0)? };
    Ok((address, memory))
}
