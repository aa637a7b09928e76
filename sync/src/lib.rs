//! What lisle's threads say to each other.
