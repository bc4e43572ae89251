//! The lines of a text that a change replaced.

/// Limit of the product of both texts' line counts, up to which lines are compared one by one.
const MOST: usize = 4_000_000;

/// The lines that differ, before and after. Adjacent lines whose number changed form one
/// difference.
pub(super) fn differences(before: &str, after: &str) -> Vec<(String, String)> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    if old.len() == new.len() {
        return pairs(&old, &new);
    }
    let head = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - head;
    let ends = old.iter().rev().zip(new.iter().rev());
    let tail = ends.take_while(|(old, new)| old == new).count().min(rest);
    let (old, new) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let (mut found, mut at) = (Vec::new(), (0, 0));
    for (own, other) in common(old, new).into_iter().chain([(old.len(), new.len())]) {
        found.extend(difference(&old[at.0..own], &new[at.1..other]));
        at = (own + 1, other + 1);
    }
    found
}

/// The differences between lines that both stand between the same two lines.
fn difference(old: &[&str], new: &[&str]) -> Vec<(String, String)> {
    if old.len() == new.len() {
        return pairs(old, new);
    }
    let join = |lines: &[&str]| lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("; ");
    vec![(join(old), join(new))]
}

fn pairs(old: &[&str], new: &[&str]) -> Vec<(String, String)> {
    let differing = old.iter().zip(new).filter(|(old, new)| old != new);
    differing.map(|(old, new)| (old.trim().to_owned(), new.trim().to_owned())).collect()
}

/// The positions of the longest common subsequence of lines; none where the computation would take
/// too long.
fn common(old: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    if old.len().saturating_mul(new.len()) > MOST {
        return Vec::new();
    }
    let mut longest = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (own, line) in old.iter().enumerate().rev() {
        for (other, twin) in new.iter().enumerate().rev() {
            longest[own][other] = match line == twin {
                true => longest[own + 1][other + 1] + 1,
                false => longest[own + 1][other].max(longest[own][other + 1]),
            };
        }
    }
    let (mut found, mut own, mut other) = (Vec::new(), 0, 0);
    while own < old.len() && other < new.len() {
        if old[own] == new[other] {
            found.push((own, other));
            (own, other) = (own + 1, other + 1);
        } else if longest[own + 1][other] >= longest[own][other + 1] {
            own += 1;
        } else {
            other += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_lines_are_told() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(differences("a\n b\nc\n", "a\n x\nc\n"), [pair("b", "x")]);
        assert_eq!(differences("a\nb\nc\n", "a\nc\n"), [pair("b", "")]);
        assert_eq!(differences("a\n", "a\nb\nc\n"), [pair("", "b; c")]);
        assert_eq!(
            differences("a\nb\nc\nd\ne\nf\n", "x\nb\nd\ny\nf\n"),
            [pair("a", "x"), pair("c", ""), pair("e", "y")]
        );
    }
}
