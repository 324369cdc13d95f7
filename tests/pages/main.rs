//! That the documents are true: what they cite exists, what they count is counted, what they show is what the library
//! makes. (Their code runs as doctests.)

mod architecture;
mod citations;
mod contract;
mod front_page;
mod promises;
mod sizes;
mod sources;
