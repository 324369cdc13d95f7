//! Times as they are written in drawings.

use std::time::Duration;

/// How exactly times are shown: in milliseconds, with as many decimals as the span of the axis needs.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    decimals: usize,
}

impl Scale {
    pub(super) fn of(span: Duration) -> Self {
        let decimals = match span.as_nanos() {
            100_000_000.. => 0,
            10_000_000.. => 1,
            1_000_000.. => 2,
            10_000.. => 3,
            _ => 6,
        };
        Self { decimals }
    }

    /// A time that lies beyond the axis, to three digits. A deadline is set a moment before the first event, which would
    /// turn a timeout of 5 s into 4999.98 ms.
    pub(super) fn about(self, time: Duration) -> String {
        let nanos = time.as_nanos();
        let digits = nanos.checked_ilog10().unwrap_or(0);
        let unit = 10_u128.pow(digits.saturating_sub(2));
        let about = (nanos + unit / 2) / unit * unit;
        let about = u64::try_from(about).map_or(time, Duration::from_nanos);
        self.round(about)
    }

    /// A round time: without decimals that are 0.
    pub(super) fn round(self, time: Duration) -> String {
        let shown = self.show(time);
        let number = shown.trim_end_matches("ms");
        match number.contains('.') {
            true => format!("{}ms", number.trim_end_matches('0').trim_end_matches('.')),
            false => shown,
        }
    }

    pub(super) fn show(self, time: Duration) -> String {
        if time.is_zero() {
            return "0ms".to_owned();
        }
        format!("{:.*}ms", self.decimals, time.as_secs_f64() * 1000.0)
    }
}
