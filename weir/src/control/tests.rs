use super::*;

fn asked(text: &str) -> Result<Word, Problem> {
    word(&serde_json::from_str(text).unwrap(), 1_000, Moment::from_millis(5_000))
}

#[test]
fn a_word_says_who_what_and_how_long() {
    let word = asked(r#"{"offer": "demo/shop@118", "lasts": "90s", "by": " ann "}"#).unwrap();
    assert_eq!((word.service.to_string(), word.offer), ("demo/shop".to_owned(), 118));
    assert_eq!(word.until, Some(Moment::from_millis(95_000)));
    assert_eq!(word.by, "ann (uid 1000)");
    let word = asked(r#"{"offer": "demo/shop@118"}"#).unwrap();
    assert_eq!(word.until, Some(Moment::from_millis(3_605_000)));
    assert_eq!(word.by, "somebody (uid 1000)");
    assert_eq!(asked(r#"{"offer": "demo/shop@118", "withdraw": true}"#).unwrap().until, None);
}

#[test]
fn nonsense_is_told_how_to_be_mended() {
    for (text, part) in [
        (r#"{"offer": "shop"}"#, "namespace/name@number"),
        (r#"{"offer": "demo/shop@1", "lasts": "0s"}"#, "1s to 720h"),
        (r#"{"offer": "demo/shop@1", "lasts": "721h"}"#, "1s to 720h"),
        (r#"{"offer": "demo/shop@1", "lasts": "soon"}"#, "1h30m"),
    ] {
        let problem = asked(text).unwrap_err();
        assert_eq!(problem.status, 400, "{text}");
        assert!(problem.detail.contains(part), "{}", problem.detail);
    }
}

#[tokio::test]
async fn a_socket_that_an_earlier_life_left_is_replaced_and_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(bind(folder.path()).unwrap());
    let listener = bind(folder.path()).unwrap();
    let mode = std::fs::metadata(folder.path().join(SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(listener);
}
