//! Tables in the layout of Go's `text/tabwriter` (<https://pkg.go.dev/text/tabwriter>): a column is a run of lines that
//! have that cell, and the last cell of a line, which no tab ends, belongs to none.

/// How cells are padded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// The least width of a column, padding included, in characters.
    pub(crate) width_min: usize,
    pub(crate) padding: usize,
    /// Whether tabs (of eight) pad, instead of spaces.
    pub(crate) is_tabbed: bool,
}

/// Tables of images, leases, snapshots.
pub(crate) const NARROW: Style = Style { width_min: 1, padding: 1, is_tabbed: false };
/// Tables of containers, tasks, plugins.
pub(crate) const WIDE: Style = Style { width_min: 4, padding: 4, is_tabbed: false };
/// Tables of content.
pub(crate) const TABBED: Style = Style { width_min: 1, padding: 1, is_tabbed: true };

const TAB_WIDTH: usize = 8;

/// Lays out `text`, whose cells end in tabs.
pub(crate) fn layout(style: Style, text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut out = String::new();
    block(style, &lines, &mut Vec::new(), &mut out);
    out
}

fn block(style: Style, lines: &[Vec<&str>], widths: &mut Vec<usize>, out: &mut String) {
    let column = widths.len();
    let has_cell = |line: &&Vec<&str>| column + 1 < line.len();
    let mut rest = lines;
    while let Some(start) = rest.iter().position(|line| has_cell(&line)) {
        write(style, &rest[..start], widths, out);
        rest = &rest[start..];
        let count = rest.iter().take_while(has_cell).count();
        let widest = rest[..count].iter().map(|line| line[column].chars().count() + style.padding).max();
        widths.push(widest.unwrap_or(0).max(style.width_min));
        block(style, &rest[..count], widths, out);
        widths.pop();
        rest = &rest[count..];
    }
    write(style, rest, widths, out);
}

fn write(style: Style, lines: &[Vec<&str>], widths: &[usize], out: &mut String) {
    for line in lines {
        for (index, cell) in line.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(index) {
                pad(style, *width, cell.chars().count(), out);
            }
        }
        out.push('\n');
    }
}

fn pad(style: Style, width: usize, used: usize, out: &mut String) {
    match style.is_tabbed {
        true => {
            let missing = width.next_multiple_of(TAB_WIDTH) - used;
            out.extend(std::iter::repeat_n('\t', missing.div_ceil(TAB_WIDTH)));
        }
        false => out.extend(std::iter::repeat_n(' ', width.saturating_sub(used))),
    }
}

#[cfg(test)]
mod tests {
    use super::{NARROW, TABBED, WIDE, layout};

    #[test]
    fn a_table_looks_as_ctrs() {
        assert_eq!(layout(NARROW, "KEY\tPARENT\tKIND\t\n"), "KEY PARENT KIND \n");
        assert_eq!(
            layout(WIDE, "CONTAINER\tIMAGE\t\nc1\tdocker.io/library/a:1\t\n"),
            concat!("CONTAINER    IMAGE                    \n", "c1           docker.io/library/a:1    \n",)
        );
        assert_eq!(
            layout(TABBED, "DIGEST\tSIZE\tLABELS\nsha256:4ba8\t422B\t-\n"),
            "DIGEST\t\tSIZE\tLABELS\nsha256:4ba8\t422B\t-\n"
        );
    }

    #[test]
    fn a_column_ends_where_a_line_has_no_such_cell() {
        assert_eq!(
            layout(NARROW, "a\tb\t\nlonger\tc\t\nplain\nx\ty\t\n"),
            "a      b \nlonger c \nplain\nx y \n"
        );
    }
}
