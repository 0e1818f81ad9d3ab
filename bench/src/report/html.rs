//! The record as one page that needs nothing beside it: no script, no font, no picture from elsewhere. Each row has a
//! plot of its samples, drawn to one scale for all layers of a workload.

use super::figure::{figure, percent, times};
use super::surface::{WHAT, works};
use super::{Measured, groups, preamble, remark, rows};
use crate::record::{Better, Record};

const PLOT_WIDTH: f64 = 360.0;
const PLOT_HEIGHT: f64 = 20.0;
/// So that a mark at either end is whole.
const PLOT_MARGIN: f64 = 4.0;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2733;--soft:#5b6875;--line:#d5dbe1;--page:#fff;--bar:#9dc3e6;--mark:#0b5394;\
--bad:#a61c00}\
@media(prefers-color-scheme:dark){:root{--ink:#e3e8ed;--soft:#9aa7b4;--line:#35404b;--page:#12171c;--bar:#2f5d87;\
--mark:#9fd0ff;--bad:#ff8f73}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:64rem;margin:2rem auto;\
padding:0 1rem}\
h1{font-size:1.6rem;margin-bottom:.5rem}h2{font-size:1.15rem;margin:2.2rem 0 0;text-transform:capitalize}\
h3{font-size:1rem;margin:1.4rem 0 0}p{margin:.2rem 0;color:var(--soft)}p.warning{color:var(--bad);font-weight:600}\
div.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;margin:.3rem 0}\
td,th{padding:.15rem .6rem .15rem 0;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}\
td.figure{text-align:right;font-variant-numeric:tabular-nums}td.remark{color:var(--soft);white-space:normal}\
td.failed{color:var(--bad);white-space:normal}\
svg{display:block}.bar{fill:var(--bar)}.sample{fill:var(--mark);opacity:.35}.median,.interval{stroke:var(--mark)}\
.median{stroke-width:2}.interval{stroke-width:1.5}";

/// The whole record.
pub fn html(record: &Record) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>What isolation costs</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>What isolation costs</h1>\n"
    );
    let emulated = record.machine.emulated;
    for (number, line) in preamble(record).iter().enumerate() {
        let class = if emulated && number == 0 { " class=\"warning\"" } else { "" };
        page.push_str(&format!("<p{class}>{}</p>\n", escaped(line)));
    }
    page.push_str("<h2>layers</h2>\n<table>\n");
    for layer in &record.layers {
        page.push_str(&format!(
            "<tr><th scope=\"row\">{}</th><td class=\"remark\">{}</td></tr>\n",
            escaped(&layer.name),
            escaped(&layer.scope)
        ));
    }
    page.push_str("</table>\n");
    for (group, workloads) in groups(record) {
        page.push_str(&format!("<h2>{}</h2>\n", escaped(group)));
        workloads.into_iter().for_each(|place| page.push_str(&workload(record, place)));
    }
    page + &surface(record) + "</body>\n</html>\n"
}

/// What of the host's kernel each layer reaches.
fn surface(record: &Record) -> String {
    let works = works(record);
    if works.is_empty() {
        return String::new();
    }
    let mut text = format!("<h2>surface</h2>\n<p>{WHAT}</p>\n");
    for (work, rows) in works {
        text.push_str(&format!(
            "<h3>{}</h3>\n<div class=\"wide\"><table>\n<tr><th></th><th>calls</th><th>different</th><th>most</th>\
             <th>exits of KVM</th><th>functions</th></tr>\n",
            escaped(work)
        ));
        for row in rows {
            let layer = escaped(row.layer);
            text.push_str(&match &row.figures {
                Err(why) => format!(
                    "<tr><th scope=\"row\">{layer}</th><td class=\"failed\" colspan=\"5\">failed: {}</td></tr>\n",
                    escaped(why)
                ),
                Ok(it) => format!(
                    "<tr><th scope=\"row\">{layer}</th><td class=\"figure\">{}</td><td class=\"figure\">{}</td>\
                     <td class=\"remark\">{}</td><td class=\"remark\">{}</td><td class=\"figure\">{}</td></tr>\n",
                    it.calls,
                    it.different,
                    escaped(&it.most),
                    escaped(&it.exits()),
                    it.functions.as_deref().unwrap_or_default(),
                ),
            });
        }
        text.push_str("</table></div>\n");
    }
    text
}

/// A table with a row for each layer.
fn workload(record: &Record, place: usize) -> String {
    let Some(workload) = record.workloads.get(place) else { return String::new() };
    let good = if workload.better == Better::Less { "less" } else { "more" };
    let mut table = format!(
        "<h3>{}</h3>\n<p>{}; {good} is better</p>\n<div class=\"wide\"><table>\n",
        escaped(&workload.name),
        escaped(&workload.scope)
    );
    let rows = rows(record, place);
    let samples =
        rows.iter().filter_map(|row| row.measured.as_ref().ok()).flat_map(|it| &it.samples);
    let greatest = samples.copied().fold(0.0, f64::max);
    for row in &rows {
        let layer = escaped(row.layer);
        table.push_str(&match &row.measured {
            Err(why) => format!(
                "<tr><th scope=\"row\">{layer}</th><td class=\"failed\" colspan=\"5\">failed: {}</td></tr>\n",
                escaped(why)
            ),
            Ok(it) => format!(
                "<tr><th scope=\"row\">{layer}</th><td class=\"figure\">{}</td><td class=\"figure\">± {}</td>\
                 <td class=\"figure\">{}</td><td>{}</td><td class=\"remark\">{}</td></tr>\n",
                figure(it.summary.median, workload.unit),
                percent(it.summary.uncertainty()),
                it.cost.map(times).unwrap_or_default(),
                plot(it, greatest),
                escaped(&remark(it).unwrap_or_default()),
            ),
        });
    }
    table + "</table></div>\n"
}

/// A bar up to the median, the interval around it, and each sample.
fn plot(measured: &Measured, greatest: f64) -> String {
    let scale = |value: f64| {
        let share = if greatest > 0.0 { value / greatest } else { 0.0 };
        PLOT_MARGIN + share * (PLOT_WIDTH - 2.0 * PLOT_MARGIN)
    };
    let middle = PLOT_HEIGHT / 2.0;
    let summary = &measured.summary;
    let (median, low, high) = (scale(summary.median), scale(summary.low), scale(summary.high));
    let mut svg = format!(
        "<svg width=\"{PLOT_WIDTH}\" height=\"{PLOT_HEIGHT}\" role=\"img\" aria-label=\"{} samples\">\
         <rect class=\"bar\" x=\"{PLOT_MARGIN}\" y=\"4\" width=\"{:.1}\" height=\"12\"/>",
        summary.count,
        median - PLOT_MARGIN,
    );
    for sample in &measured.samples {
        let x = scale(*sample);
        svg.push_str(&format!(
            "<circle class=\"sample\" cx=\"{x:.1}\" cy=\"{middle}\" r=\"2.5\"/>"
        ));
    }
    svg.push_str(&format!(
        "<line class=\"interval\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
         <line class=\"median\" x1=\"{median:.1}\" x2=\"{median:.1}\" y1=\"2\" y2=\"18\"/></svg>"
    ));
    svg
}

/// Nothing in a record is HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
