//! Measures figures and shows them. Run it by `scripts/bench`, which builds what it needs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bench::compare;
use bench::figures::{FIGURES, Figure, Plan};
use bench::report::Report;
use bench::server::Build;
use clap::Parser;

#[derive(Parser)]
#[command(name = "scripts/bench", about = "Measures Oriel's figures; without names, all of them")]
struct Args {
    /// Which; see --list
    figures: Vec<String>,
    /// Shows the names of all figures
    #[arg(long)]
    list: bool,
    /// Fewer and shorter runs, to see that everything works
    #[arg(long)]
    quick: bool,
    /// Keeps everything in this file as JSON: figures that are measured again replace those in it
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the table into docs/PERFORMANCE.md
    #[arg(long)]
    write_docs: bool,
    /// Ends with an error when a target is missed; with --against, when a build drops or blurs pictures
    #[arg(long)]
    check: bool,
    /// Measures each figure in turn with the web-server and the streamer of this directory, and shows the ratio of each pair
    #[arg(long, value_name = "BINARIES", conflicts_with = "write_docs")]
    against: Option<PathBuf>,
    /// How many pairs
    #[arg(long, value_name = "N", default_value_t = 5, requires = "against")]
    pairs: usize,
}

impl Args {
    fn chosen(&self) -> impl Iterator<Item = &'static Figure> {
        FIGURES.iter().filter(|f| self.figures.is_empty() || self.figures.contains(&f.name.to_owned()))
    }
}

/// Measures this build against that of a directory.
fn against(args: &Args, directory: &Path) -> Result<()> {
    let other = Build::of(directory)?;
    let plan = Plan { quick: args.quick, once: true };
    let mut compared = Vec::new();
    let mut failed = Vec::new();
    for figure in args.chosen() {
        eprintln!("==> {}: {}", figure.name, figure.about);
        match compare::measure(figure, plan, &other, args.pairs.max(1)).with_context(|| figure.name) {
            Ok(rows) => compared.extend(rows),
            // The others can be measured all the same.
            Err(error) => {
                eprintln!("error: {error:#}");
                failed.push(figure.name);
                continue;
            }
        }
        if let Some(file) = &args.json {
            std::fs::write(file, serde_json::to_string_pretty(&compared)? + "\n")?;
        }
    }
    print!("{}", compare::shown(&compared));
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    let unlike = compared.iter().filter(|compared| compared.is_alike() == Some(false)).count();
    if args.check && unlike > 0 {
        bail!("the builds do not do the same work, by {unlike} numbers");
    }
    Ok(())
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.list {
        for figure in &FIGURES {
            println!("{:<12} {}", figure.name, figure.about);
        }
        return Ok(());
    }
    if let Some(unknown) = args.figures.iter().find(|name| FIGURES.iter().all(|figure| figure.name != **name))
    {
        bail!("there is no figure {unknown:?}; --list shows all");
    }
    if let Some(directory) = &args.against {
        return against(&args, directory);
    }
    let mut report = Report::new(args.quick);
    if let Some(file) = args.json.as_ref().filter(|file| file.exists()) {
        let before: Report = serde_json::from_slice(&std::fs::read(file)?)?;
        report.rows = before.rows;
    }
    let plan = Plan { quick: args.quick, once: false };
    let mut failed = Vec::new();
    let names = FIGURES.map(|figure| figure.name);
    for figure in args.chosen() {
        eprintln!("==> {}: {}", figure.name, figure.about);
        match (figure.measure)(plan).with_context(|| figure.name) {
            Ok(rows) => report.take(rows),
            // The others can be measured all the same.
            Err(error) => {
                eprintln!("error: {error:#}");
                failed.push(figure.name);
                continue;
            }
        }
        report.sort(&names);
        // After each, so that nothing is lost when a later one fails.
        if let Some(file) = &args.json {
            std::fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
        }
    }
    print!("{}", report.table());
    if args.write_docs {
        report.write_docs("docs/PERFORMANCE.md".as_ref())?;
    }
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    let missed =
        report.rows.iter().filter(|row| row.target.is_some_and(|target| row.median > target)).count();
    if args.check && missed > 0 {
        bail!("{missed} targets are missed");
    }
    Ok(())
}
