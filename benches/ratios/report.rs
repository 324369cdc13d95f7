//! The table: for people and, being markdown, for the README.

use crate::harness::{Lane, Race, Samples};

const HEAD: [&str; 8] = [
    "what",
    "judged",
    "against",
    "judged : other",
    "ratio",
    "quartiles",
    "target",
    "met?",
];

/// All rows so far.
pub(crate) struct Report {
    /// What the figures count.
    measure: &'static str,
    rows: Vec<[String; HEAD.len()]>,
    met: usize,
    targets: usize,
}

impl Report {
    pub(crate) fn new(measure: &'static str) -> Self {
        Self {
            measure,
            rows: Vec::new(),
            met: 0,
            targets: 0,
        }
    }

    /// One row per lane but the first, which is the one that is judged.
    pub(crate) fn add(&mut self, race: &Race, samples: &[Samples]) {
        for (lane, theirs) in race.lanes.iter().zip(samples).skip(1) {
            self.add_pair(race, lane, &samples[0], theirs);
        }
    }

    fn add_pair(&mut self, race: &Race, lane: &Lane, ours: &Samples, theirs: &Samples) {
        // To two digits, as the targets are: the third is noise.
        let ratio = (ours.median() / theirs.median() * 100.0).round() / 100.0;
        let (low, high) = ours.over(theirs).quartiles();
        let verdict = lane.target.map(|target| self.judge(ratio, target));
        self.rows.push([
            race.title.clone(),
            race.lanes[0].name.clone(),
            lane.name.clone(),
            format!(
                "{} : {} {} a {}",
                figure(ours.median()),
                figure(theirs.median()),
                self.measure,
                race.units.1
            ),
            format!("{ratio:.2}"),
            format!("{low:.2} to {high:.2}"),
            lane.target
                .map(|target| format!("{target:.2}"))
                .unwrap_or_default(),
            verdict.unwrap_or_default().to_owned(),
        ]);
    }

    fn judge(&mut self, ratio: f64, target: f64) -> &'static str {
        let met = ratio <= target;
        self.targets += 1;
        self.met += usize::from(met);
        if met { "yes" } else { "no" }
    }

    pub(crate) fn print(&self) {
        let widths: Vec<usize> = (0..HEAD.len()).map(|column| self.width(column)).collect();
        println!("{}", line(&HEAD, &widths));
        println!(
            "|{}|",
            widths
                .iter()
                .map(|width| "-".repeat(width + 2))
                .collect::<Vec<_>>()
                .join("|")
        );
        for row in &self.rows {
            println!("{}", line(row, &widths));
        }
        println!("\n{} of {} targets met.", self.met, self.targets);
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEAD[column].len()]).max().unwrap_or(0)
    }
}

fn line(cells: &[impl AsRef<str>], widths: &[usize]) -> String {
    let padded = cells
        .iter()
        .zip(widths)
        .map(|(cell, &width)| format!(" {:width$} ", cell.as_ref()));
    format!("|{}|", padded.collect::<Vec<_>>().join("|"))
}

fn figure(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}
