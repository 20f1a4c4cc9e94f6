//! Rows as text: aligned for people, with tabs for programs.

use super::admin::printable;

/// Columns as wide as their longest cell, under a head.
pub(super) fn aligned<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let head = head.map(str::to_owned);
    let rows: Vec<_> = std::iter::once(&head).chain(rows).map(cleaned).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = widths.iter().zip(row);
        let cells: Vec<_> = cells
            .map(|(width, cell)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One line a row, without a head.
pub(super) fn tabbed<const N: usize>(rows: &[[String; N]]) -> String {
    rows.iter()
        .map(|row| cleaned(row).join("\t") + "\n")
        .collect()
}

/// A cell stays in its place, whatever a client chose to put there.
fn cleaned<const N: usize>(row: &[String; N]) -> [String; N] {
    row.each_ref()
        .map(|cell| printable(cell).replace('\n', "?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stay_in_their_columns() {
        let rows = [
            ["a".to_owned(), "ä\tb\nc".to_owned()],
            ["longer".to_owned(), String::new()],
        ];
        assert_eq!(
            aligned(["X", "YY"], &rows),
            "X       YY\na       ä?b?c\nlonger\n"
        );
        assert_eq!(tabbed(&rows), "a\tä?b?c\nlonger\t\n");
        assert_eq!(tabbed::<2>(&[]), "");
    }
}
