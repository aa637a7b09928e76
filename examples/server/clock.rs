//! The `Date` header, formatted once a second.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Every HTTP date has this length: `Sun, 06 Nov 1994 08:49:37 GMT`.
const LENGTH: usize = 29;

/// A date and the second that it is right for. One per connection: nothing is shared.
pub(crate) struct Clock {
    second: u64,
    text: [u8; LENGTH],
}

impl Clock {
    /// A clock that has not been looked at.
    pub(crate) fn new() -> Self {
        Self {
            // No second that a clock will ever show.
            second: u64::MAX,
            text: [b' '; LENGTH],
        }
    }

    /// The time now, as the `Date` header wants it.
    pub(crate) fn date(&mut self) -> &[u8; LENGTH] {
        let now = now();
        if now != self.second {
            let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(now));
            if write!(&mut self.text[..], "{date}").is_ok() {
                self.second = now;
            }
        }
        &self.text
    }
}

/// Seconds since 1970. A leaf: reading the clock may set `errno`.
#[inline(never)]
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}
