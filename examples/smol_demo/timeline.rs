//! Who ran when, drawn for a person.
//!
//! ```text
//! timeline  0ms                                   1001ms
//! profile   |==========================================x cancelled at 1001ms
//! orders    |====================o finished at 500ms
//! deadline                                             ^ 1000ms
//! ```

use std::iter;
use std::time::Duration;

/// One source on the common time axis.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// `None`: the source was never started.
    pub(crate) run: Option<Run>,
}

/// When a source ran, counted from the start of the demo's question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) started: Duration,
    pub(crate) ended: Duration,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Finished,
    Failed,
    Cancelled,
}

impl Outcome {
    fn mark(self) -> char {
        match self {
            Outcome::Finished => 'o',
            Outcome::Failed => '!',
            Outcome::Cancelled => 'x',
        }
    }

    fn word(self) -> &'static str {
        match self {
            Outcome::Finished => "finished",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
        }
    }
}

/// Draws a row a source over one axis of `width` columns, and the deadline below them.
pub(crate) fn render(rows: &[Row], deadline: Option<Duration>, width: usize) -> String {
    let axis = Axis::new(rows, deadline, width);
    let bars = rows.iter().map(|row| (row.name, axis.bar(row)));
    let deadline = deadline.map(|at| ("deadline", axis.deadline(at)));
    let lines: Vec<_> = iter::once(("timeline", axis.scale()))
        .chain(bars)
        .chain(deadline)
        .collect();
    let label = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines
        .iter()
        .map(|(name, text)| format!("{name:<label$}  {text}\n"))
        .collect()
}

/// From time to columns. It reaches to the last event, and on to the deadline unless that is so far
/// off that the events would shrink to a dot.
struct Axis {
    span: Duration,
    last_column: usize,
}

impl Axis {
    fn new(rows: &[Row], deadline: Option<Duration>, width: usize) -> Self {
        let events = rows
            .iter()
            .filter_map(|row| row.run)
            .map(|run| run.ended)
            .max()
            .unwrap_or_default();
        let deadline = deadline.filter(|&at| at <= events * 2).unwrap_or_default();
        Self {
            span: events.max(deadline),
            last_column: width.saturating_sub(1),
        }
    }

    fn column(&self, at: Duration) -> usize {
        if self.span.is_zero() {
            return 0;
        }
        let share = (at.as_secs_f64() / self.span.as_secs_f64()).min(1.0);
        (share * self.last_column as f64).round() as usize
    }

    fn scale(&self) -> String {
        format!(
            "0ms{:>width$}",
            ms(self.span),
            width = self.last_column.saturating_sub(2)
        )
    }

    fn bar(&self, row: &Row) -> String {
        let Some(Run {
            started,
            ended,
            outcome,
        }) = row.run
        else {
            return "never started".to_owned();
        };
        let (from, to) = (self.column(started), self.column(ended));
        let line = if from < to {
            format!("|{}", "=".repeat(to - from - 1))
        } else {
            String::new()
        };
        let (mark, word) = (outcome.mark(), outcome.word());
        format!("{:from$}{line}{mark} {word} at {}", "", ms(ended))
    }

    fn deadline(&self, at: Duration) -> String {
        let column = self.column(at);
        if at > self.span {
            format!("{:column$}> {}, not reached", "", ms(at))
        } else {
            format!("{:column$}^ {}", "", ms(at))
        }
    }
}

fn ms(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Cancelled, Failed, Finished};
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn row(name: &'static str, started: u64, ended: u64, outcome: Outcome) -> Row {
        Row {
            name,
            run: Some(Run {
                started: at(started),
                ended: at(ended),
                outcome,
            }),
        }
    }

    #[test]
    fn deadline_is_a_mark_where_the_slow_one_was_cancelled() {
        let rows = [
            row("profile", 0, 1000, Cancelled),
            row("orders", 0, 500, Finished),
        ];
        let drawn = render(&rows, Some(at(1000)), 21);
        let expected = [
            "timeline  0ms            1000ms",
            "profile   |===================x cancelled at 1000ms",
            "orders    |=========o finished at 500ms",
            "deadline                      ^ 1000ms",
            "",
        ];
        assert_eq!(drawn, expected.join("\n"));
    }

    #[test]
    fn a_failure_ends_the_sibling_in_the_same_column() {
        let rows = [
            row("profile", 0, 10, Failed),
            row("orders", 5, 10, Cancelled),
        ];
        let drawn = render(&rows, None, 11);
        let expected = [
            "timeline  0ms    10ms",
            "profile   |=========! failed at 10ms",
            "orders         |====x cancelled at 10ms",
            "",
        ];
        assert_eq!(drawn, expected.join("\n"));
    }

    #[test]
    fn a_far_deadline_does_not_squeeze_the_rows() {
        let drawn = render(&[row("orders", 0, 8, Finished)], Some(at(5000)), 9);
        assert!(
            drawn.contains("orders    |=======o finished at 8ms\n"),
            "{drawn}"
        );
        assert!(
            drawn.ends_with("deadline          > 5000ms, not reached\n"),
            "{drawn}"
        );
    }

    #[test]
    fn a_near_deadline_stays_on_the_axis() {
        let drawn = render(&[row("orders", 0, 10, Finished)], Some(at(20)), 21);
        assert!(
            drawn.contains("orders    |=========o finished at 10ms\n"),
            "{drawn}"
        );
        assert!(
            drawn.ends_with("deadline                      ^ 20ms\n"),
            "{drawn}"
        );
    }

    #[test]
    fn a_deadline_that_was_past_starts_nothing() {
        let drawn = render(
            &[Row {
                name: "profile",
                run: None,
            }],
            Some(Duration::ZERO),
            20,
        );
        assert!(drawn.contains("profile   never started\n"), "{drawn}");
        assert!(drawn.ends_with("deadline  ^ 0ms\n"), "{drawn}");
    }

    #[test]
    fn long_names_move_every_row() {
        let rows = [
            row("recommendations", 0, 1, Finished),
            row("ads", 0, 1, Finished),
        ];
        let drawn = render(&rows, None, 4);
        assert!(drawn.contains("recommendations  |==o"), "{drawn}");
        assert!(drawn.contains("ads              |==o"), "{drawn}");
    }

    #[test]
    fn no_width_and_no_time_are_drawn_without_panic() {
        for width in [0, 1, 2] {
            let drawn = render(&[row("orders", 0, 0, Failed)], None, width);
            assert!(drawn.contains("orders    ! failed at 0ms\n"), "{drawn}");
        }
    }
}
