//! Every equation of numbers that a page writes out holds: `$16/4.125 = 3.88$`.
//!
//! A number with a point stands for all numbers that round to it, so each side is an interval, and two sides
//! agree if their intervals meet. A side with a name in it is not computed. Behind a side there may be a unit
//! of another size (`GB` for bytes), so a factor of a power of 1,000 is allowed where one follows.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use regex::Regex;
use walkdir::WalkDir;

/// The least and the largest number that a side may be.
type Interval = (f64, f64);

/// Fewer than the book has, so that a change of the way mathematics is written does not end the check.
const AT_LEAST: usize = 60;

#[test]
fn every_equation_of_numbers_holds() -> Result<()> {
    let (mut checked, mut wrong) = (0, Vec::new());
    for file in
        WalkDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../src")).sort_by_file_name()
    {
        let file = file?;
        if file.path().extension().is_some_and(|end| end == "md") {
            let (number, found) = check(&fs::read_to_string(file.path())?)?;
            checked += number;
            let name = file.path().file_name().unwrap_or_default().to_string_lossy();
            wrong.extend(found.into_iter().map(|finding| format!("{name}:{finding}")));
        }
    }
    ensure!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    ensure!(
        checked >= AT_LEAST,
        "{checked} equations were read, the book has more than {AT_LEAST}"
    );
    Ok(())
}

/// How many equations the page has, and a line for each that does not hold.
fn check(markdown: &str) -> Result<(usize, Vec<String>)> {
    let mathematics = Regex::new(r"\$\$(?s:(.*?))\$\$|\$([^$\n]+)\$([^$\n]{0,12})")?;
    let signs = Regex::new(r"=|\\approx")?;
    let is_unit = Regex::new(r"^ ?(?:GB|MB|ms|million|billion)\b")?;
    let (mut checked, mut wrong) = (0, Vec::new());
    for found in mathematics.captures_iter(markdown) {
        let formula = found.get(1).or(found.get(2)).map_or("", |formula| formula.as_str());
        let formula = ["{,}", "\\,", "\\left", "\\right"]
            .iter()
            .fold(formula.to_owned(), |formula, mark| formula.replace(mark, ""));
        let has_unit = found.get(3).is_some_and(|behind| is_unit.is_match(behind.as_str()));
        let sides: Vec<&str> = signs.split(&formula).collect();
        for pair in sides.windows(2) {
            let (Some(left), Some(right)) = (value(pair[0]), value(pair[1])) else { continue };
            checked += 1;
            if !meet(left, rounded(pair[1], right), has_unit) {
                let line = markdown[..found.get_match().start()].matches('\n').count() + 1;
                let [left_is, right_is] = [left, right].map(|(low, high)| f64::midpoint(low, high));
                wrong.push(format!(
                    "{line}: {} is {left_is}, and the page says {right_is}",
                    pair[0].trim()
                ));
            }
        }
    }
    Ok((checked, wrong))
}

/// A whole number at the end of an equation may be rounded.
fn rounded(side: &str, (low, high): Interval) -> Interval {
    let is_whole = side.trim().bytes().all(|byte| byte.is_ascii_digit());
    if is_whole { (low - 0.5, high + 0.5) } else { (low, high) }
}

fn meet(left: Interval, right: Interval, has_unit: bool) -> bool {
    let powers: &[i32] = if has_unit { &[-9, -6, -3, 0, 3] } else { &[0] };
    powers.iter().any(|&power| {
        let (low, high) = (left.0 * 10_f64.powi(power), left.1 * 10_f64.powi(power));
        // For the last bits of the arithmetic.
        let slack = 1e-9 * high.abs().max(1.0);
        low <= right.1 + slack && right.0 <= high + slack
    })
}

/// The value of a side; `None` if it has a name or anything else that is no arithmetic.
fn value(side: &str) -> Option<Interval> {
    let token = Regex::new(r"\\cdot|\\t?frac|\d+(?:\.\d+)?|[-+/^(){}]|\s+").ok()?;
    let mut tokens = Vec::new();
    let mut end = 0;
    for found in token.find_iter(side) {
        if found.start() != end {
            return None;
        }
        end = found.end();
        tokens.extend(Some(found.as_str().trim()).filter(|token| !token.is_empty()));
    }
    let mut reading = Reading { tokens: &tokens };
    let value = reading.sum()?;
    (end == side.len() && reading.tokens.is_empty()).then_some(value)
}

/// Tokens that are not read yet.
struct Reading<'t> {
    tokens: &'t [&'t str],
}

impl Reading<'_> {
    /// Takes the next token if it is one of `wanted`.
    fn take(&mut self, wanted: &[&str]) -> Option<&str> {
        let (first, rest) = self.tokens.split_first()?;
        wanted.contains(first).then(|| {
            self.tokens = rest;
            *first
        })
    }

    fn sum(&mut self) -> Option<Interval> {
        let mut sum = self.product()?;
        while let Some(sign) = self.take(&["+", "-"]) {
            let sign = if sign == "+" { 1.0 } else { -1.0 };
            let (low, high) = self.product()?;
            sum = span([
                sum.0 + sign * low,
                sum.0 + sign * high,
                sum.1 + sign * low,
                sum.1 + sign * high,
            ]);
        }
        Some(sum)
    }

    fn product(&mut self) -> Option<Interval> {
        let mut product = self.power()?;
        while let Some(sign) = self.take(&["\\cdot", "/"]) {
            let is_product = sign != "/";
            let (low, high) = self.power()?;
            let factors = if is_product { [low, high] } else { [1.0 / low, 1.0 / high] };
            product = span(of_both(product, factors));
        }
        Some(product)
    }

    fn power(&mut self) -> Option<Interval> {
        if self.take(&["-"]).is_some() {
            let (low, high) = self.power()?;
            return Some((-high, -low));
        }
        let (low, high) = self.number()?;
        if self.take(&["^"]).is_none() {
            return Some((low, high));
        }
        let (exponent, _) = self.number()?;
        Some(span([low, low, high, high].map(|number| number.powf(exponent))))
    }

    fn number(&mut self) -> Option<Interval> {
        if let Some(open) = self.take(&["(", "{"]) {
            let close = if open == "(" { ")" } else { "}" };
            let inside = self.sum()?;
            self.take(&[close])?;
            return Some(inside);
        }
        if self.take(&["\\frac", "\\tfrac"]).is_some() {
            let (over, (low, high)) = (self.number()?, self.number()?);
            return Some(span(of_both(over, [1.0 / low, 1.0 / high])));
        }
        let (first, rest) = self.tokens.split_first()?;
        let number: f64 = first.parse().ok()?;
        self.tokens = rest;
        let places = first.split_once('.').map(|(_, places)| places.len() as i32);
        let half = places.map_or(0.0, |places| 0.5 * 10_f64.powi(-places));
        Some((number - half, number + half))
    }
}

fn of_both((low, high): Interval, factors: [f64; 2]) -> [f64; 4] {
    [low * factors[0], low * factors[1], high * factors[0], high * factors[1]]
}

fn span(numbers: [f64; 4]) -> Interval {
    let fold = |choose: fn(f64, f64) -> f64| numbers.into_iter().reduce(choose).unwrap_or(f64::NAN);
    (fold(f64::min), fold(f64::max))
}

// The checks of the check.

#[test]
fn an_equation_that_does_not_hold_is_found_with_its_line() -> Result<()> {
    for (page, wrong) in [
        ("One.\n\n$16/4.125 = 3.98$ times.", "3: 16/4.125 is 3.87"),
        ("$$\n4 + \\frac{16}{64} + \\frac{4}{64} = 4.325\n$$", "1: 4 + "),
        ("$6.98 \\cdot 4.125/8 + 1.05 \\cdot 2 = 5.80$ GB", "says 5.8"),
        ("$2^{10} = 1{,}000$", "1: 2^{10} is 1024"),
        ("$128{,}256 \\cdot 4{,}096 = 535$ million", "says 535"),
    ] {
        let found = check(page)?.1;
        assert!(found.len() == 1 && found[0].contains(wrong), "{page}: {found:?}");
    }
    Ok(())
}

#[test]
fn rounded_numbers_names_and_units_are_no_findings() -> Result<()> {
    for (page, equations) in [
        ("$16/4.125 = 3.88$, $0.36 \\cdot 8 = 2.88$ and $300/127 \\approx 2.4$", 3),
        ("$16 \\cdot 4{,}800 / 81.3 = 944$ tokens", 1),
        ("$24 \\cdot 8{,}192 \\cdot 131{,}072 = 25.8$ GB", 1),
        ("$s = 3/7$, $-(2 - 5) = 3$ and $n(n+1)/2 = 6$", 1),
    ] {
        assert_eq!(check(page)?, (equations, Vec::new()), "{page}");
    }
    Ok(())
}
