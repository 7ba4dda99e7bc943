//! Measures figures and shows them. Run it by `scripts/bench`, which builds what it needs.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bench::figures::{FIGURES, Plan};
use bench::report::Report;
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
    /// Ends with an error when a target is missed
    #[arg(long)]
    check: bool,
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
    let mut report = Report::new(args.quick);
    if let Some(file) = args.json.as_ref().filter(|file| file.exists()) {
        let before: Report = serde_json::from_slice(&std::fs::read(file)?)?;
        report.rows = before.rows;
    }
    let plan = Plan { quick: args.quick };
    let mut failed = Vec::new();
    let names = FIGURES.map(|figure| figure.name);
    for figure in
        FIGURES.iter().filter(|f| args.figures.is_empty() || args.figures.contains(&f.name.to_owned()))
    {
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
