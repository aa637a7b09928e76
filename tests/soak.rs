//! Full threads at random, for a while: they do whatever threads do, all at once,
//! in runtimes that come and go. Nothing may fail, and between two runtimes
//! everything is as it was.
//!
//! Of the environment: LISLE_SOAK_SECONDS (2) and LISLE_SOAK_SEED (the clock). What
//! may be done stands in the table of [`ingredients`], what must hold with each;
//! what must be as before stands in [`leftovers`]. `ci/soak.sh` runs it for longer.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "soak/channels.rs"]
mod channels;
#[path = "full_threads/checking.rs"]
mod checking;
#[path = "soak/ingredients.rs"]
mod ingredients;
#[path = "soak/kitchen.rs"]
mod kitchen;
#[path = "soak/leftovers.rs"]
mod leftovers;
#[path = "soak/locks.rs"]
mod locks;
#[path = "soak/looks.rs"]
mod looks;
#[path = "soak/outside.rs"]
mod outside;
mod support;
#[path = "soak/system.rs"]
mod system;

#[global_allocator]
static ALLOCATOR: checking::Checking<std::alloc::System> = checking::Checking(std::alloc::System);

#[test]
fn everything_at_once() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
    };
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = number("LISLE_SOAK_SEED").unwrap_or(clock.as_nanos() as u64);
    let seconds = number("LISLE_SOAK_SECONDS").unwrap_or(2);
    kitchen::soak(seed, std::time::Duration::from_secs(seconds));
}
