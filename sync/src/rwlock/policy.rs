//! Who goes first at a readers-writer lock: a part of the lock's type.

/// A policy of a readers-writer lock: [`Fair`], [`PreferReaders`] or
/// [`PreferWriters`].
pub trait RwLockPolicy: sealed::Sealed + 'static {
    #[doc(hidden)]
    const PREFERS: Prefers;
}

/// First come, first served: while somebody waits, who comes later waits behind.
/// A reader that comes while a writer waits for other readers waits, too; so a
/// thread that holds the lock for reading must not take it again, but by a
/// recursive form. Only a lock that is free when somebody comes may be taken before
/// the first waiter gets there, at most
/// [`BYPASS`](crate::RawRwLock::BYPASS) times. Nobody starves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fair {}

/// A reader waits for a writer inside, never for one that waits. As long as some
/// reader is always inside, writers starve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreferReaders {}

/// Waiting writers go before waiting readers, and no reader comes in while anybody
/// waits. As long as some writer always waits, readers starve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreferWriters {}

/// Whose turn it is when both wait.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefers {
    Nobody,
    Readers,
    Writers,
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Fair {}
    impl Sealed for super::PreferReaders {}
    impl Sealed for super::PreferWriters {}
}

impl RwLockPolicy for Fair {
    const PREFERS: Prefers = Prefers::Nobody;
}

impl RwLockPolicy for PreferReaders {
    const PREFERS: Prefers = Prefers::Readers;
}

impl RwLockPolicy for PreferWriters {
    const PREFERS: Prefers = Prefers::Writers;
}
