//! An X program with known content, for measuring a desktop: it fills the screen, changes as it is told, and draws
//! the time code of [`common::timecode`] at the top left with every change.
//!
//! The code is drawn for an area of [`CODE_AREA`] pixels, last of all: where it is seen, all the rest is. Its time
//! is when drawing began.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bench::CODE_AREA;
use clap::{Parser, ValueEnum};
use common::timecode::{Grid, TimeCode};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use x11rb::connection::Connection;
use x11rb::protocol::shm::ConnectionExt as _;
use x11rb::protocol::xproto::{
    ConnectionExt as _, CreateGCAux, CreateWindowAux, EventMask, Gcontext, ImageFormat, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Nothing.
    Idle,
    /// A letter of a line of text.
    Typing,
    /// A window of text, by a line.
    Scroll,
    /// Everything.
    Video,
    /// A part of the picture moves smoothly.
    Moving,
}

#[derive(Parser)]
struct Args {
    /// What changes
    #[arg(long, value_enum)]
    mode: Mode,
    /// Changes per second
    #[arg(long, default_value_t = 30.0)]
    fps: f64,
    /// Stops for a moment after so many changes, for snapshots of a picture that was sent
    #[arg(long)]
    pause_after: Option<u32>,
}

/// How long a pause is: some snapshots.
const PAUSE: Duration = Duration::from_millis(500);

/// Height of a line of text and width of a letter, pixels.
const LINE: u16 = 16;
const LETTER: u16 = 6;
const PIXEL: usize = 4;

struct Scene {
    x: RustConnection,
    window: Window,
    gc: Gcontext,
    width: u16,
    height: u16,
    /// A picture of twice the size in each direction; parts of it are shown.
    texture: Texture,
    frame: u32,
}

/// Memory that the X server shows parts of without another copy through a socket.
struct Texture {
    segment: u32,
    width: u16,
    height: u16,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut scene = Scene::open()?;
    let start = Instant::now();
    let interval = Duration::from_secs_f64(1.0 / args.fps);
    scene.draw(args.mode)?;
    if args.mode == Mode::Idle {
        loop {
            scene.x.wait_for_event()?;
        }
    }
    for n in 1u32.. {
        // Content has a rate of its own; nothing waits for it.
        let pauses = args.pause_after.map_or(0, |after| (n - 1) / after);
        let at = start + interval * n + PAUSE * pauses;
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        scene.draw(args.mode)?;
    }
    Ok(())
}

impl Scene {
    fn open() -> Result<Self> {
        let (x, screen) = x11rb::connect(None)?;
        let screen = &x.setup().roots[screen];
        let width = screen.width_in_pixels;
        let height = screen.height_in_pixels;
        let window = x.generate_id()?;
        let gc = x.generate_id()?;
        let look = CreateWindowAux::new()
            .background_pixel(screen.white_pixel)
            .override_redirect(1)
            .event_mask(EventMask::EXPOSURE);
        let depth = screen.root_depth;
        let root = screen.root;
        let visual = screen.root_visual;
        let class = WindowClass::INPUT_OUTPUT;
        x.create_window(depth, window, root, 0, 0, width, height, 0, class, visual, &look)?;
        let font = x.generate_id()?;
        x.open_font(font, b"fixed")?.check().context("the X server's font")?;
        let colours = CreateGCAux::new()
            .font(font)
            .foreground(screen.black_pixel)
            .background(screen.white_pixel)
            .graphics_exposures(0);
        x.create_gc(gc, window, &colours)?;
        x.map_window(window)?;
        let texture = Texture::new(&x, width * 2, height * 2)?;
        x.sync()?;
        let mut scene = Self { x, window, gc, width, height, texture, frame: 0 };
        scene.draw_page()?;
        Ok(scene)
    }

    /// A page of text, which all content but video is drawn on.
    fn draw_page(&mut self) -> Result<()> {
        for line in (6..self.height / LINE).map(|line| line * LINE) {
            self.text(8, line, u32::from(line), 160)?;
        }
        Ok(())
    }

    fn text(&self, x: i16, y: u16, seed: u32, len: usize) -> Result<()> {
        // Words of letters as they occur, never the same line twice: an encoder looks for what it has seen before.
        let mut state = seed.wrapping_mul(2_654_435_761);
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        let letters = b"eeeeeeettttaaaaooooiiinnnsssrrrhhhllddccuummffppggwwyybbvkxjqz";
        let mut line = Vec::with_capacity(len + 9);
        while line.len() < len {
            line.extend((0..next(9) + 1).map(|_| letters[next(letters.len() as u32) as usize]));
            line.push(b' ');
        }
        line.truncate(len);
        self.x.image_text8(self.window, self.gc, x, y as i16 + 12, &line)?;
        Ok(())
    }

    fn draw(&mut self, mode: Mode) -> Result<()> {
        let n = self.frame;
        // Before anything is drawn: what the X server needs for it is a part of the way to the glass.
        let time = SystemTime::now().duration_since(UNIX_EPOCH)?;
        match mode {
            Mode::Idle => {}
            Mode::Typing => {
                // Beside the code, so that the changed rows are those of a line of text.
                let column = (n % 120) as i16;
                let letter = [b'a' + (n % 26) as u8];
                self.x.image_text8(
                    self.window,
                    self.gc,
                    CODE_AREA.0 as i16 / 2 + 8 + column * 6,
                    40,
                    &letter,
                )?;
            }
            Mode::Scroll => {
                // A terminal's window of two thirds of the screen in each direction.
                let left = 8;
                let top = 6 * LINE;
                let width = self.width * 2 / 3;
                let height = self.height * 2 / 3 / LINE * LINE;
                let window = self.window;
                let from = (top + LINE) as i16;
                self.x.copy_area(
                    window,
                    window,
                    self.gc,
                    left,
                    from,
                    left,
                    top as i16,
                    width,
                    height - LINE,
                )?;
                self.text(left, top + height - LINE, n, usize::from(width) / usize::from(LETTER))?;
            }
            Mode::Video => self.show(self.width, self.height, 0, 0)?,
            Mode::Moving => {
                let width = self.width / 2;
                let height = self.height / 2;
                self.show(width, height, self.width as i16 / 2 - 40, self.height as i16 / 2 - 40)?;
            }
        }
        self.draw_code(TimeCode { frame: n, time_us: time.as_micros() as u64 })?;
        self.x.flush()?;
        self.frame = n.wrapping_add(1);
        Ok(())
    }

    /// Shows the part of the texture that it is this frame's turn of.
    fn show(&self, width: u16, height: u16, x: i16, y: i16) -> Result<()> {
        let Texture { segment, width: total_width, height: total_height } = self.texture;
        let angle = f64::from(self.frame) * 0.037;
        let across = f64::from(total_width - width) / 2.0 * (1.0 + angle.sin());
        let down = f64::from(total_height - height) / 2.0 * (1.0 + (angle * 0.7).cos());
        self.x.shm_put_image(
            self.window,
            self.gc,
            total_width,
            total_height,
            across as u16,
            down as u16,
            width,
            height,
            x,
            y,
            24,
            ImageFormat::Z_PIXMAP.into(),
            false,
            segment,
            0,
        )?;
        Ok(())
    }

    fn draw_code(&self, code: TimeCode) -> Result<()> {
        let grid = Grid::new(CODE_AREA.0, CODE_AREA.1).context("the area is too small for a code")?;
        let area = grid.area();
        let mut pixels = vec![0u8; (area.width * area.height) as usize * PIXEL];
        for (index, white) in code.cells().into_iter().enumerate().filter(|(_, white)| *white) {
            debug_assert!(white);
            let cell = grid.cell(index);
            for y in cell.y..cell.y + cell.height {
                let from = (y * area.width + cell.x) as usize * PIXEL;
                pixels[from..from + cell.width as usize * PIXEL].fill(255);
            }
        }
        let width = area.width as u16;
        let height = area.height as u16;
        let format = ImageFormat::Z_PIXMAP;
        self.x.put_image(format, self.window, self.gc, width, height, 0, 0, 0, 24, &pixels)?;
        Ok(())
    }
}

impl Texture {
    fn new(x: &RustConnection, width: u16, height: u16) -> Result<Self> {
        let len = usize::from(width) * usize::from(height) * PIXEL;
        let memory = rustix::fs::memfd_create("texture", rustix::fs::MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&memory, len as u64)?;
        fill(&memory, len, usize::from(width))?;
        let segment = x.generate_id()?;
        x.shm_attach_fd(segment, memory, true)?.check().context("sharing memory with the X server")?;
        Ok(Self { segment, width, height })
    }
}

/// Smooth shapes of several sizes with a little grain, as a camera sees.
fn fill(memory: &OwnedFd, len: usize, width: usize) -> Result<()> {
    // SAFETY: a new mapping of `len` bytes of a file of that length, at an address of the kernel's choice. It stays for the
    // life of the process; the X server, which has it too, only reads.
    let pixels: &mut [u8] = unsafe {
        let start =
            mmap(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, memory, 0)?;
        std::slice::from_raw_parts_mut(start.cast(), len)
    };
    let mut noise = 1u32;
    for (n, pixel) in pixels.chunks_exact_mut(PIXEL).enumerate() {
        let x = (n % width) as f32;
        let y = (n / width) as f32;
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = (noise >> 29) as f32;
        let wave = (x * 0.011).sin() + (y * 0.017).sin() + ((x + y) * 0.023).sin() + (x * 0.13).sin() * 0.3;
        let value =
            |shift: f32| (128.0 + 40.0 * (wave + (shift + x * 0.003).sin()) + grain).clamp(0.0, 255.0) as u8;
        pixel.copy_from_slice(&[value(0.0), value(2.0), value(4.0), 0]);
    }
    Ok(())
}
