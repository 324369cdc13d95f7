//! The table: for people and, being markdown, for the README.

use crate::harness::{Goal, Lane, Race, Samples};

const HEAD: [&str; 10] = [
    "what",
    "judged",
    "against",
    "a call",
    "a unit",
    "ratio",
    "quartiles",
    "must",
    "aim",
    "met?",
];

/// All rows so far.
pub(crate) struct Report {
    /// What the figures count.
    measure: &'static str,
    rows: Vec<[String; HEAD.len()]>,
    musts: usize,
    aims: usize,
    goals: usize,
}

impl Report {
    pub(crate) fn new(measure: &'static str) -> Self {
        Self {
            measure,
            rows: Vec::new(),
            musts: 0,
            aims: 0,
            goals: 0,
        }
    }

    /// One row per lane but the first, which is the one that is judged.
    pub(crate) fn add(&mut self, race: &Race, samples: &[Samples]) {
        for (lane, theirs) in race.lanes.iter().zip(samples).skip(1) {
            self.add_pair(race, lane, &samples[0], theirs);
        }
    }

    fn add_pair(&mut self, race: &Race, lane: &Lane, ours: &Samples, theirs: &Samples) {
        // To two digits, as the goals are: the third is noise.
        let ratio = (ours.median() / theirs.median() * 100.0).round() / 100.0;
        let (low, high) = ours.over(theirs).quartiles();
        let verdict = lane.goal.map(|goal| self.judge(ratio, goal));
        let shown =
            |figure: fn(Goal) -> f64| lane.goal.map(figure).map(|goal| format!("{goal:.2}"));
        self.rows.push([
            race.title.clone(),
            race.lanes[0].name.clone(),
            lane.name.clone(),
            self.per_call(race, ours, theirs).unwrap_or_default(),
            format!("{} a {}", self.pair(ours, theirs, 1), race.units.1),
            format!("{ratio:.2}"),
            format!("{low:.2} to {high:.2}"),
            shown(|goal| goal.must).unwrap_or_default(),
            shown(|goal| goal.aim).unwrap_or_default(),
            verdict.unwrap_or_default().to_owned(),
        ]);
    }

    /// What all tasks of a call come to.
    fn per_call(&self, race: &Race, ours: &Samples, theirs: &Samples) -> Option<String> {
        (race.units.1 == "task").then(|| self.pair(ours, theirs, race.units.0))
    }

    fn pair(&self, ours: &Samples, theirs: &Samples, units: usize) -> String {
        let shown = |samples: &Samples| figure(samples.median() * units as f64);
        format!("{} : {} {}", shown(ours), shown(theirs), self.measure)
    }

    fn judge(&mut self, ratio: f64, goal: Goal) -> &'static str {
        let (must, aim) = (ratio <= goal.must, ratio <= goal.aim);
        self.goals += 1;
        self.musts += usize::from(must);
        self.aims += usize::from(aim);
        verdict(must, aim)
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
        println!(
            "\nOf {} goals, {} met as they must be, {} as they had better be.",
            self.goals, self.musts, self.aims
        );
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEAD[column].len()]).max().unwrap_or(0)
    }
}

pub(crate) fn verdict(must: bool, aim: bool) -> &'static str {
    match (must, aim) {
        (false, _) => "NO",
        (true, false) => "yes",
        (true, true) => "yes, the aim too",
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
