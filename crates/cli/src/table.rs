//! Columns of text, spaced as Go's `text/tabwriter` does for Docker: at least 10 wide, 3 spaces between, no trailing tabs.
//!
//! A cell is what a tab ends; what follows the last tab of a line belongs to no column. A column is a run of
//! consecutive lines that have a cell in it, and is as wide as its widest cell in that run.

/// How wide a column is at least, and how many spaces follow its widest cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spacing {
    pub(crate) least: usize,
    pub(crate) padding: usize,
}

/// The spacing of every list of Docker's.
pub(crate) const LIST: Spacing = Spacing { least: 10, padding: 3 };

/// The spacing of nerdctl's lists.
pub(crate) const NERDCTL: Spacing = Spacing { least: 4, padding: 4 };

/// Replaces the tabs of `text` by spaces so that its columns line up.
pub(crate) fn align(text: &str, spacing: Spacing) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < lines.len() {
            let end = (start..lines.len()).find(|line| widths[*line].len() <= column).unwrap_or(lines.len());
            let width = lines[start..end].iter().map(|cells| width(cells[column])).max().unwrap_or(0);
            let width = (width + spacing.padding).max(spacing.least);
            widths[start..end].iter_mut().for_each(|line| line[column] = width);
            start = end + 1;
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (cells, widths) in lines.iter().zip(&widths) {
        for (cell, column) in cells.iter().zip(widths) {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', column - width(cell)));
        }
        out.push_str(cells.last().copied().unwrap_or_default());
        out.push('\n');
    }
    out
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::{LIST, Spacing, align};

    #[test]
    fn columns_are_ten_wide_or_three_more_than_their_widest_cell() {
        let cases = [
            ("", ""),
            ("A\tB\n", "A         B\n"),
            ("A\tB\naaaaaaaaaa\tb", "A            B\naaaaaaaaaa   b\n"),
            ("ä…\tB\n", "ä…        B\n"),
            ("A\t\tC\na\t\tc\n", "A                   C\na                   c\n"),
        ];
        for (text, expected) in cases {
            assert_eq!(align(text, LIST), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_without_the_column_ends_it() {
        let narrow = Spacing { least: 0, padding: 1 };
        assert_eq!(align("a\tb\nplain\nlonger\tc\n", narrow), "a b\nplain\nlonger c\n");
        assert_eq!(align("a\tbb\tc\nlong\td\n", narrow), "a    bb c\nlong d\n");
    }
}
