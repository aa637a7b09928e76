//! Conditions and ranges of requests for files (RFC 9110, sections 13 and 14).

use std::time::{Duration, SystemTime};

use crate::files::Served;

/// The headers of a request that concern which part of a file is wanted, and whether it is.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: Option<String>,
    pub(crate) if_modified_since: Option<String>,
    pub(crate) if_range: Option<String>,
    pub(crate) range: Option<String>,
}

/// What to answer with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// From the first to the last byte, both included.
    Range(u64, u64),
    NotModified,
    PreconditionFailed,
    /// The range begins behind the end.
    Unsatisfiable,
}

impl Conditions {
    /// What a GET or HEAD of this file is to be answered with.
    pub(crate) fn part_of(&self, served: &Served) -> Part {
        if let Some(wanted) = &self.if_match
            && !lists(wanted, &served.etag, false)
        {
            return Part::PreconditionFailed;
        }
        let unchanged = match (&self.if_none_match, &self.if_modified_since) {
            (Some(known), _) => lists(known, &served.etag, true),
            (None, Some(date)) => is_not_newer(served.modified, date),
            (None, None) => false,
        };
        if unchanged {
            return Part::NotModified;
        }
        match &self.range {
            Some(range) if self.range_holds(served) => part(range, served.length),
            _ => Part::Whole,
        }
    }

    /// Whether the client's earlier part is of the same file.
    fn range_holds(&self, served: &Served) -> bool {
        match &self.if_range {
            None => true,
            Some(validator) if validator.starts_with('"') => *validator == served.etag,
            Some(validator) => httpdate::parse_http_date(validator)
                .is_ok_and(|date| whole_seconds(served.modified) == whole_seconds(date)),
        }
    }
}

/// Whether a list of entity tags has this one, or is a star. A strong comparison takes no weak tags.
fn lists(list: &str, etag: &str, weakly: bool) -> bool {
    list.trim() == "*"
        || list.split(',').map(str::trim).any(|tag| {
            tag == etag || (weakly && tag.strip_prefix("W/").is_some_and(|tag| tag == etag))
        })
}

fn is_not_newer(modified: SystemTime, date: &str) -> bool {
    httpdate::parse_http_date(date).is_ok_and(|date| whole_seconds(modified) <= whole_seconds(date))
}

/// Dates have no fractions.
fn whole_seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

/// The part that a `Range` header asks for. What is not understood, several ranges included, asks
/// for the whole.
fn part(range: &str, length: u64) -> Part {
    let Some((first, last)) = range
        .strip_prefix("bytes=")
        .filter(|ranges| !ranges.contains(','))
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Part::Whole;
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (None, Some(suffix)) if first.is_empty() => match (suffix.min(length), length) {
            (0, _) => Part::Unsatisfiable,
            (suffix, length) => Part::Range(length - suffix, length - 1),
        },
        (Some(first), Some(last)) if first <= last && first < length => {
            Part::Range(first, last.min(length - 1))
        }
        (Some(first), None) if last.is_empty() && first < length => Part::Range(first, length - 1),
        (Some(first), Some(last)) if first <= last => Part::Unsatisfiable,
        (Some(_), None) if last.is_empty() => Part::Unsatisfiable,
        _ => Part::Whole,
    }
}
