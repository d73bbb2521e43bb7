use super::*;

#[test]
fn every_kind_has_a_name_of_its_own_and_a_wrong_one_gets_the_nearest() {
    for kind in Kind::ALL {
        assert_eq!(kind.word().parse::<Kind>().unwrap(), kind);
        assert!(kind.word().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{kind}");
    }
    let message = "validatoin".parse::<Kind>().unwrap_err().to_string();
    assert!(message.contains("did you mean `validation`?"), "{message}");
}
