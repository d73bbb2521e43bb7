//! The words, and which of them may meet.

use harness_core::digest::Digest;

/// Grammatical number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Singular.
    One,
    /// Plural.
    Many,
}

impl Number {
    /// The other number.
    pub fn other(self) -> Self {
        if self == Number::One { Number::Many } else { Number::One }
    }
}

/// Which reflexive a singular noun takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gender {
    /// himself
    He,
    /// herself
    She,
    /// None here: such nouns are followed by a reflexive only in the plural.
    Open,
}

/// What a noun names; verbs select by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// People.
    Person,
    /// Animals.
    Animal,
    /// Things to eat.
    Food,
    /// Things to read.
    Text,
    /// Things to work with.
    Tool,
    /// Things to travel in.
    Vehicle,
    /// Things to wear.
    Clothing,
    /// Things to put other things in.
    Container,
    /// Things to make music on.
    Instrument,
    /// Things that open and close.
    Opening,
    /// Where things happen.
    Place,
}

/// A noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noun {
    /// Singular; also stands for the noun in [`held_out`].
    pub one: &'static str,
    /// Plural.
    pub many: &'static str,
    /// What it names.
    pub kind: Kind,
    /// Its reflexive.
    pub gender: Gender,
}

impl Noun {
    /// The form of this number.
    pub fn form(&self, number: Number) -> &'static str {
        if number == Number::One { self.one } else { self.many }
    }
}

/// A verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// Plural present; also stands for the verb in [`held_out`].
    pub base: &'static str,
    /// Singular present.
    pub third: &'static str,
    /// Past.
    pub past: &'static str,
    /// The kind of its object; none for an intransitive verb.
    pub object: Option<Kind>,
    /// Whether animals do it too.
    pub animals: bool,
}

impl Verb {
    /// The present form that agrees with this number.
    pub fn present(&self, number: Number) -> &'static str {
        if number == Number::One { self.third } else { self.base }
    }
}

/// Whether this pair of a subject (noun or name) and a verb, or of a thing and the container it is put in, is kept
/// for the tasks: about one in six, by digest.
pub fn held_out(subject: &str, verb: &str) -> bool {
    Digest::of(format!("{subject} {verb}").as_bytes()).as_bytes()[0].is_multiple_of(6)
}

const fn noun(one: &'static str, many: &'static str, kind: Kind, gender: Gender) -> Noun {
    Noun { one, many, kind, gender }
}

const fn thing(one: &'static str, many: &'static str, kind: Kind) -> Noun {
    noun(one, many, kind, Open)
}

const fn act(base: &'static str, third: &'static str, past: &'static str, animals: bool) -> Verb {
    Verb { base, third, past, object: None, animals }
}

const fn on(object: Kind, base: &'static str, third: &'static str, past: &'static str) -> Verb {
    Verb { base, third, past, object: Some(object), animals: false }
}

const fn on_by_all(object: Kind, base: &'static str, third: &'static str, past: &'static str) -> Verb {
    Verb { base, third, past, object: Some(object), animals: true }
}

use Gender::{He, Open, She};
use Kind::{Animal, Clothing, Container, Food, Instrument, Opening, Person, Place, Text, Tool, Vehicle};

/// People and animals: what can be a subject.
pub const ANIMATES: &[Noun] = &[
    noun("boy", "boys", Person, He),
    noun("man", "men", Person, He),
    noun("king", "kings", Person, He),
    noun("uncle", "uncles", Person, He),
    noun("father", "fathers", Person, He),
    noun("brother", "brothers", Person, He),
    noun("prince", "princes", Person, He),
    noun("monk", "monks", Person, He),
    noun("wizard", "wizards", Person, He),
    noun("nephew", "nephews", Person, He),
    noun("girl", "girls", Person, She),
    noun("woman", "women", Person, She),
    noun("queen", "queens", Person, She),
    noun("aunt", "aunts", Person, She),
    noun("mother", "mothers", Person, She),
    noun("sister", "sisters", Person, She),
    noun("duchess", "duchesses", Person, She),
    noun("nun", "nuns", Person, She),
    noun("witch", "witches", Person, She),
    noun("niece", "nieces", Person, She),
    noun("farmer", "farmers", Person, Open),
    noun("sailor", "sailors", Person, Open),
    noun("teacher", "teachers", Person, Open),
    noun("doctor", "doctors", Person, Open),
    noun("baker", "bakers", Person, Open),
    noun("painter", "painters", Person, Open),
    noun("singer", "singers", Person, Open),
    noun("guard", "guards", Person, Open),
    noun("student", "students", Person, Open),
    noun("child", "children", Person, Open),
    noun("soldier", "soldiers", Person, Open),
    noun("hunter", "hunters", Person, Open),
    noun("tailor", "tailors", Person, Open),
    noun("nurse", "nurses", Person, Open),
    noun("judge", "judges", Person, Open),
    noun("clerk", "clerks", Person, Open),
    noun("dog", "dogs", Animal, Open),
    noun("cat", "cats", Animal, Open),
    noun("horse", "horses", Animal, Open),
    noun("bird", "birds", Animal, Open),
    noun("fox", "foxes", Animal, Open),
    noun("wolf", "wolves", Animal, Open),
    noun("mouse", "mice", Animal, Open),
    noun("goat", "goats", Animal, Open),
    noun("cow", "cows", Animal, Open),
    noun("duck", "ducks", Animal, Open),
    noun("bear", "bears", Animal, Open),
    noun("lion", "lions", Animal, Open),
    noun("rabbit", "rabbits", Animal, Open),
    noun("owl", "owls", Animal, Open),
    noun("frog", "frogs", Animal, Open),
    noun("pig", "pigs", Animal, Open),
    noun("donkey", "donkeys", Animal, Open),
    noun("goose", "geese", Animal, Open),
];

/// Things and places.
pub const THINGS: &[Noun] = &[
    thing("apple", "apples", Food),
    thing("pear", "pears", Food),
    thing("cake", "cakes", Food),
    thing("pie", "pies", Food),
    thing("carrot", "carrots", Food),
    thing("potato", "potatoes", Food),
    thing("cookie", "cookies", Food),
    thing("plum", "plums", Food),
    thing("egg", "eggs", Food),
    thing("pancake", "pancakes", Food),
    thing("tomato", "tomatoes", Food),
    thing("peach", "peaches", Food),
    thing("onion", "onions", Food),
    thing("book", "books", Text),
    thing("letter", "letters", Text),
    thing("poem", "poems", Text),
    thing("story", "stories", Text),
    thing("map", "maps", Text),
    thing("message", "messages", Text),
    thing("diary", "diaries", Text),
    thing("card", "cards", Text),
    thing("report", "reports", Text),
    thing("hammer", "hammers", Tool),
    thing("saw", "saws", Tool),
    thing("shovel", "shovels", Tool),
    thing("needle", "needles", Tool),
    thing("axe", "axes", Tool),
    thing("rope", "ropes", Tool),
    thing("ladder", "ladders", Tool),
    thing("brush", "brushes", Tool),
    thing("knife", "knives", Tool),
    thing("cart", "carts", Vehicle),
    thing("boat", "boats", Vehicle),
    thing("wagon", "wagons", Vehicle),
    thing("truck", "trucks", Vehicle),
    thing("bicycle", "bicycles", Vehicle),
    thing("train", "trains", Vehicle),
    thing("ship", "ships", Vehicle),
    thing("car", "cars", Vehicle),
    thing("sled", "sleds", Vehicle),
    thing("coat", "coats", Clothing),
    thing("hat", "hats", Clothing),
    thing("scarf", "scarves", Clothing),
    thing("shirt", "shirts", Clothing),
    thing("boot", "boots", Clothing),
    thing("glove", "gloves", Clothing),
    thing("dress", "dresses", Clothing),
    thing("cloak", "cloaks", Clothing),
    thing("belt", "belts", Clothing),
    thing("box", "boxes", Container),
    thing("basket", "baskets", Container),
    thing("bag", "bags", Container),
    thing("drawer", "drawers", Container),
    thing("chest", "chests", Container),
    thing("jar", "jars", Container),
    thing("bucket", "buckets", Container),
    thing("barrel", "barrels", Container),
    thing("suitcase", "suitcases", Container),
    thing("piano", "pianos", Instrument),
    thing("violin", "violins", Instrument),
    thing("flute", "flutes", Instrument),
    thing("drum", "drums", Instrument),
    thing("guitar", "guitars", Instrument),
    thing("trumpet", "trumpets", Instrument),
    thing("harp", "harps", Instrument),
    thing("door", "doors", Opening),
    thing("window", "windows", Opening),
    thing("gate", "gates", Opening),
    thing("shutter", "shutters", Opening),
    thing("village", "villages", Place),
    thing("garden", "gardens", Place),
    thing("kitchen", "kitchens", Place),
    thing("forest", "forests", Place),
    thing("market", "markets", Place),
    thing("school", "schools", Place),
    thing("church", "churches", Place),
    thing("castle", "castles", Place),
    thing("harbor", "harbors", Place),
    thing("field", "fields", Place),
    thing("library", "libraries", Place),
    thing("park", "parks", Place),
    thing("barn", "barns", Place),
    thing("mill", "mills", Place),
    thing("station", "stations", Place),
    thing("tower", "towers", Place),
    thing("valley", "valleys", Place),
];

/// Names with the gender of who bears them.
pub const NAMES: &[(&str, Gender)] = &[
    ("Tom", He),
    ("Peter", He),
    ("Henry", He),
    ("Jack", He),
    ("Martin", He),
    ("Oscar", He),
    ("Victor", He),
    ("Simon", He),
    ("Arthur", He),
    ("Leo", He),
    ("Anna", She),
    ("Mary", She),
    ("Clara", She),
    ("Emma", She),
    ("Julia", She),
    ("Lucy", She),
    ("Nora", She),
    ("Alice", She),
    ("Rosa", She),
    ("Helen", She),
];

/// Verbs without an object.
pub const INTRANSITIVE: &[Verb] = &[
    act("sleep", "sleeps", "slept", true),
    act("run", "runs", "ran", true),
    act("wait", "waits", "waited", true),
    act("swim", "swims", "swam", true),
    act("walk", "walks", "walked", true),
    act("jump", "jumps", "jumped", true),
    act("rest", "rests", "rested", true),
    act("drink", "drinks", "drank", true),
    act("laugh", "laughs", "laughed", false),
    act("sing", "sings", "sang", false),
    act("dance", "dances", "danced", false),
    act("smile", "smiles", "smiled", false),
    act("work", "works", "worked", false),
    act("cry", "cries", "cried", false),
    act("shout", "shouts", "shouted", false),
    act("dream", "dreams", "dreamed", false),
    act("whisper", "whispers", "whispered", false),
];

/// Verbs with an object of one kind.
pub const TRANSITIVE: &[Verb] = &[
    on_by_all(Food, "eat", "eats", "ate"),
    on_by_all(Food, "taste", "tastes", "tasted"),
    on(Food, "bake", "bakes", "baked"),
    on(Food, "cook", "cooks", "cooked"),
    on(Food, "slice", "slices", "sliced"),
    on(Text, "read", "reads", "read"),
    on(Text, "write", "writes", "wrote"),
    on(Text, "copy", "copies", "copied"),
    on(Text, "study", "studies", "studied"),
    on(Text, "translate", "translates", "translated"),
    on(Tool, "sharpen", "sharpens", "sharpened"),
    on(Tool, "use", "uses", "used"),
    on(Tool, "borrow", "borrows", "borrowed"),
    on(Tool, "grab", "grabs", "grabbed"),
    on(Vehicle, "drive", "drives", "drove"),
    on(Vehicle, "repair", "repairs", "repaired"),
    on(Vehicle, "steer", "steers", "steered"),
    on(Vehicle, "push", "pushes", "pushed"),
    on(Clothing, "wear", "wears", "wore"),
    on(Clothing, "sew", "sews", "sewed"),
    on(Clothing, "fold", "folds", "folded"),
    on(Clothing, "mend", "mends", "mended"),
    on(Container, "fill", "fills", "filled"),
    on(Container, "empty", "empties", "emptied"),
    on(Container, "lift", "lifts", "lifted"),
    on(Container, "pack", "packs", "packed"),
    on(Instrument, "play", "plays", "played"),
    on(Instrument, "tune", "tunes", "tuned"),
    on(Instrument, "practice", "practices", "practiced"),
    on(Opening, "open", "opens", "opened"),
    on(Opening, "close", "closes", "closed"),
    on(Opening, "lock", "locks", "locked"),
    on_by_all(Animal, "chase", "chases", "chased"),
    on_by_all(Animal, "watch", "watches", "watched"),
    on(Animal, "feed", "feeds", "fed"),
    on(Animal, "train", "trains", "trained"),
    on_by_all(Person, "follow", "follows", "followed"),
    on_by_all(Person, "know", "knows", "knew"),
    on(Person, "visit", "visits", "visited"),
    on(Person, "greet", "greets", "greeted"),
    on(Person, "thank", "thanks", "thanked"),
    on(Person, "call", "calls", "called"),
];

/// Verbs that are used with a reflexive.
pub const REFLEXIVE: &[Verb] = &[
    on(Person, "admire", "admires", "admired"),
    on(Person, "help", "helps", "helped"),
    on(Person, "hurt", "hurts", "hurt"),
    on(Person, "blame", "blames", "blamed"),
    on(Person, "praise", "praises", "praised"),
    on(Person, "teach", "teaches", "taught"),
    on(Person, "protect", "protects", "protected"),
    on(Person, "trust", "trusts", "trusted"),
    on(Person, "describe", "describes", "described"),
];

/// Verbs that take a clause: "Anna says that ...", "Anna remembers what ...".
pub const REPORTING: &[Verb] = &[
    act("remember", "remembers", "remembered", false),
    act("forget", "forgets", "forgot", false),
    act("learn", "learns", "learned", false),
    act("hear", "hears", "heard", false),
];

/// Adjectives of people and animals.
pub const OF_ANIMATES: &[&str] =
    &["old", "young", "tall", "happy", "tired", "clever", "brave", "quiet", "kind", "proud", "hungry", "lazy"];

/// Adjectives of things.
pub const OF_THINGS: &[&str] =
    &["red", "blue", "green", "small", "large", "new", "heavy", "beautiful", "cheap", "round", "white", "strange"];

/// Ends of sentences.
pub const ADVERBS: &[&str] =
    &["slowly", "quickly", "quietly", "every day", "at night", "in the morning", "with care", "again", "for an hour"];

/// Between a noun and another one that describes where it is.
pub const PREPOSITIONS: &[&str] = &["near", "behind", "beside", "with", "next to", "in front of"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_word_stands_twice_and_every_subject_keeps_enough_verbs() {
        let nouns: Vec<&str> = ANIMATES.iter().chain(THINGS).map(|noun| noun.one).collect();
        assert_eq!(nouns.iter().collect::<BTreeSet<_>>().len(), nouns.len());
        let verbs: Vec<&str> =
            [INTRANSITIVE, TRANSITIVE, REFLEXIVE, REPORTING].concat().iter().map(|verb| verb.base).collect();
        assert_eq!(verbs.iter().collect::<BTreeSet<_>>().len(), verbs.len());
        assert!(nouns.len() + verbs.len() + NAMES.len() + OF_ANIMATES.len() + OF_THINGS.len() >= 250);

        let subjects = ANIMATES.iter().map(|noun| (noun.one, noun.kind)).chain(NAMES.iter().map(|n| (n.0, Person)));
        for (subject, kind) in subjects {
            for verbs in [INTRANSITIVE, TRANSITIVE, REFLEXIVE] {
                let able = verbs.iter().filter(|verb| kind == Person || verb.animals);
                let (held, kept): (Vec<&Verb>, Vec<&Verb>) = able.partition(|verb| held_out(subject, verb.base));
                assert!(verbs == REFLEXIVE && kind == Animal || kept.len() >= 2, "{subject}: {held:?} held out");
            }
        }
    }
}
