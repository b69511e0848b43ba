//! Tells an export that is whole from one that was cut off, while it passes by.

use crate::vault::export::EndLine;

/// So much of a line is kept: more than a last line has, and than the position at a line's beginning needs.
const KEPT: usize = 8 * 1024;

/// What has passed so far.
pub(super) struct Watch {
    csv: bool,
    /// Within quotes a line break ends no row.
    quoted: bool,
    /// The beginning of the line that passes.
    line: Vec<u8>,
    /// The line before it, its beginning.
    last: Vec<u8>,
    lines: u64,
    /// Those that tell of an event.
    events: u64,
    position: u64,
}

impl Watch {
    pub fn new(csv: bool) -> Self {
        Self { csv, quoted: false, line: Vec::with_capacity(KEPT), last: Vec::new(), lines: 0, events: 0, position: 0 }
    }

    /// A piece passes.
    pub fn take(&mut self, piece: &[u8]) {
        for byte in piece {
            if self.csv && *byte == b'"' {
                self.quoted = !self.quoted;
            }
            if *byte == b'\n' && !self.quoted {
                self.lines += 1;
                if let Some(position) = self.place() {
                    (self.position, self.events) = (position, self.events + 1);
                }
                self.last = std::mem::take(&mut self.line);
            } else if self.line.len() < KEPT {
                self.line.push(*byte);
            }
        }
    }

    /// The position of the event that passed last.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The position that a line begins with, if it tells of an event.
    fn place(&self) -> Option<u64> {
        let beginning = self.line.get(..self.line.len().min(64))?;
        let text = String::from_utf8_lossy(beginning);
        let digits = if self.csv { &text } else { text.strip_prefix("{\"leaf\":")?.split_once(",\"position\":")?.1 };
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    /// How many events passed and through which position, if the last line says the same and nothing follows it; and the checkpoint that it holds.
    pub fn whole(&self) -> Option<(u64, u64, Option<String>)> {
        let last = std::str::from_utf8(&self.last).ok()?;
        let (events, through, checkpoint) = if self.csv {
            let (events, through) = last.trim_end_matches('\r').strip_prefix("# end: ")?.split_once(" events through position ")?;
            (events.parse().ok()?, through.parse().ok()?, None)
        } else {
            let EndLine { end } = serde_json::from_str(last).ok()?;
            (end.events, end.through, Some(end.checkpoint))
        };
        // Of CSV, beside the events, the first line and the last.
        let none_missing = !self.csv || self.lines == events + 2;
        (self.line.is_empty() && self.events == events && none_missing).then_some((events, through, checkpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_lacks_its_end_or_a_line_is_not_whole() {
        let jsonl = "{\"leaf\":0,\"count\":1}\n{\"leaf\":1,\"position\":4,\"facts\":{\"end\":{\"events\":1}}}\n{\"leaf\":2,\"position\":9}\n\
            {\"end\":{\"events\":2,\"through\":12,\"checkpoint\":\"a note\"}}\n";
        let csv = "position,reason\r\n4,\"two\nlines, \"\"quoted\"\"\"\r\n9,\r\n# end: 2 events through position 12\r\n";
        for (is_csv, text) in [(false, jsonl), (true, csv)] {
            let passed = |text: &str, size: usize| {
                let mut watch = Watch::new(is_csv);
                text.as_bytes().chunks(size).for_each(|piece| watch.take(piece));
                (watch.whole().map(|(events, through, _)| (events, through)), watch.position())
            };
            for size in 1..text.len() {
                assert_eq!(passed(text, size), (Some((2, 12)), 9), "{is_csv} in pieces of {size}");
            }
            for cut in 0..text.len() {
                assert_eq!(passed(&text[..cut], 7).0, None, "cut at {cut}: {:?}", &text[..cut]);
            }
            let without: String = text.lines().filter(|line| !line.contains('9')).map(|line| line.to_owned() + "\n").collect();
            assert_eq!(passed(&without, 7).0, None, "a line is missing");
            assert_eq!(passed(&(text.to_owned() + text), 7).0, None, "two of them");
        }
    }
}
