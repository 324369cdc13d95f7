//! Random programs over groups, aggregators and contexts, on an executor and a clock of the tests' own: the
//! simulation, with the fuzzer's bytes for dice.
#![no_main]

#[path = "../../tests/it/simulation/dice.rs"]
mod dice;
#[path = "../../tests/it/simulation/program.rs"]
mod program;
#[allow(dead_code, reason = "the simulation uses a part of it")]
#[path = "../../tests/it/support.rs"]
mod support;
#[path = "../../tests/it/simulation/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    program::play(&world::World::new(dice::Dice::Bytes(bytes.to_vec())));
});
