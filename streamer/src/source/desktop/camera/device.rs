//! A V4L2 device that takes pictures: `/dev/videoN`, as the kernel module v4l2loopback makes it. What is written to it is what
//! programs see that open it as their camera.
//!
//! Only such devices are opened: a device of the driver class of video, which says of itself that it can be written pictures to. It is
//! locked (`flock`), as two writers would make one flickering picture.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock, major};
use rustix::ioctl::{Getter, Opcode, Updater, ioctl, opcode};

use super::Screen;
use crate::media::Size;
use crate::source::NoCamera;

/// Major number of the kernel's video devices.
const MAJOR: u32 = 81;

/// The device, ready for pictures.
pub struct Device(File);

impl Device {
    /// Opens `path` for pictures of this size in I420.
    ///
    /// # Errors
    /// [`NoCamera::Device`], which says what to do.
    pub fn open(path: &Path, size: Size) -> Result<Self, NoCamera> {
        let shown = path.display();
        let refused = |why: String| NoCamera::Device(why);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| refused(not_opened(path, &error)))?;
        let is_video = file
            .metadata()
            .is_ok_and(|known| known.file_type().is_char_device() && major(known.rdev()) == MAJOR);
        if !is_video {
            return Err(refused(format!("{shown} is no video device")));
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| refused(format!("{shown} is the camera of another desktop")))?;
        let abilities = abilities(&file)
            .map_err(|error| refused(format!("{shown} does not say what it can do: {error}")))?;
        if abilities & (VIDEO_OUTPUT | READ_WRITE) != VIDEO_OUTPUT | READ_WRITE {
            return Err(refused(format!(
                "{shown} takes no pictures: it is a camera of this machine, or another program writes to it. A device of the \
                 kernel module v4l2loopback takes some"
            )));
        }
        set_format(&file, size).map_err(|error| {
            refused(format!("{shown} takes no pictures of {}x{}: {error}", size.width, size.height))
        })?;
        Ok(Self(file))
    }
}

impl Screen for Device {
    fn show(&mut self, picture: &[u8]) -> io::Result<()> {
        self.0.write_all(picture)
    }
}

fn not_opened(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    let number = path.to_str().and_then(|path| path.strip_prefix("/dev/video")).unwrap_or("10");
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "this machine has no V4L2 loopback device {shown}: load one with `modprobe v4l2loopback video_nr={number} \
             exclusive_caps=1` and start the streamer again"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "the user of the session may not write to {shown}: give it the group of that device, usually `video`"
        ),
        _ => format!("{shown} cannot be opened: {error}"),
    }
}

// What follows is of `linux/videodev2.h`.

const VIDEO_OUTPUT: u32 = 0x0000_0002;
const READ_WRITE: u32 = 0x0100_0000;
/// `device_caps` is filled in.
const DEVICE_CAPS: u32 = 0x8000_0000;
/// `V4L2_BUF_TYPE_VIDEO_OUTPUT`
const TYPE_OUTPUT: u32 = 2;
/// `V4L2_FIELD_NONE`: whole pictures.
const FIELD_NONE: u32 = 1;
/// `V4L2_COLORSPACE_SMPTE170M`: the colours of BT.601, as of most cameras.
const SMPTE170M: u32 = 1;
/// `V4L2_PIX_FMT_YUV420`: I420.
const YUV420: u32 = u32::from_le_bytes(*b"YU12");

/// `struct v4l2_capability`
#[repr(C)]
struct Capability {
    names: [u8; 80],
    version: u32,
    capabilities: u32,
    device_caps: u32,
    reserved: [u32; 3],
}

/// Between `type` and the rest of a `struct v4l2_format`, which has pointers in it.
const PADDING: usize = size_of::<*const c_void>() / size_of::<u32>() - 1;

/// `struct v4l2_format` with a `struct v4l2_pix_format`
#[repr(C)]
struct Format {
    kind: u32,
    padding: [u32; PADDING],
    width: u32,
    height: u32,
    pixelformat: u32,
    field: u32,
    bytesperline: u32,
    sizeimage: u32,
    colorspace: u32,
    /// Of `priv` and what follows, and of the union.
    reserved: [u32; 43],
}

const QUERY_CAPABILITY: Opcode = opcode::read::<Capability>(b'V', 0);
const SET_FORMAT: Opcode = opcode::read_write::<Format>(b'V', 5);

fn abilities(device: impl AsFd) -> io::Result<u32> {
    // SAFETY: `VIDIOC_QUERYCAP` writes one `struct v4l2_capability`, which `Capability` is laid out as, and all of whose bytes mean
    // something as integers. The driver of a video device knows it; another file would refuse it.
    let known = unsafe { ioctl(device, Getter::<QUERY_CAPABILITY, Capability>::new()) }?;
    let of_device = known.capabilities & DEVICE_CAPS != 0;
    Ok(if of_device { known.device_caps } else { known.capabilities })
}

fn set_format(device: impl AsFd, size: Size) -> io::Result<()> {
    let mut format = Format {
        kind: TYPE_OUTPUT,
        padding: [0; PADDING],
        width: size.width,
        height: size.height,
        pixelformat: YUV420,
        field: FIELD_NONE,
        bytesperline: size.width,
        sizeimage: super::picture_bytes(size) as u32,
        colorspace: SMPTE170M,
        reserved: [0; 43],
    };
    // SAFETY: `VIDIOC_S_FMT` reads and writes one `struct v4l2_format`, which `Format` is laid out as for this `kind`, and all of whose
    // bytes mean something as integers.
    unsafe { ioctl(device, Updater::<SET_FORMAT, Format>::new(&mut format)) }?;
    // The driver says what it made of it.
    let taken = (format.width, format.height, format.pixelformat);
    if taken == (size.width, size.height, YUV420) {
        return Ok(());
    }
    Err(io::Error::other("it has another size or format, which somebody else has set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 1280, height: 720 };

    fn refused(path: &Path) -> String {
        match Device::open(path, SIZE) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{} was opened as a camera", path.display()),
        }
    }

    #[test]
    fn structures_are_as_large_as_those_of_the_kernel() {
        // The size is a part of the number: `VIDIOC_QUERYCAP`, `VIDIOC_S_FMT`.
        assert_eq!(QUERY_CAPABILITY, 0x8068_5600);
        let set_format = if PADDING == 1 { 0xc0d0_5605 } else { 0xc0cc_5605 };
        assert_eq!(SET_FORMAT, set_format);
    }

    #[test]
    fn a_device_that_is_not_there_is_refused_with_the_command_that_makes_it() {
        let why = refused(Path::new("/dev/video250"));
        assert!(why.contains("no V4L2 loopback device /dev/video250"), "{why}");
        assert!(why.contains("modprobe v4l2loopback video_nr=250"), "{why}");
    }

    #[test]
    fn what_is_no_video_device_is_refused_and_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("video10");
        std::fs::write(&file, "text").unwrap();
        assert!(refused(&file).ends_with("is no video device"));
        assert!(refused(Path::new("/dev/null")).ends_with("is no video device"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(refused(&link).contains("cannot be opened"), "links are not followed");
        assert_eq!(std::fs::read(&file).unwrap(), b"text");
    }
}
