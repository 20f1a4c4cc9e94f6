//! Statistics for a spreadsheet (RFC 4180).

use std::fmt::Write;

use super::print::dollars;
use crate::ledger::{By, Group};

/// A line for each group, under a head.
pub(super) fn of(by: By, groups: &[Group]) -> String {
    let mut text = format!(
        "{by},paid,hit,joined,failed,unknown,possible_double_payments,unpriced,usd_spent,usd_saved\r\n"
    );
    for Group { name, tally } in groups {
        let (spent, saved) = (dollars(tally.usd_spent), dollars(tally.usd_saved));
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "{},{},{},{},{},{},{},{},{spent},{saved}\r\n",
            cell(name),
            tally.paid,
            tally.hit,
            tally.joined,
            tally.failed,
            tally.unknown,
            tally.possible_double_payments,
            tally.unpriced,
        );
    }
    text
}

/// SECURITY: clients choose names of models. A spreadsheet must not take one for a formula, nor for
/// the end of its cell.
fn cell(name: &str) -> String {
    let formula = name.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let name = if formula {
        format!("'{name}")
    } else {
        name.to_owned()
    };
    if name.contains([',', '"', '\r', '\n']) || formula {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Tally;
    use crate::price::Usd;

    #[test]
    fn a_name_stays_a_name() {
        for (name, expected) in [
            ("alice", "alice"),
            ("a b", "a b"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("=1+1", "\"'=1+1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("-2", "\"'-2\""),
            ("\t=1", "\"'\t=1\""),
            ("2026-11-21", "2026-11-21"),
            ("", ""),
        ] {
            assert_eq!(cell(name), expected);
        }
    }

    #[test]
    fn a_group_is_a_line() {
        let tally = Tally {
            paid: 1,
            hit: 2,
            joined: 3,
            failed: 4,
            unknown: 5,
            possible_double_payments: 6,
            unpriced: 7,
            usd_spent: Usd::from_billionths(8_750_000_000),
            usd_saved: Usd::from_billionths(36_800_000),
        };
        let group = Group {
            name: "m".to_owned(),
            tally,
        };
        let expected = "model,paid,hit,joined,failed,unknown,possible_double_payments,unpriced,\
                        usd_spent,usd_saved\r\nm,1,2,3,4,5,6,7,8.75,0.0368\r\n";
        assert_eq!(of(By::Model, &[group]), expected);
    }
}
