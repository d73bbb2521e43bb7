//! The order in which experiments are shown: the baseline first, then by lineage and name, so that an experiment has the same
//! place and look in every list and figure, on the command line and in the paper.

/// An experiment and the one it extends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// Its name.
    pub name: String,
    /// What it extends, if anything.
    pub extends: Option<String>,
}

/// The names in the order of their looks: roots by name, but `baseline` before all; each followed by what extends it.
/// An experiment whose ancestor is not among them counts as a root.
pub fn order(experiments: &[Lineage]) -> Vec<String> {
    let named = |name: &str| experiments.iter().any(|e| e.name == name);
    let parent = |e: &Lineage| e.extends.clone().filter(|p| named(p) && *p != e.name);
    let children = |of: Option<&str>| -> Vec<String> {
        let mut names: Vec<String> =
            experiments.iter().filter(|e| parent(e).as_deref() == of).map(|e| e.name.clone()).collect();
        names.sort_by_key(|name| (name != "baseline", name.clone()));
        names.dedup();
        names
    };
    let mut order: Vec<String> = Vec::new();
    let mut waiting: Vec<String> = children(None).into_iter().rev().collect();
    while let Some(name) = waiting.pop() {
        if !order.contains(&name) {
            waiting.extend(children(Some(&name)).into_iter().rev());
            order.push(name);
        }
    }
    // What extends itself in a circle has no root.
    let mut rest: Vec<String> = experiments.iter().map(|e| e.name.clone()).filter(|n| !order.contains(n)).collect();
    rest.sort();
    rest.dedup();
    order.extend(rest);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_baseline_comes_first_and_lineages_stay_together() {
        let of = |name: &str, extends: Option<&str>| Lineage { name: name.into(), extends: extends.map(Into::into) };
        let experiments = [
            of("books", None),
            of("warm", Some("baseline")),
            of("warm-long", Some("warm")),
            of("baseline", None),
            of("adam", Some("baseline")),
            of("orphan", Some("gone")),
            of("a", Some("b")),
            of("b", Some("a")),
        ];
        assert_eq!(order(&experiments), ["baseline", "adam", "warm", "warm-long", "books", "orphan", "a", "b"]);
    }
}
