//! Where all decisions come from: a seed, or the bytes of a fuzzer.

pub(crate) enum Dice {
    #[allow(dead_code, reason = "not the fuzzer's, which includes this file")]
    Seed(u64),
    #[allow(dead_code, reason = "the fuzzer's, which includes this file")]
    Bytes(Vec<u8>),
}

impl Dice {
    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        match self {
            Self::Seed(state) => splitmix(state) % sides,
            Self::Bytes(bytes) => u64::from(bytes.pop().unwrap_or_default()) % sides,
        }
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
