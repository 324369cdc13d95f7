//! Atomic read-modify-writes: how many were executed, and whose they are.
//!
//! Callgrind counts how often each instruction ran, objdump shows which of them are atomic, and addr2line whose
//! source they come from, inlined as most are. What a waker's clone or a queue's push does is the executor's, then,
//! whichever code called it. x86-64 alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::exact::{self, FAN_OUT, FLOOR, PAIR};
use crate::harness::Race;
use crate::valgrind::Load;

/// Executions of each atomic instruction, by its address.
type Counts = BTreeMap<u64, f64>;

/// Where an instruction comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Site {
    owner: String,
    place: String,
}

/// Executions by site.
type Sites = BTreeMap<Site, f64>;

/// What a group of two with a deadline may take, its tasks left out, and what a task may take more than the floor's.
const GROUP: f64 = 30.0;
const BEYOND_FLOOR: f64 = 2.0;

/// What has been reached, with some room.
const HELD: (f64, f64) = (4.5, 30.0);

/// Counts and prints. False if more are executed than had been reached.
pub(crate) fn print() -> io::Result<bool> {
    let executable = env::current_exe()?;
    let atomic = atomic_instructions(&executable)?;
    let races = exact::races();
    let lane = |lane| -> io::Result<Split> {
        let sites = |race| located(&executable, per_iteration(race, lane, &atomic)?);
        Ok(split(&sites(&races[0])?, &sites(&races[1])?))
    };
    let (floor, ours, theirs) = (lane(FLOOR)?, lane(0)?, lane(1)?);
    let must = of("floor", &floor).0 + BEYOND_FLOOR;
    println!(
        "| read-modify-writes of ours | a task | must | a group of two with a deadline, its tasks left out | must |"
    );
    println!("|---|---|---|---|---|");
    for (name, sites) in [
        ("failfast", &ours),
        ("failfast, each task with a context", &theirs),
    ] {
        let (task, call) = of("failfast", sites);
        println!("| {name} | {task:.1} | {must:.0} | {call:.1} | {GROUP:.0} |");
    }
    let (task, call) = of("floor", &floor);
    println!("| the floor: a box a task | {task:.1} | | {call:.1} | |");
    print_sites("The floor", &floor);
    print_sites("Failfast", &ours);
    let (task, call) = of("failfast", &ours);
    let held = task <= HELD.0 && call <= HELD.1;
    if !held {
        eprintln!(
            "{task:.1} a task and {call:.1} a group, which is more than the {HELD:?} that are held"
        );
    }
    Ok(held)
}

/// By site, what a task and what a call takes.
type Split = BTreeMap<Site, (f64, f64)>;

/// The sum of an owner's sites.
fn of(owner: &str, sites: &Split) -> (f64, f64) {
    let own = sites.iter().filter(|(site, _)| site.owner == owner);
    own.fold((0.0, 0.0), |sum, (_, (task, call))| {
        (sum.0 + task, sum.1 + call)
    })
}

/// What a task and what a call costs, by site.
fn split(pair: &Sites, fan_out: &Sites) -> Split {
    let all = pair.keys().chain(fan_out.keys());
    let figures = |site: &Site| {
        let at = |sites: &Sites| sites.get(site).copied().unwrap_or(0.0);
        let task = (at(fan_out) - at(pair)) / (FAN_OUT - PAIR) as f64;
        (task, at(pair) - PAIR as f64 * task)
    };
    all.map(|site| (site.clone(), figures(site))).collect()
}

fn print_sites(name: &str, sites: &Split) {
    println!(
        "\n{name}, by owner and by place:\n\n| whose | where | a task | a group of two |\n|---|---|---|---|"
    );
    let owners: BTreeSet<&str> = sites.keys().map(|site| site.owner.as_str()).collect();
    for owner in owners {
        let (task, call) = of(owner, sites);
        println!("| {owner} | | {task:.2} | {call:.2} |");
    }
    let counts = |(_, (task, call)): &(&Site, &(f64, f64))| task.abs() >= 0.01 || call.abs() >= 0.1;
    for (site, (task, call)) in sites.iter().filter(counts) {
        println!(
            "| {} | {} | {task:.2} | {call:.2} |",
            site.owner, site.place
        );
    }
}

/// How often each atomic instruction runs an iteration.
fn per_iteration(race: &Race, lane: usize, atomic: &HashMap<u64, String>) -> io::Result<Counts> {
    let iterations = (2048 / race.units.0).clamp(1, 256);
    let few = Load {
        race,
        lane,
        iterations,
    };
    let more = Load {
        iterations: 2 * iterations,
        ..few
    };
    let (few, mut more) = (executed(few, atomic)?, executed(more, atomic)?);
    for (address, count) in few {
        *more.entry(address).or_default() -= count;
    }
    more.values_mut()
        .for_each(|count| *count /= iterations as f64);
    Ok(more)
}

/// How often each ran in a process with this load.
fn executed(load: Load<'_>, atomic: &HashMap<u64, String>) -> io::Result<Counts> {
    let file = scratch();
    load.profile(&file)?;
    let profile = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    let mut counts = Counts::new();
    for (address, count) in self_costs(&profile, &env::current_exe()?) {
        if atomic.contains_key(&address) {
            *counts.entry(address).or_default() += count;
        }
    }
    Ok(counts)
}

fn scratch() -> PathBuf {
    env::temp_dir().join(format!("callgrind.{}", std::process::id()))
}

/// The lines `0x1234 56 1` of an object: address, line, count. A line after `calls=` is what the callee took.
fn self_costs<'a>(profile: &'a str, object: &Path) -> impl Iterator<Item = (u64, f64)> + 'a {
    let (object, mut inside, mut callee) = (format!("ob={}", object.display()), false, false);
    profile.lines().filter_map(move |line| {
        if line.starts_with("ob=") {
            inside = line == object;
        }
        let own = inside && !callee;
        callee = line.starts_with("calls=");
        let mut words = line.strip_prefix("0x").filter(|_| own)?.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((address, words.nth(1)?.parse().ok()?))
    })
}

/// The executable's instructions with a `lock` prefix, and exchanges with memory, which lock without one.
fn atomic_instructions(executable: &Path) -> io::Result<HashMap<u64, String>> {
    let listing = Command::new("objdump")
        .args(["-d", "--no-show-raw-insn"])
        .arg(executable)
        .output()?;
    let atomic = |line: &str| {
        let (address, instruction) = line.split_once(":\t")?;
        let instruction = instruction.trim();
        let locks = instruction.starts_with("lock ")
            || instruction.starts_with("xchg ") && instruction.contains('(');
        let address = u64::from_str_radix(address.trim(), 16).ok()?;
        locks.then(|| (address, instruction.to_owned()))
    };
    Ok(String::from_utf8_lossy(&listing.stdout)
        .lines()
        .filter_map(atomic)
        .collect())
}

/// By site instead of by address.
fn located(executable: &Path, counts: Counts) -> io::Result<Sites> {
    let mut addresses = String::new();
    counts
        .keys()
        .for_each(|address| addresses.push_str(&format!("{address:#x}\n")));
    let mut child = Command::new("addr2line")
        .args(["-f", "-i", "-a", "-C", "-e"])
        .arg(executable)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child
        .stdin
        .take()
        .ok_or_else(|| io::Error::other("no pipe"))?;
    let writer = std::thread::spawn(move || stdin.write_all(addresses.as_bytes()));
    let output = child.wait_with_output()?;
    writer
        .join()
        .map_err(|_| io::Error::other("the pipe's writer panicked"))??;
    let frames = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut sites = Sites::new();
    for (group, count) in groups(&frames).zip(counts.values()) {
        *sites.entry(site(&group)).or_default() += count;
    }
    Ok(sites)
}

/// What addr2line prints about each address: pairs of function and file, the innermost first.
fn groups(output: &str) -> impl Iterator<Item = Vec<(&str, &str)>> {
    let starts = output
        .split("\n0x")
        .map(|group| group.trim_start_matches("0x"));
    starts.map(|group| {
        let lines: Vec<&str> = group.lines().skip(1).collect();
        lines
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect()
    })
}

/// The innermost frame that is not the standard library's.
fn site(frames: &[(&str, &str)]) -> Site {
    let known = frames
        .iter()
        .find_map(|(function, file)| Some((owner(file)?, *function, *file)));
    let outermost = frames.last().copied().unwrap_or(("?", "?"));
    let (owner, function, file) =
        known.unwrap_or_else(|| (by_name(outermost.0), outermost.0, outermost.1));
    let file = file.rsplit('/').next().unwrap_or(file);
    let place = format!("{file} {}", function.replace('|', "/"));
    Site { owner, place }
}

/// The crate of a source file, unless it is the standard library's.
fn owner(file: &str) -> Option<String> {
    let own = file.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/"));
    match own {
        Some(path) if path.starts_with("src/") => return Some("failfast".into()),
        Some(path) if path.ends_with("floor.rs") || path.contains("/floor.rs:") => {
            return Some("floor".into());
        }
        Some(_) => return Some("the bench".into()),
        None => {}
    }
    let (_, path) = file.split_once("/registry/src/")?;
    path.split('/').nth(1).map(str::to_owned)
}

/// For code of the standard library that was not inlined: whose type it is made for, which is the first that is
/// not the standard library's.
fn by_name(function: &str) -> String {
    let paths = function.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let crates = paths.filter_map(|path| path.split_once("::"));
    let first = crates.map(|(name, rest)| {
        if rest.starts_with("floor::") {
            "floor"
        } else {
            name
        }
    });
    first
        .into_iter()
        .find(|name| !["core", "alloc", "std"].contains(name))
        .unwrap_or("std")
        .to_owned()
}
