//! How many tests ran, read from what the test runners print.

use anyhow::{Result, bail};

/// The tests of one step.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    skipped: u64,
}

impl Count {
    /// From `cargo test`: `test result: ok. 12 passed; 0 failed; 1 ignored; …`, one line a program.
    pub(crate) fn of_cargo(output: &str) -> Result<Self> {
        let mut count = Self::default();
        for line in output.lines().filter_map(|line| line.trim().strip_prefix("test result: ")) {
            count.passed += before(line, " passed");
            count.skipped += before(line, " ignored");
        }
        count.checked()
    }

    /// From `node --test`: `# pass 12`, or `ℹ pass 12` on a terminal.
    pub(crate) fn of_node(output: &str) -> Result<Self> {
        let mut count = Self::default();
        for line in output.lines().filter_map(|line| line.trim().strip_prefix(['#', 'ℹ'])) {
            match line.trim().split_once(' ') {
                Some(("pass", n)) => count.passed += n.trim().parse::<u64>()?,
                Some(("skipped" | "todo" | "cancelled", n)) => {
                    count.skipped += n.trim().parse::<u64>().unwrap_or(0)
                }
                _ => {}
            }
        }
        count.checked()
    }

    fn checked(self) -> Result<Self> {
        match self {
            Self { passed: 0, .. } => bail!("no test ran"),
            Self { skipped: 0, .. } => Ok(self),
            Self { skipped, .. } => bail!("{skipped} tests were skipped: a skipped test proves nothing"),
        }
    }
}

/// The number that stands before a word.
fn before(line: &str, word: &str) -> u64 {
    let number = line.split(word).next().filter(|start| start.len() < line.len());
    number.and_then(|start| start.rsplit([' ', ';']).next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_of_cargo_counts() {
        let out = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n\
                   test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured";
        assert_eq!(Count::of_cargo(out).ok(), Some(Count { passed: 42, skipped: 0 }));
        assert!(Count::of_cargo("test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured").is_err());
        assert!(Count::of_cargo("").is_err());
    }

    #[test]
    fn both_reporters_of_node_count() {
        for mark in ["#", "ℹ"] {
            let out = |skipped| {
                format!(
                    "{mark} tests 3\n{mark} pass 3\n{mark} fail 0\n{mark} skipped {skipped}\n{mark} todo 0"
                )
            };
            assert_eq!(Count::of_node(&out(0)).ok(), Some(Count { passed: 3, skipped: 0 }));
            assert!(Count::of_node(&out(1)).is_err());
        }
    }
}
