//! How services bear up: at most so many background exchanges at once for each host, and none for a while after several failed in a row. Pure.

use std::collections::HashMap;

use crate::kernel::Moment;

/// Background exchanges of one host at once.
const AT_ONCE: usize = 8;
/// After so many failures in a row that were the host's, it is left alone.
const OPENS_AFTER: u32 = 5;
/// For so many seconds at first, twice as many each time, and at most so many.
const OPEN_SECONDS: (i64, i64) = (30, 600);
/// The longest time that a host may ask all its connections to wait, in seconds.
const LONGEST_ASKED: i64 = 3600;
/// So many hosts are known; those that bear up are forgotten first.
const MAX_HOSTS: usize = 4096;

/// How one host bears up.
#[derive(Clone, Copy, Debug, Default)]
struct Host {
    flying: usize,
    failed: u32,
    /// How often it was left alone in a row.
    opened: u32,
    closed_until: Option<Moment>,
}

/// How all hosts bear up.
#[derive(Debug, Default)]
pub struct Hosts(HashMap<String, Host>);

/// How a host answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// It answered, whatever it said.
    Well,
    /// It was not reached, was busy, or broke off; and asked to be left alone until then.
    Badly(Option<Moment>),
    /// It was not asked.
    Unasked,
}

impl Hosts {
    /// How many exchanges may begin now. While a host that was left alone is tried again, one.
    #[must_use]
    pub fn room(&self, host: &str, now: Moment) -> usize {
        let Some(known) = self.0.get(host) else { return AT_ONCE };
        match known.closed_until {
            Some(until) if until > now => 0,
            Some(_) => usize::from(known.flying == 0),
            None => AT_ONCE.saturating_sub(known.flying),
        }
    }

    /// An exchange begins.
    pub fn begin(&mut self, host: &str) {
        if self.0.len() >= MAX_HOSTS {
            self.0.retain(|_, known| known.flying > 0 || known.failed > 0);
        }
        self.0.entry(host.to_owned()).or_default().flying += 1;
    }

    /// It ended.
    pub fn end(&mut self, host: &str, now: Moment, bearing: Bearing) {
        let known = self.0.entry(host.to_owned()).or_default();
        known.flying = known.flying.saturating_sub(1);
        match bearing {
            Bearing::Well => *known = Host { flying: known.flying, ..Host::default() },
            Bearing::Unasked => {}
            Bearing::Badly(asked) => {
                known.failed = known.failed.saturating_add(1);
                if known.failed >= OPENS_AFTER {
                    let seconds = (OPEN_SECONDS.0 << known.opened.min(10)).min(OPEN_SECONDS.1);
                    known.opened = known.opened.saturating_add(1);
                    known.closed_until = known.closed_until.max(Some(now.plus_seconds(seconds)));
                }
                let asked = asked.map(|asked| asked.min(now.plus_seconds(LONGEST_ASKED))).filter(|asked| *asked > now);
                known.closed_until = known.closed_until.max(asked);
            }
        }
        if known.flying == 0 && known.failed == 0 && known.closed_until.is_none() {
            self.0.remove(host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Moment {
        Moment::from_millis(1_777_903_500_000).plus_seconds(seconds)
    }

    #[test]
    fn a_host_takes_eight_at_once_and_others_are_not_held_up_by_it() {
        let mut hosts = Hosts::default();
        for left in (0..8).rev() {
            hosts.begin("a");
            assert_eq!(hosts.room("a", at(0)), left);
        }
        assert_eq!(hosts.room("b", at(0)), 8);
        hosts.end("a", at(0), Bearing::Well);
        assert_eq!(hosts.room("a", at(0)), 1);
    }

    #[test]
    fn after_five_failures_it_is_left_alone_then_tried_by_one_and_longer_each_time() {
        let mut hosts = Hosts::default();
        let fail = |hosts: &mut Hosts, now| {
            hosts.begin("a");
            hosts.end("a", now, Bearing::Badly(None));
        };
        for _ in 0..4 {
            fail(&mut hosts, at(0));
        }
        assert_eq!(hosts.room("a", at(0)), 8, "four may be chance");
        fail(&mut hosts, at(0));
        assert_eq!((hosts.room("a", at(29)), hosts.room("a", at(30))), (0, 1));
        fail(&mut hosts, at(30));
        assert_eq!((hosts.room("a", at(89)), hosts.room("a", at(90))), (0, 1));
        for _ in 0..20 {
            fail(&mut hosts, at(90));
        }
        assert_eq!((hosts.room("a", at(90 + 599)), hosts.room("a", at(90 + 600))), (0, 1), "at most ten minutes");
        hosts.begin("a");
        assert_eq!(hosts.room("a", at(900)), 0, "one at a time");
        hosts.end("a", at(900), Bearing::Well);
        assert_eq!(hosts.room("a", at(900)), 8);
        assert!(hosts.0.is_empty(), "what bears up is forgotten");
    }

    #[test]
    fn what_a_host_asks_for_is_heard_and_bounded() {
        let mut hosts = Hosts::default();
        hosts.begin("a");
        hosts.end("a", at(0), Bearing::Badly(Some(at(120))));
        assert_eq!((hosts.room("a", at(119)), hosts.room("a", at(120))), (0, 1));
        hosts.begin("b");
        hosts.end("b", at(0), Bearing::Badly(Some(at(1_000_000))));
        assert_eq!((hosts.room("b", at(3599)), hosts.room("b", at(3600))), (0, 1));
    }
}
