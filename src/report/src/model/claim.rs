//! What a paper claims of two experiments: a relation in one metric, of two models or of two ways of training.

use serde::{Deserialize, Serialize};

/// A claim as an author makes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// What is claimed to stand so.
    pub experiment: String,
    /// How.
    pub relation: Relation,
    /// To what.
    pub than: String,
    /// The key of the metric, such as `validation.bits_per_byte`.
    pub metric: String,
    /// Of what it is said.
    pub scope: Scope,
}

/// What is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The metric went where it should.
    BetterThan,
    /// The other way.
    WorseThan,
    /// Either way.
    DifferentFrom,
    /// Whatever the test says: nothing is claimed before it.
    ComparedWith,
}

impl Relation {
    /// All of them, with the name that an author writes.
    pub const ALL: [(Relation, &'static str); 4] = [
        (Relation::BetterThan, "better-than"),
        (Relation::WorseThan, "worse-than"),
        (Relation::DifferentFrom, "different-from"),
        (Relation::ComparedWith, "compared-with"),
    ];

    /// As an author writes it.
    pub fn name(self) -> &'static str {
        Relation::ALL[self as usize].1
    }

    /// What an author wrote.
    pub fn named(name: &str) -> Option<Self> {
        Relation::ALL.into_iter().find(|(_, own)| *own == name).map(|(relation, _)| relation)
    }
}

/// Of what a claim speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Of the models that were trained, and of no other.
    Models,
    /// Of how they were trained: what other seeds would show too.
    Procedure,
}

impl Scope {
    /// As an author writes it.
    pub fn word(self) -> &'static str {
        match self {
            Scope::Models => "models",
            Scope::Procedure => "procedure",
        }
    }

    /// What an author wrote.
    pub fn named(word: &str) -> Option<Self> {
        [Scope::Models, Scope::Procedure].into_iter().find(|scope| scope.word() == word)
    }
}

impl Claim {
    /// The call that makes it.
    pub fn call(&self) -> String {
        let Claim { experiment, relation, than, metric, scope } = self;
        let (relation, scope) = (relation.name(), scope.word());
        format!("#claim(\"{experiment}\", {relation}: \"{than}\", metric: \"{metric}\", scope: \"{scope}\")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_is_known_by_its_name() {
        for (relation, name) in Relation::ALL {
            assert_eq!((relation.name(), Relation::named(name)), (name, Some(relation)));
        }
        assert_eq!(Relation::named("beats"), None);
    }
}
