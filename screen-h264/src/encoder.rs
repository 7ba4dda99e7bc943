//! The encoder: what of a picture changed, in which order it is coded, and what is still to be improved.

use std::ops::Range;

use crate::Error;
use crate::bits::BitWriter;
use crate::frame::{Frame, Picture, Rect, Vector};
use crate::glyphs::Glyphs;
use crate::macroblock::{Coded, Coder, Macroblock, is_inside};
use crate::motion::Search;
use crate::params::{self, FRAME_NUM_BITS};
use crate::rate::Rate;
use crate::slice::{self, Kind};

/// How samples stand for colours (H.264 §E.2.1). The encoder passes it on and does not convert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// `colour_primaries` (H.264 table E-3).
    pub primaries: u8,
    /// `transfer_characteristics` (H.264 table E-4).
    pub transfer: u8,
    /// `matrix_coefficients` (H.264 table E-5).
    pub matrix: u8,
    /// `video_full_range_flag`: samples use 0–255 rather than 16–235 and 16–240.
    pub full_range: bool,
}

impl Colour {
    /// BT.709 in limited range.
    pub const BT709: Self = Self { primaries: 1, transfer: 1, matrix: 1, full_range: false };
}

/// What an encoder is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Luma samples; even.
    pub width: u32,
    /// Luma samples; even.
    pub height: u32,
    /// Highest number of pictures per second: the level follows from it.
    pub fps: u32,
    /// Passed on to decoders.
    pub colour: Colour,
    /// Slices per picture, each of whole rows of macroblocks; at least 1. Slices do not depend on each other,
    /// so a loss spoils only its own, and they cost some bits.
    pub slices: u32,
    /// The quantiser (`QP_Y`, 0–51, finer when lower) that is used while the budget allows it. 12 leaves text at
    /// about 51 dB, and a page with its plain ground at 57 dB.
    pub finest_qp: u8,
    /// The coarsest quantiser, not below `finest_qp`: bounds how bad a picture gets, at the price of the budget.
    pub coarsest_qp: u8,
    /// Bytes that a picture should not exceed. Macroblocks are coded more coarsely as it runs out, down to
    /// `coarsest_qp`; it is exceeded only if that is not enough.
    pub max_bytes: usize,
}

impl Config {
    /// Settings for a desktop of this size at 30 pictures per second, without a bound on their size.
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            fps: 30,
            colour: Colour::BT709,
            slices: 1,
            finest_qp: 12,
            coarsest_qp: 51,
            max_bytes: usize::MAX / 16,
        }
    }
}

/// An encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Access unit in the byte stream format (H.264 annex B); SPS and PPS come first in a keyframe.
    pub data: Vec<u8>,
    /// Decodable alone (IDR).
    pub keyframe: bool,
    /// How it was coded.
    pub statistics: Statistics,
}

/// How many macroblocks were coded in which way; those without damage are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// With damage, and yet the same as before.
    pub still: u32,
    /// Found elsewhere in the picture before.
    pub moved: u32,
    /// Predicted from the picture before, with a residual.
    pub inter: u32,
    /// Predicted from their surroundings.
    pub intra: u32,
    /// All that changed was searched for where it was before: no distance was known by which it moved.
    pub searched: bool,
}

/// What is to be done with a macroblock that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// It shows what it showed.
    Still,
    /// It shows what was elsewhere.
    Moved(Vector),
    /// It shows something else; the number says how hard it is to code.
    New(u32),
    /// It shows what it showed, and is to do so better, with this quantiser.
    Better(u8),
}

/// How far a macroblock's reconstruction is from what it should show: sums of squared differences.
#[derive(Debug, Clone, Copy, Default)]
struct Quality {
    luma: u32,
    chroma: u32,
    /// Attempts to improve it since its content changed.
    attempts: u8,
}

impl Quality {
    /// Of 256 luma samples: 51 dB.
    const LUMA: u32 = 128;
    /// Of 128 chroma samples: 48 dB.
    const CHROMA: u32 = 128;

    /// The quantiser that usually gets there at once.
    const QP: u8 = 12;

    fn is_good(self) -> bool {
        self.luma <= Self::LUMA && self.chroma <= Self::CHROMA
    }
}

/// Bits of a set of macroblocks: rows of words, so that runs of macroblocks that are not in it cost nothing.
#[derive(Debug, Clone)]
struct Set {
    words: usize,
    bits: Vec<u64>,
}

impl Set {
    fn new(columns: usize, rows: usize) -> Self {
        let words = columns.div_ceil(64);
        Self { words, bits: vec![0; words * rows] }
    }

    fn insert(&mut self, x: usize, y: usize) {
        self.bits[y * self.words + x / 64] |= 1 << (x % 64);
    }

    fn clear(&mut self) {
        self.bits.fill(0);
    }

    /// The first one from `x` on in row `y`.
    fn next(&self, x: usize, y: usize) -> Option<usize> {
        let words = &self.bits[y * self.words..(y + 1) * self.words];
        let mut word = x / 64;
        let mut bits = words.get(word)? & (u64::MAX << (x % 64));
        while bits == 0 {
            word += 1;
            bits = *words.get(word)?;
        }
        Some(64 * word + bits.trailing_zeros() as usize)
    }
}

/// Distances that are remembered for the next picture.
const MAX_VECTORS: usize = 6;

/// Macroblocks that are filed for each new one: a scroll by a line does not read the whole window.
const FILED_PER_NEW: usize = 4;

/// How far the vectors of two pictures that follow one another may be apart in each direction to be called near, and how many of the
/// first one are looked at.
const NEARBY: i16 = 12;
const NEARBY_CENTRES: usize = 2;

/// Of so many macroblocks it is asked by which vector they moved.
const SAMPLES: usize = 16;

/// From so many new macroblocks on, it pays to look for what looks like them.
const WORTH_FILING: usize = 4;

/// Encodes pictures of one size. The first one is a keyframe.
pub struct Encoder {
    config: Config,
    columns: usize,
    rows: usize,
    parameter_sets: Vec<u8>,
    /// What is to be shown.
    source: Frame,
    /// What decoders show.
    reconstruction: Frame,
    /// What decoders showed before the picture that is being coded.
    reference: Frame,
    macroblocks: Vec<Macroblock>,
    plans: Vec<Plan>,
    /// Macroblocks that are looked at in this picture.
    work: Set,
    quality: Vec<Quality>,
    search: Search,
    glyphs: Glyphs,
    /// For the quarters of new macroblocks, what looks like them in the picture before.
    likenesses: Vec<[Vector; 4]>,
    /// Distances found for the last picture that moved: scrolling goes on.
    vectors: Vec<Vector>,
    rate: Rate,
    /// Of the next picture; `None` before the first one.
    frame_num: Option<u32>,
    idr_pic_id: u32,
}

impl Encoder {
    /// An encoder.
    ///
    /// # Errors
    /// [`Error::Size`] if no level allows the size; [`Error::Config`] if a field is out of range.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { width, height, .. } = config;
        if width == 0 || height == 0 || !width.is_multiple_of(2) || !height.is_multiple_of(2) {
            return Err(Error::Size { width, height });
        }
        let Some(level) = params::level_idc(&config) else {
            return Err(Error::Size { width, height });
        };
        let columns = width.div_ceil(16) as usize;
        let rows = height.div_ceil(16) as usize;
        check(&config, rows)?;
        let mut parameter_sets = Vec::new();
        params::write(&config, level, &mut parameter_sets);
        let frame = Frame::new(columns, rows);
        Ok(Self {
            config,
            columns,
            rows,
            parameter_sets,
            source: frame.clone(),
            reconstruction: frame.clone(),
            reference: frame,
            macroblocks: vec![Macroblock::STILL; columns * rows],
            plans: vec![Plan::Still; columns * rows],
            work: Set::new(columns, rows),
            quality: vec![Quality::default(); columns * rows],
            search: Search::new(),
            glyphs: Glyphs::new(),
            likenesses: vec![[Vector::ZERO; 4]; columns * rows],
            vectors: Vec::new(),
            rate: Rate::new(),
            frame_num: None,
            idr_pic_id: 0,
        })
    }

    /// What it was made for, with the bound of now.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Changes how fine and how large pictures may be, from the next one on.
    ///
    /// # Errors
    /// [`Error::Config`] if a quantiser is out of range or the bound is zero.
    pub fn set_quality(&mut self, finest_qp: u8, coarsest_qp: u8, max_bytes: usize) -> Result<(), Error> {
        let config = Config { finest_qp, coarsest_qp, max_bytes, ..self.config };
        check(&config, self.rows)?;
        self.config = config;
        Ok(())
    }

    /// What decoders show after the last picture: planes Y, U and V and their strides in bytes. They have whole
    /// macroblocks; the picture is their upper left part.
    pub fn reconstruction(&self) -> ([&[u8]; 3], [usize; 3]) {
        let planes = &self.reconstruction.planes;
        (planes.each_ref().map(|plane| plane.data()), planes.each_ref().map(|plane| plane.width()))
    }

    /// Encodes a picture. `damage` are the areas that may differ from the picture before: nothing outside of
    /// them is looked at, unless this is the first picture or `keyframe` is true. `moves` are distances that
    /// content is known to have moved by, from where it is to where it was; they are hints and may be wrong.
    ///
    /// Returns `None` if nothing changed.
    ///
    /// # Errors
    /// [`Error::Size`] if the picture has another size than the encoder.
    pub fn encode(
        &mut self,
        picture: &Picture<'_>,
        damage: &[Rect],
        moves: &[Vector],
        keyframe: bool,
    ) -> Result<Option<Encoded>, Error> {
        self.check_size(picture)?;
        let encoded = match self.frame_num {
            Some(frame_num) if !keyframe => {
                let mut statistics = Statistics::default();
                if !self.find_changes(picture, damage, moves, &mut statistics) {
                    return Ok(None);
                }
                self.code(Kind::P { frame_num }, self.config.max_bytes, statistics)
            }
            _ => {
                self.take_all(picture);
                self.idr_pic_id ^= 1;
                let kind = Kind::Idr { idr_pic_id: self.idr_pic_id };
                self.code(kind, self.config.max_bytes, Statistics::default())
            }
        };
        Ok(Some(encoded))
    }

    /// Encodes once more what is not as good as wanted, the worst first, in about `max_bytes`. Returns `None`
    /// once there is nothing left to improve, or before the first picture.
    pub fn refine(&mut self, max_bytes: usize) -> Option<Encoded> {
        let frame_num = self.frame_num?;
        let mut bad: Vec<(u32, usize)> = self
            .quality
            .iter()
            .enumerate()
            .filter(|(_, quality)| !quality.is_good())
            .map(|(at, quality)| (quality.luma + quality.chroma, at))
            .collect();
        if bad.is_empty() {
            return None;
        }
        bad.sort_unstable_by(|a, b| b.cmp(a));
        self.work.clear();
        // A macroblock takes some 100 bytes; those that do not fit have to wait for the next call.
        for &(_, at) in bad.iter().take((max_bytes / 40).max(1)) {
            let finer = self.quality[at].attempts.saturating_mul(4);
            let qp = self.config.finest_qp.min(Quality::QP).saturating_sub(finer);
            self.plans[at] = Plan::Better(qp);
            self.work.insert(at % self.columns, at / self.columns);
        }
        Some(self.code(Kind::P { frame_num }, max_bytes, Statistics::default()))
    }

    /// What [`Encoder::encode`] would count if `picture` followed `before`, without coding anything: `inter` is what
    /// is neither still nor moved, and `intra` stays zero. The encoder begins anew with it: its next picture is a
    /// keyframe.
    ///
    /// # Errors
    /// [`Error::Size`] if one of the pictures has another size than the encoder.
    pub fn survey(
        &mut self,
        before: &Picture<'_>,
        picture: &Picture<'_>,
        damage: &[Rect],
    ) -> Result<Statistics, Error> {
        self.check_size(before)?;
        self.check_size(picture)?;
        self.frame_num = None;
        for y in 0..self.rows {
            for x in 0..self.columns {
                self.source.load(before, x, y);
            }
        }
        let mut statistics = Statistics::default();
        self.find_changes(picture, damage, &[], &mut statistics);
        for y in 0..self.rows {
            let mut from = 0;
            while let Some(x) = self.work.next(from, y) {
                let at = y * self.columns + x;
                match std::mem::replace(&mut self.plans[at], Plan::Still) {
                    Plan::Moved(_) => statistics.moved += 1,
                    Plan::New(_) | Plan::Better(_) | Plan::Still => statistics.inter += 1,
                }
                self.likenesses[at] = [Vector::ZERO; 4];
                from = x + 1;
            }
        }
        Ok(statistics)
    }

    fn check_size(&self, picture: &Picture<'_>) -> Result<(), Error> {
        let same =
            picture.width == self.config.width as usize && picture.height == self.config.height as usize;
        let error = Error::Size { width: picture.width as u32, height: picture.height as u32 };
        if same { Ok(()) } else { Err(error) }
    }

    /// Whether [`Encoder::refine`] has nothing to do.
    pub fn is_at_rest(&self) -> bool {
        self.quality.iter().all(|quality| quality.is_good())
    }

    /// Plans a keyframe.
    fn take_all(&mut self, picture: &Picture<'_>) {
        for y in 0..self.rows {
            for x in 0..self.columns {
                self.source.load(picture, x, y);
                let at = y * self.columns + x;
                self.plans[at] = Plan::New(self.complexity(x, y));
                self.quality[at] = Quality::default();
                self.work.insert(x, y);
            }
        }
    }

    /// Finds what changed within the damage and plans what to do with it. Returns false if nothing did.
    fn find_changes(
        &mut self,
        picture: &Picture<'_>,
        damage: &[Rect],
        moves: &[Vector],
        statistics: &mut Statistics,
    ) -> bool {
        self.work.clear();
        for rect in damage {
            let Some((columns, rows)) = self.macroblocks_of(rect) else { continue };
            for y in rows {
                for x in columns.clone() {
                    self.work.insert(x, y);
                }
            }
        }
        let damaged = std::mem::replace(&mut self.work, Set::new(self.columns, self.rows));
        let mut changed = Vec::new();
        for y in 0..self.rows {
            let mut from = 0;
            while let Some(x) = damaged.next(from, y) {
                if self.source.shows(picture, x, y) {
                    statistics.still += 1;
                } else {
                    self.work.insert(x, y);
                    changed.push((x, y));
                }
                from = x + 1;
            }
        }
        if changed.is_empty() {
            return false;
        }
        statistics.searched = self.find_motion(picture, moves, &changed);
        for &(x, y) in &changed {
            self.source.load(picture, x, y);
        }
        for &(x, y) in &changed {
            let at = y * self.columns + x;
            self.quality[at].attempts = 0;
            if self.plans[at] == Plan::Still {
                self.plans[at] = Plan::New(self.complexity(x, y));
            }
        }
        true
    }

    /// The macroblocks that a rectangle touches: columns and rows.
    fn macroblocks_of(&self, rect: &Rect) -> Option<(Range<usize>, Range<usize>)> {
        let range = |start: u32, len: u32, side: u32| {
            let end = start.saturating_add(len).min(side);
            (start < end).then(|| start as usize / 16..(end as usize).div_ceil(16))
        };
        let columns = range(rect.x, rect.width, self.config.width)?;
        let rows = range(rect.y, rect.height, self.config.height)?;
        Some((columns, rows))
    }

    /// Plans macroblocks that are found elsewhere in the picture before. Returns whether all that changed was searched.
    fn find_motion(&mut self, picture: &Picture<'_>, moves: &[Vector], changed: &[(usize, usize)]) -> bool {
        let mut known: Vec<Vector> = Vec::new();
        for &vector in moves.iter().chain(&self.vectors) {
            if vector != Vector::ZERO && !known.contains(&vector) {
                known.push(vector);
            }
        }
        let mut used = vec![false; known.len()];
        let mut missing = self.match_vectors(picture, &known, changed, &mut used);
        let areas = areas(changed);
        // What goes on as before needs no search, except for what comes into view; nor does what goes on nearly as before.
        if 4 * missing.len() > changed.len() {
            let nearby = self.nearby(picture, &known, &missing);
            let mut used_now = vec![false; nearby.len()];
            missing = self.match_vectors(picture, &nearby, &missing, &mut used_now);
            known.splice(0..0, nearby);
            used.splice(0..0, used_now);
        }
        let searches = 4 * missing.len() > changed.len();
        if searches {
            let mut found = Vec::new();
            self.search.candidates(&self.source.planes[0], picture, &areas, &mut found);
            found.retain(|vector| !known.contains(vector));
            let mut used_now = vec![false; found.len()];
            missing = self.match_vectors(picture, &found, &missing, &mut used_now);
            // Parts of macroblocks may have moved by what most votes are for, even if no whole one has.
            for used in used_now.iter_mut().take(2) {
                *used = true;
            }
            known.splice(0..0, found);
            used.splice(0..0, used_now);
        }
        let mut used = used.into_iter();
        known.retain(|_| used.next().unwrap_or_default());
        known.truncate(MAX_VECTORS);
        self.vectors = known;
        self.find_likenesses(picture, &areas, &missing);
        searches
    }

    /// Distances near those of the picture before by which some of the `missing` macroblocks moved. What is dragged or scrolled
    /// by hand hardly changes its pace from one picture to the next.
    fn nearby(&self, picture: &Picture<'_>, known: &[Vector], missing: &[(usize, usize)]) -> Vec<Vector> {
        let step = missing.len().div_ceil(SAMPLES).max(1);
        let samples: Vec<_> =
            missing.iter().step_by(step).filter(|(x, y)| has_detail(picture, *x, *y)).collect();
        let width = 16 * self.columns;
        let height = 16 * self.rows;
        let moved = |x: usize, y: usize, vector: Vector| {
            is_inside(width, height, x, y, vector) && self.source.matches(picture, x, y, vector)
        };
        let mut found: Vec<(usize, Vector)> = Vec::new();
        for centre in known.iter().take(NEARBY_CENTRES).chain([&Vector::ZERO]) {
            for down in -NEARBY..=NEARBY {
                for across in -NEARBY..=NEARBY {
                    let vector = Vector { x: centre.x + across, y: centre.y + down };
                    if vector == Vector::ZERO || found.iter().any(|(_, other)| *other == vector) {
                        continue;
                    }
                    let votes = samples.iter().filter(|(x, y)| moved(*x, *y, vector)).count();
                    if votes > 1 {
                        found.push((votes, vector));
                    }
                }
            }
        }
        // What repeats itself fits at many distances: a search sees more of it.
        if found.len() > MAX_VECTORS {
            return Vec::new();
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.into_iter().map(|(_, vector)| vector).filter(|vector| !known.contains(vector)).collect()
    }

    /// Finds what looks like the quarters of macroblocks whose content is new.
    fn find_likenesses(
        &mut self,
        picture: &Picture<'_>,
        areas: &[(usize, Range<usize>)],
        new: &[(usize, usize)],
    ) {
        if new.len() < WORTH_FILING {
            return;
        }
        let before = &self.source.planes[0];
        self.glyphs.file(before, &nearest(areas, new));
        let mut asked = 0;
        let mut alike = 0;
        for &(x, y) in new {
            // Where nothing is like anything before, the question is not asked for all of the picture.
            if asked >= 512 && 8 * alike < asked {
                return;
            }
            for quarter in 0..4 {
                let block_x = 16 * x + 8 * (quarter % 2);
                let block_y = 16 * y + 8 * (quarter / 2);
                let Some(found) = self.glyphs.find(before, picture, block_x, block_y) else { continue };
                asked += 1;
                alike += usize::from(found.is_alike);
                self.likenesses[y * self.columns + x][quarter] = found.vector;
            }
        }
    }

    /// Plans those macroblocks that moved by one of the distances, notes which distances did, and returns the
    /// others.
    fn match_vectors(
        &mut self,
        picture: &Picture<'_>,
        vectors: &[Vector],
        blocks: &[(usize, usize)],
        used: &mut [bool],
    ) -> Vec<(usize, usize)> {
        let mut missing = Vec::new();
        let width = 16 * self.columns;
        let height = 16 * self.rows;
        let mut last = 0;
        for &(x, y) in blocks {
            // What the macroblock before moved by is the first guess.
            let order = vectors.iter().enumerate().skip(last).chain(vectors.iter().enumerate().take(last));
            let found = order.into_iter().find(|(_, vector)| {
                is_inside(width, height, x, y, **vector) && self.source.matches(picture, x, y, **vector)
            });
            match found {
                Some((at, &vector)) => {
                    last = at;
                    used[at] = true;
                    self.plans[y * self.columns + x] = Plan::Moved(vector);
                }
                None => missing.push((x, y)),
            }
        }
        missing
    }

    /// How hard a macroblock is to code: differences between neighbouring samples.
    fn complexity(&self, x: usize, y: usize) -> u32 {
        let plane = &self.source.planes[0];
        let mut sum = 16;
        for at in 0..16 {
            let row = plane.row(16 * x, 16 * y + at, 16);
            sum += row.windows(2).map(|pair| u32::from(pair[0].abs_diff(pair[1]))).sum::<u32>();
            if at > 0 {
                let above = plane.row(16 * x, 16 * y + at - 1, 16);
                sum += row.iter().zip(above).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>();
            }
        }
        sum
    }

    /// Codes what is planned.
    fn code(&mut self, kind: Kind, max_bytes: usize, mut statistics: Statistics) -> Encoded {
        let keyframe = matches!(kind, Kind::Idr { .. });
        let mut data = if keyframe { self.parameter_sets.clone() } else { Vec::new() };
        let complexity = self.planned_complexity();
        let mut budget = self.rate.begin(
            i32::from(self.config.finest_qp),
            i32::from(self.config.coarsest_qp),
            max_bytes.saturating_mul(8),
            complexity,
        );
        let mut writer = BitWriter::default();
        let mut coded: Vec<(usize, usize)> = Vec::new();
        let slices = self.config.slices as usize;
        let mut total_bits = 0;
        for slice in 0..slices {
            let rows = slice * self.rows / slices..(slice + 1) * self.rows / slices;
            let qp = self.rate.qp(&mut budget);
            slice::header(kind, (rows.start * self.columns) as u32, qp, &mut writer);
            let mut coder = Coder {
                kind,
                columns: self.columns,
                first_row: rows.start,
                source: &self.source,
                reference: &self.reference,
                reconstruction: &mut self.reconstruction,
                macroblocks: &mut self.macroblocks,
                vectors: &self.vectors,
                writer,
                last_qp: qp,
                skipped: 0,
            };
            for y in rows {
                let mut from = 0;
                while let Some(x) = self.work.next(from, y) {
                    coder.skipped += (x - from) as u32;
                    from = x + 1;
                    let at = y * self.columns + x;
                    let start = coder.writer.len_bits();
                    let plan = std::mem::replace(&mut self.plans[at], Plan::Still);
                    let how = match plan {
                        Plan::Still => coder.still(x, y),
                        Plan::Moved(vector) => coder.moved(x, y, vector, i32::from(self.config.finest_qp)),
                        Plan::New(complexity) => {
                            let qp = self.rate.qp(&mut budget);
                            let likeness = std::mem::take(&mut self.likenesses[at]);
                            let how = coder.new_content(x, y, qp, likeness);
                            let bits = coder.writer.len_bits() - start;
                            self.rate.spent(&mut budget, complexity, qp, bits);
                            how
                        }
                        Plan::Better(_) if total_bits + start > max_bytes.saturating_mul(8) => {
                            coder.still(x, y)
                        }
                        Plan::Better(qp) => {
                            let attempts = &mut self.quality[at].attempts;
                            *attempts = attempts.saturating_add(1);
                            coder.new_content(x, y, i32::from(qp), [Vector::ZERO; 4])
                        }
                    };
                    match how {
                        Coded::Still => statistics.still += u32::from(plan != Plan::Still),
                        Coded::Moved => statistics.moved += 1,
                        Coded::Inter => statistics.inter += 1,
                        Coded::Intra => statistics.intra += 1,
                    }
                    coded.push((x, y));
                    if how != Coded::Still {
                        // Of the visible part, as if it were the whole macroblock.
                        let width = 16.min(self.config.width as usize - 16 * x);
                        let height = 16.min(self.config.height as usize - 16 * y);
                        let scale = |error: u32| (u64::from(error) * 256 / (width * height) as u64) as u32;
                        self.quality[at].luma = scale(coder.luma_error(x, y, width, height));
                        self.quality[at].chroma = scale(coder.chroma_error(x, y, width / 2, height / 2));
                    }
                    if coder.macroblocks[at].has_moved() {
                        // These may expect to move along, so they have to say that they do not.
                        if x + 1 < self.columns {
                            self.work.insert(x + 1, y);
                        }
                        if y + 1 < self.rows {
                            for x in x.saturating_sub(1)..(x + 2).min(self.columns) {
                                self.work.insert(x, y + 1);
                            }
                        }
                    }
                }
                coder.skipped += (self.columns - from) as u32;
            }
            if !keyframe && coder.skipped > 0 {
                coder.writer.ue(coder.skipped);
            }
            writer = coder.writer;
            total_bits += writer.len_bits();
            writer.finish(kind.nal_header(), &mut data);
        }
        for (x, y) in coded {
            self.reference.copy(&self.reconstruction, x, y);
            self.macroblocks[y * self.columns + x] = Macroblock::STILL;
        }
        self.frame_num = Some(match kind {
            Kind::Idr { .. } => 1,
            Kind::P { frame_num } => (frame_num + 1) % (1 << FRAME_NUM_BITS),
        });
        Encoded { data, keyframe, statistics }
    }

    /// The complexity of all new content.
    fn planned_complexity(&self) -> u64 {
        let mut sum = 0;
        for y in 0..self.rows {
            let mut from = 0;
            while let Some(x) = self.work.next(from, y) {
                if let Plan::New(complexity) = self.plans[y * self.columns + x] {
                    sum += u64::from(complexity);
                }
                from = x + 1;
            }
        }
        sum
    }
}

/// Checks the fields that are not sizes.
fn check(config: &Config, rows: usize) -> Result<(), Error> {
    let problem = |field, problem| Err(Error::Config { field, problem });
    if config.slices == 0 || config.slices as usize > rows {
        return problem("slices", "from 1 to the number of rows of macroblocks");
    }
    if config.coarsest_qp > 51 {
        return problem("coarsest_qp", "from 0 to 51");
    }
    if config.finest_qp > config.coarsest_qp {
        return problem("finest_qp", "from 0 to coarsest_qp");
    }
    if config.max_bytes == 0 {
        return problem("max_bytes", "above 0");
    }
    Ok(())
}

/// Whether a macroblock shows more than one colour in its first row and below: where it does not, every place looks like the next one.
fn has_detail(picture: &Picture<'_>, column: usize, row: usize) -> bool {
    let x = 16 * column;
    let y = 16 * row;
    let width = 16.min(picture.width - x);
    let height = 16.min(picture.height - y);
    let varies = |at: usize| {
        let samples = picture.luma(x, y + at, width);
        samples.iter().any(|sample| *sample != samples[0])
    };
    (0..height).step_by(3).filter(|at| varies(*at)).count() > 1
}

/// Rows with the columns from the first to the last macroblock of each.
fn areas(blocks: &[(usize, usize)]) -> Vec<(usize, Range<usize>)> {
    blocks
        .chunk_by(|a, b| a.1 == b.1)
        .map(|row| {
            let start = row.iter().map(|(x, _)| *x).min().unwrap_or_default();
            let end = row.iter().map(|(x, _)| *x + 1).max().unwrap_or_default();
            (row[0].1, start..end)
        })
        .collect()
}

/// Those of `areas` nearest to the middle of the `new` macroblocks, until there are [`FILED_PER_NEW`] for each.
fn nearest(areas: &[(usize, Range<usize>)], new: &[(usize, usize)]) -> Vec<(usize, Range<usize>)> {
    let middle = new.iter().map(|(_, y)| y).sum::<usize>() / new.len().max(1);
    let mut sorted = areas.to_vec();
    sorted.sort_by_key(|(row, _)| row.abs_diff(middle));
    let mut count = 0;
    sorted
        .into_iter()
        .take_while(|(_, columns)| {
            let wanted = count < FILED_PER_NEW * new.len();
            count += columns.len();
            wanted
        })
        .collect()
}
