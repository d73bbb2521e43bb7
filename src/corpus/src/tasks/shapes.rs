//! The shapes in which public data sets come, with what is scored of each: as its authors say, or lm-evaluation-harness
//! (read at the commit 4e7e0d4) where it asks about one choice after another. Of questions that it asks by letters
//! (CommonsenseQA), the answers themselves are scored, as small models need it (OLMES, arXiv 2406.08446).

use serde_json::Value;

use super::records::{Record, field};
use harness_core::task_kind::Kind::{self, MinimalPairs, MultipleChoice, TwoContexts};

/// What the records of a data set look like.
pub(super) struct Shape {
    /// Fields that show it; dots lead into nested objects.
    fields: &'static [(&'static str, Holds)],
    pub asks: Asks,
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Holds {
    Text,
    Number,
    Truth,
    List,
    Anything,
}
use Holds::{Anything, List, Number, Text, Truth};

/// What can be asked of such records.
pub(super) enum Asks {
    /// Items, whose right choice a field says, or the recipe by its order.
    Items(Form),
    /// Items whose right choices are in a file of their own.
    ItemsWithoutAnswers(Form),
    /// Nothing: what is wrong, and what can be done.
    Nothing { problem: &'static str, hint: &'static str },
}

/// How items are made.
pub(super) struct Form {
    pub kind: Kind,
    pub metric: &'static str,
    /// What stands in `[items]` below `format`, as TOML.
    pub items: Parts,
}

pub(super) enum Parts {
    One(&'static str),
    /// Each with its name.
    Several(&'static [(&'static str, &'static str)]),
}

/// The first shape that the record has.
pub(super) fn shape_of(record: &Record) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| shape.fields.iter().all(|(name, holds)| holds.fits(record, name)))
}

impl Holds {
    fn fits(self, record: &Record, name: &str) -> bool {
        let Ok(value) = field(record, name) else { return false };
        match self {
            Text => value.is_string(),
            // All columns of a table are texts.
            Number => value.is_number() || value.as_str().is_some_and(|text| text.trim().parse::<i64>().is_ok()),
            Truth => value.is_boolean(),
            List => matches!(value, Value::Array(list) if list.len() > 1),
            Anything => true,
        }
    }
}

const fn asked(fields: &'static [(&'static str, Holds)], kind: Kind, items: &'static str) -> Shape {
    Shape { fields, asks: Asks::Items(Form { kind, metric: "accuracy", items: Parts::One(items) }) }
}

const fn per_character(fields: &'static [(&'static str, Holds)], items: &'static str) -> Shape {
    let form = Form { kind: MultipleChoice, metric: "accuracy_per_character", items: Parts::One(items) };
    Shape { fields, asks: Asks::Items(form) }
}

/// Each option in the gap; what follows is scored.
macro_rules! winogrande {
    () => {
        r#"choices = ["{{ sentence | split(pat='_') | first }}{{ option1 }}", "{{ sentence | split(pat='_') | first }}{{ option2 }}"]
continuation = "{{ sentence | split(pat='_') | slice(start=1) | join(sep='_') | trim }}"
answer = "answer"
labels = ["1", "2"]"#
    };
}

macro_rules! hellaswag {
    () => {
        r#"context = "{{ activity_label }}: {{ ctx_a }}{% if ctx_b %} {{ ctx_b | capitalize }}{% endif %}"
choices_from = "endings"
choices = ["{{ choice | trim }}"]
replace = [[' \[title\]', ". "], ['\[.*?\]', ""], ["  ", " "]]
answer = "label""#
    };
}

const SHAPES: &[Shape] = &[
    // BLiMP, its supplement of BabyLM, and others in their form.
    asked(
        &[("sentence_good", Text), ("sentence_bad", Text)],
        MinimalPairs,
        r#"choices = ["{{ sentence_good }}", "{{ sentence_bad }}"]   # the good one first"#,
    ),
    // EWoK (arXiv 2405.09605): each target after each context, so that a record is two items.
    Shape {
        fields: &[("Context1", Text), ("Context2", Text), ("Target1", Text), ("Target2", Text)],
        asks: Asks::Items(Form {
            kind: TwoContexts,
            metric: "accuracy",
            items: Parts::Several(&[
                (
                    "target1",
                    r#"choices = ["{{ Context1 }}", "{{ Context2 }}"]   # the right one first
continuation = "{{ Target1 }}""#,
                ),
                (
                    "target2",
                    r#"choices = ["{{ Context2 }}", "{{ Context1 }}"]   # the right one first
continuation = "{{ Target2 }}""#,
                ),
            ]),
        }),
    },
    // COMPS (arXiv 2210.01963).
    asked(
        &[("prefix_acceptable", Text), ("prefix_unacceptable", Text), ("property_phrase", Text)],
        TwoContexts,
        r#"choices = ["{{ prefix_acceptable }}", "{{ prefix_unacceptable }}"]   # the right one first
continuation = "{{ property_phrase }}""#,
    ),
    // Winograd and WinoGrande in MosaicML's form.
    asked(
        &[("context_options", List), ("continuation", Text), ("gold", Number)],
        TwoContexts,
        r#"choices_from = "context_options"
continuation = "{{ continuation | trim }}"
answer = "gold""#,
    ),
    // WSC273: each candidate in the place of the pronoun; what follows is scored. Where no sentence begins, an article
    // of a candidate has no capital; after a possessive pronoun the candidate is one.
    asked(
        &[("text", Text), ("pronoun", Text), ("pronoun_loc", Number), ("options", List), ("label", Number)],
        TwoContexts,
        r#"choices_from = "options"
choices = ['''
{%- set before = text | characters(to=pronoun_loc) -%}
{%- set first = choice | split(pat=" ") | first -%}
{{ before }}
{%- if before is not matching("(^|\.)\s*$") and first in ["A", "An", "The", "She", "He", "It", "They", "My", "His", "Her", "Their"] -%}
{{ choice | characters(to=1) | lower }}{{ choice | characters(from=1) }}
{%- else -%}
{{ choice }}
{%- endif -%}
{%- if pronoun | lower in ["my", "his", "her", "our", "their"] -%} 's {%- endif -%}
''']
continuation = "{{ text | characters(from=pronoun_loc) | trim_start_matches(pat=pronoun) | trim }}"
answer = "label""#,
    ),
    // WSC of SuperGLUE, flat as on the hub, and nested as published.
    Shape { fields: &[("text", Text), ("span1_text", Text), ("label", Anything)], asks: ONE_CANDIDATE },
    Shape { fields: &[("text", Text), ("target.span1_text", Text), ("label", Anything)], asks: ONE_CANDIDATE },
    // WinoGrande as published, where the two sentences of a pair share their `qID` up to a number, and on the hub.
    asked(
        &[("qID", Text), ("sentence", Text), ("option1", Text), ("option2", Text), ("answer", Anything)],
        TwoContexts,
        concat!(winogrande!(), "\ncluster = \"{{ qID | split(pat='-') | first }}\""),
    ),
    asked(
        &[("sentence", Text), ("option1", Text), ("option2", Text), ("answer", Anything)],
        TwoContexts,
        winogrande!(),
    ),
    // PIQA on the hub, and as its authors publish it.
    asked(
        &[("goal", Text), ("sol1", Text), ("sol2", Text), ("label", Anything)],
        MultipleChoice,
        r#"context = "Question: {{ goal }}\nAnswer:"
choices = ["{{ sol1 }}", "{{ sol2 }}"]
answer = "label""#,
    ),
    Shape {
        fields: &[("goal", Text), ("sol1", Text), ("sol2", Text)],
        asks: Asks::ItemsWithoutAnswers(Form {
            kind: MultipleChoice,
            metric: "accuracy",
            items: Parts::One(
                r#"context = "Question: {{ goal }}\nAnswer:"
choices = ["{{ sol1 }}", "{{ sol2 }}"]"#,
            ),
        }),
    },
    // ARC and CommonsenseQA on the hub; labels are letters, or digits from 1.
    asked(
        &[("question", Text), ("choices.text", List), ("choices.label", List), ("answerKey", Anything)],
        MultipleChoice,
        r#"context = "Question: {{ question }}\nAnswer:"
choices_from = "choices.text"
answer = "answerKey"
labels_from = "choices.label""#,
    ),
    // The same as their authors publish them.
    asked(
        &[("question.stem", Text), ("question.choices", List), ("answerKey", Anything)],
        MultipleChoice,
        r#"context = "Question: {{ question.stem }}\nAnswer:"
choices_from = "question.choices.text"
answer = "answerKey"
labels_from = "question.choices.label""#,
    ),
    // OpenBookQA on the hub: the question goes on in each choice.
    asked(
        &[("question_stem", Text), ("choices.text", List), ("choices.label", List), ("answerKey", Anything)],
        MultipleChoice,
        r#"context = "{{ question_stem }}"
choices_from = "choices.text"
answer = "answerKey"
labels_from = "choices.label""#,
    ),
    // HellaSwag with the video or article that a piece is from, whole and in part; marks such as `[step]` go.
    per_character(
        &[
            ("source_id", Text),
            ("activity_label", Text),
            ("ctx_a", Text),
            ("ctx_b", Text),
            ("endings", List),
            ("label", Anything),
        ],
        concat!(hellaswag!(), "\ncluster = \"{{ source_id }}\""),
    ),
    per_character(
        &[("activity_label", Text), ("ctx_a", Text), ("ctx_b", Text), ("endings", List), ("label", Anything)],
        hellaswag!(),
    ),
    per_character(
        &[("ctx", Text), ("endings", List), ("label", Anything)],
        r#"context = "{{ ctx }}"
choices_from = "endings"
choices = ["{{ choice | trim }}"]
replace = [[' \[title\]', ". "], ['\[.*?\]', ""], ["  ", " "]]
answer = "label""#,
    ),
    // COPA: the premise without its full stop; a choice goes on with a small letter.
    asked(
        &[("premise", Text), ("choice1", Text), ("choice2", Text), ("question", Text), ("label", Anything)],
        MultipleChoice,
        r#"context = "{{ premise | trim | characters(to=-1) }} {% if question == 'cause' %}because{% else %}therefore{% endif %}"
choices = [
    "{{ choice1 | characters(to=1) | lower }}{{ choice1 | characters(from=1) }}",
    "{{ choice2 | characters(to=1) | lower }}{{ choice2 | characters(from=1) }}",
]
answer = "label""#,
    ),
    // BoolQ as published, and in SuperGLUE.
    asked(
        &[("passage", Text), ("question", Text), ("answer", Truth)],
        MultipleChoice,
        r#"context = "{{ passage }}\nQuestion: {{ question }}?\nAnswer:"
choices = ["no", "yes"]
answer = "answer"
labels = ["false", "true"]
cluster = "{{ passage }}""#,
    ),
    asked(
        &[("passage", Text), ("question", Text), ("label", Truth)],
        MultipleChoice,
        r#"context = "{{ passage }}\nQuestion: {{ question }}?\nAnswer:"
choices = ["no", "yes"]
answer = "label"
labels = ["false", "true"]
cluster = "{{ passage }}""#,
    ),
    asked(
        &[("passage", Text), ("question", Text), ("label", Number)],
        MultipleChoice,
        r#"context = "{{ passage }}\nQuestion: {{ question }}?\nAnswer:"
choices = ["no", "yes"]
answer = "label"
cluster = "{{ passage }}""#,
    ),
    // SciQ.
    asked(
        &[
            ("support", Text),
            ("question", Text),
            ("correct_answer", Text),
            ("distractor1", Text),
            ("distractor2", Text),
            ("distractor3", Text),
        ],
        MultipleChoice,
        r#"context = "{{ support | trim_start }}\nQuestion: {{ question }}\nAnswer:"
choices = ["{{ correct_answer }}", "{{ distractor1 }}", "{{ distractor2 }}", "{{ distractor3 }}"]   # the right one first"#,
    ),
];

const ONE_CANDIDATE: Asks = Asks::Nothing {
    problem: "each record has one candidate, which is right or not, so there is nothing to choose from",
    hint: "take WSC273, whose records have `text`, `pronoun`, `pronoun_loc`, `options` and `label`; or write records with \
           `context_options` (the text up to the pronoun, once with each candidate in its place), `continuation` (what \
           follows the pronoun) and `gold`",
};
