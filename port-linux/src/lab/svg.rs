// SPDX-License-Identifier: BSD-2-Clause
//! The strokes that drawings of measurements (SVG 1.1) are made of.

use std::fmt::Write;

/// Okabe and Ito's colours, which the colour-blind tell apart.
pub const COLOURS: [&str; 8] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#777777"];

/// A white sheet of that size in pixels; the caller closes it with `</svg>`.
#[must_use]
pub fn begin(width: u32, height: u32) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#333333\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    )
}

/// A straight line; `style` is made of attributes.
pub fn line(out: &mut String, [x1, y1, x2, y2]: [f64; 4], style: &str) {
    write_in(out, format_args!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>\n"));
}

/// A filled rectangle by its left upper corner, width and height.
pub fn rectangle(out: &mut String, [x, y, width, height]: [f64; 4], style: &str) {
    let place = format_args!("x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"");
    write_in(out, format_args!("<rect {place} {style}/>\n"));
}

/// Text, which may hold anything; `anchor` is `start`, `middle` or `end`.
pub fn text(out: &mut String, [x, y]: [f64; 2], anchor: &str, style: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    write_in(out, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{content}</text>\n"));
}

fn write_in(out: &mut String, words: std::fmt::Arguments<'_>) {
    // A String takes all.
    let _infallible = out.write_fmt(words);
}

/// For tests: what XML 1.0 demands of this subset, tags that nest and close, quoted attributes, no stray `<` or `&`.
///
/// # Panics
/// When something is amiss.
#[doc(hidden)]
pub fn assert_well_formed(xml: &str) {
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some((before, after)) = rest.split_once('<') {
        for entity in before.split('&').skip(1) {
            assert!(["amp;", "lt;", "gt;"].iter().any(|known| entity.starts_with(known)), "{before}");
        }
        let (tag, after) = after.split_once('>').expect("every tag ends");
        assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "<{tag}>");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().expect("a split has a first part");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        for attribute in tag.split("\" ").filter(|attribute| attribute.contains('=')) {
            assert!(attribute.contains("=\""), "<{tag}>");
        }
        rest = after;
    }
    assert_eq!((open.len(), rest.trim()), (0, ""));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let mut out = String::new();
        text(&mut out, [0.0, 0.0], "start", "", "<&>");
        assert!(out.contains(">&lt;&amp;&gt;</text>"), "{out}");
    }

    #[test]
    fn a_sheet_with_every_stroke_is_well_formed() {
        let mut out = begin(100, 50);
        line(&mut out, [0.0, 1.0, 2.0, 3.0], "stroke=\"#333333\"");
        rectangle(&mut out, [0.0, 1.0, 2.0, 3.0], "fill=\"#333333\"");
        text(&mut out, [0.0, 1.0], "end", "", "a < b");
        assert_well_formed(&(out + "</svg>\n"));
    }
}
