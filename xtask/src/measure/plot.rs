//! Bars of several peers beside each other, as SVG that a page shows as it is. Pure.

/// Figures of one kind, on a scale of their own: the label of each group, and a bar for each peer.
pub struct Panel {
    /// What they are.
    pub title: &'static str,
    /// Those that stand together; nothing is no bar.
    pub groups: Vec<(String, Vec<f64>)>,
}

const WIDTH: f64 = 860.0;
/// Where bars begin, and where the longest ends.
const BARS: (f64, f64) = (230.0, 780.0);
const BAR: f64 = 13.0;
const GAP: f64 = 10.0;
const TITLE: f64 = 30.0;
/// Told apart by those who see few colours, too (Okabe and Ito).
const COLOURS: [&str; 5] = ["#999999", "#0072b2", "#e69f00", "#d55e00", "#009e73"];

/// The picture, its lengths on logarithmic scales.
pub fn bars(peers: &[String], panels: &[Panel]) -> String {
    let mut body = legend(peers);
    let mut top = TITLE + GAP;
    for panel in panels {
        top = draw(&mut body, panel, top);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" width=\"{WIDTH}\" height=\"{top}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{top}\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

fn colour(peer: usize) -> &'static str {
    COLOURS.get(peer % COLOURS.len()).copied().unwrap_or("#000")
}

fn legend(peers: &[String]) -> String {
    let each = WIDTH / f64::from(u32::try_from(peers.len().max(1)).unwrap_or(1));
    let mut left = GAP;
    let mut text = String::new();
    for (index, peer) in peers.iter().enumerate() {
        text.push_str(&format!(
            "<rect x=\"{left}\" y=\"12\" width=\"{BAR}\" height=\"{BAR}\" fill=\"{}\"/>\n<text x=\"{}\" y=\"23\">{peer}</text>\n",
            colour(index),
            left + 2.0 * GAP
        ));
        left += each;
    }
    text
}

/// Draws one below what is there, and gives where it ends.
fn draw(body: &mut String, panel: &Panel, mut top: f64) -> f64 {
    let all = || panel.groups.iter().flat_map(|(_, bars)| bars).copied().filter(|it| *it > 0.0);
    // From the power of ten below the least of them, so that each has a bar.
    let first = (all().fold(f64::INFINITY, f64::min) * 0.8).log10().floor();
    let last = all().fold(0.0, f64::max).log10().max(first + 1.0);
    let x = |value: f64| BARS.0 + (value.log10() - first) / (last - first) * (BARS.1 - BARS.0);
    body.push_str(&format!(
        "<text x=\"{GAP}\" y=\"{}\" font-size=\"13\" font-weight=\"bold\">{} (logarithmic)</text>\n",
        top + 18.0,
        panel.title
    ));
    top += TITLE;
    let begun = top;
    let mut drawn = String::new();
    for (label, bars) in &panel.groups {
        let height = BAR * f64::from(u32::try_from(bars.len()).unwrap_or(0));
        drawn.push_str(&format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
            BARS.0 - GAP,
            top + height / 2.0 + 4.0
        ));
        for (index, value) in bars.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let (end, top) = (x(*value), top + BAR * f64::from(u32::try_from(index).unwrap_or(0)));
            drawn.push_str(&format!(
                "<rect x=\"{}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{}\" fill=\"{}\"/>\n<text x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
                BARS.0,
                end - BARS.0,
                BAR - 1.0,
                colour(index),
                end + 4.0,
                top + BAR - 3.0,
                figure(*value)
            ));
        }
        top += height + GAP;
    }
    let mut power = first;
    while power <= last {
        let at = x(10f64.powf(power));
        body.push_str(&format!(
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{begun}\" y2=\"{:.1}\" stroke=\"#ddd\"/>\n",
            top - GAP
        ));
        power += 1.0;
    }
    body.push_str(&drawn);
    top + GAP
}

/// Three digits of it, or all before the point.
fn figure(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else if value >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_as_much_is_as_much_longer_each_time() {
        let panel =
            Panel { title: "all", groups: vec![("one".to_owned(), vec![1.0, 10.0, 100.0])] };
        let picture = bars(&["a".to_owned(), "b".to_owned(), "c".to_owned()], &[panel]);
        let widths: Vec<f64> = picture
            .lines()
            .filter(|line| line.starts_with("<rect x=\"230\""))
            .filter_map(|line| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths.len(), 3, "{picture}");
        assert!((widths[2] - widths[1] - (widths[1] - widths[0])).abs() < 0.2, "{widths:?}");
        assert!(widths[0] > 0.0 && (widths[2] - 550.0).abs() < 0.1, "{widths:?}");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([0.0239, 2.335, 57.8, 3712.9].map(figure), ["0.024", "2.33", "57.8", "3713"]);
    }
}
