//! Personal data: addresses that lead to a person are replaced by a word in angle brackets.

use std::sync::LazyLock;

use regex::{Captures, Regex};

static EMAIL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}").expect("valid"));
static IP: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b").expect("valid"));
/// A number written as people write telephone numbers: with a country code, or in at least three groups.
static PHONE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:\+[0-9]{1,3}[ .-]?(?:\([0-9]{1,4}\)[ .-]?)?(?:[0-9]{2,4}[ .-]?){2,5}[0-9]{2,4}|(?:\([0-9]{3}\) ?|\b[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4})\b")
        .expect("valid")
});

/// The text with e-mail addresses, IPv4 addresses and telephone numbers masked.
pub fn masked(text: &str) -> String {
    if !text.bytes().any(|b| b == b'@' || b.is_ascii_digit()) {
        return text.to_owned();
    }
    let text = EMAIL.replace_all(text, "<email>");
    let ip = |found: &Captures| {
        let is_address = found[0].split('.').all(|part| part.parse::<u16>().is_ok_and(|number| number < 256));
        if is_address { "<ip>".to_owned() } else { found[0].to_owned() }
    };
    let text = IP.replace_all(&text, ip);
    PHONE.replace_all(&text, "<phone>").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_masked_and_other_numbers_stay() {
        let text = "Write to ann.lee+x@mail.example.org or call (555) 123-4567, 555-123-4567 or +49 30 1234 5678; from 192.168.0.1.";
        assert_eq!(masked(text), "Write to <email> or call <phone>, <phone> or <phone>; from <ip>.");
        let stays = "In 1984, 1,000,000 of 999.888.777.666 in 1914-1918 @ 3.50, page 123.";
        assert_eq!(masked(stays), stays);
    }
}
