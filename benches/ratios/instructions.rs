//! Instructions instead of nanoseconds, for any race.

use std::io;

use crate::harness::{Race, Samples};
use crate::valgrind::Load;

/// A lane's tasks (or calls) per measurement, if an iteration is not longer than that.
const UNITS: usize = 4096;

/// What every lane of the race takes, per unit.
pub(crate) fn count(race: &Race) -> io::Result<Vec<Samples>> {
    let units = race.units.0;
    let iterations = (UNITS / units).max(1);
    let count = |lane| {
        let load = Load {
            race,
            lane,
            iterations,
        };
        let each = load.each(Load::instructions)?;
        Ok(Samples::one(each / units as f64))
    };
    (0..race.lanes.len()).map(count).collect()
}
