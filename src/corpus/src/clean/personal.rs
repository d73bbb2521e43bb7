//! Personal data: addresses that lead to a person are replaced by a word in angle brackets.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::sync::LazyLock;

use super::form::replaced;
use regex::{Captures, Regex};

static EMAIL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}").expect("valid"));
static IP: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b").expect("valid"));
/// Runs of hexadecimal digits and colons, with an IPv4 address at the end perhaps: what may be an IPv6 address.
static IPV6: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[0-9A-Fa-f:]*:[0-9A-Fa-f]*:[0-9A-Fa-f:]*(?:\.[0-9]{1,3}){0,3}").expect("valid"));
/// A number written as people write telephone numbers: with a country code, or in at least three groups.
static PHONE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:\+[0-9]{1,3}[ .-]?(?:\([0-9]{1,4}\)[ .-]?)?(?:[0-9]{2,4}[ .-]?){2,5}[0-9]{2,4}|(?:\([0-9]{3}\) ?|\b[0-9]{3}[ .-])[0-9]{3}[ .-][0-9]{4})\b")
        .expect("valid")
});

/// The text with e-mail addresses, IP addresses and telephone numbers masked.
pub(super) fn masked(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|b| b == b'@' || b.is_ascii_digit()) {
        return Cow::Borrowed(text);
    }
    let mut text = replaced(Cow::Borrowed(text), |text| EMAIL.replace_all(text, "<email>"));
    if text.contains(':') {
        text = without_ipv6(text);
    }
    if text.contains('.') {
        text = replaced(text, |text| {
            IP.replace_all(text, |found: &Captures| {
                let is_address = found[0].split('.').all(|part| part.parse::<u16>().is_ok_and(|number| number < 256));
                if is_address { "<ip>".to_owned() } else { found[0].to_owned() }
            })
        });
    }
    replaced(text, |text| PHONE.replace_all(text, "<phone>"))
}

/// Masks what reads as an IPv6 address (RFC 4291, section 2.2) and stands alone. One of fewer than three groups, such
/// as `::1` or `a::b`, leads to nobody and is more often something else.
fn without_ipv6(text: Cow<'_, str>) -> Cow<'_, str> {
    replaced(text, |text| {
        let mut out = String::new();
        let mut copied = 0;
        for found in IPV6.find_iter(text) {
            let written = found.as_str();
            // A colon or a full stop that ends a clause is no part of the address.
            let address = written.strip_suffix(':').filter(|rest| !rest.ends_with(':')).unwrap_or(written);
            let end = found.start() + address.len();
            let alone = !text[..found.start()].ends_with(char::is_alphanumeric)
                && !text[end..].starts_with(char::is_alphanumeric);
            let groups = address.split(':').filter(|group| !group.is_empty()).count();
            if alone && groups >= 3 && address.parse::<Ipv6Addr>().is_ok() {
                out.push_str(&text[copied..found.start()]);
                out.push_str("<ip>");
                copied = end;
            }
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(&text[copied..]);
        Cow::Owned(out)
    })
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

    #[test]
    fn ipv6_addresses_are_masked() {
        let text = "From 2001:db8::ff00:42:8329, (fe80::1:2%eth0) or 2001:0db8:0:0:0:0:0:1: ::ffff:10:192.0.2.128.";
        assert_eq!(masked(text), "From <ip>, (<ip>%eth0) or <ip>: <ip>.");
    }

    #[test]
    fn numbers_that_lead_to_nobody_stay() {
        for text in [
            "At 12:30:45 on 2021-03-04, or 12:30:45.250.",
            "ISBN 978-3-16-148410-0 and 0-306-40615-2.",
            "Pages 123-145, 1,234-1,240; 3.14159 and 2.5e10.",
            "John 3:16, Luke 1:1-4; 1:2:3 is a ratio; std::fmt::Add and a::b.",
            "In 1776, 1812 and 1914, 10 000 000 people; $5,000.00.",
            "Version 1.2.3 of 12.05.1999.",
        ] {
            assert_eq!(masked(text), text);
        }
    }
}
