use super::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use weir_engine::decision::Decision;
use weir_engine::state::State;
use weir_models::reference::Memory;

use crate::Record;

#[derive(Serialize, Deserialize)]
enum Was {
    Nothing,
    One(u8),
    Two(u8, String),
    Named { a: f64 },
}

#[derive(Serialize, Deserialize)]
struct Before {
    kept: u32,
    gone: Vec<Was>,
    wider: u32,
    named: BTreeMap<String, (u8, f64)>,
    optional: Duration,
    kind: Was,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Is {
    Named {
        a: f64,
        #[serde(default)]
        b: u64,
    },
    New,
    Two(u8, String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct After {
    #[serde(default)]
    new: Vec<u8>,
    newer: Option<NonZeroU32>,
    kind: Is,
    named: BTreeMap<String, (u8, f64)>,
    wider: u64,
    optional: Option<Duration>,
    kept: u32,
}

fn before(kind: Was) -> Before {
    Before {
        kept: 300,
        gone: vec![Was::Nothing, Was::One(1), Was::Two(2, "x".into()), Was::Named { a: 0.1 }],
        wider: 70_000,
        named: [("n".to_owned(), (3, 0.5))].into(),
        optional: Duration::from_millis(1_500),
        kind,
    }
}

#[test]
fn what_was_written_before_is_read_by_name() {
    let expected = |kind| After {
        new: vec![],
        newer: None,
        kind,
        named: [("n".to_owned(), (3, 0.5))].into(),
        wider: 70_000,
        optional: Some(Duration::from_millis(1_500)),
        kept: 300,
    };
    let read = |kind| StateImage::of(&before(kind)).read::<After>();
    assert_eq!(read(Was::Named { a: 0.5 }), Ok(expected(Is::Named { a: 0.5, b: 0 })));
    assert_eq!(read(Was::Two(1, "y".into())), Ok(expected(Is::Two(1, "y".into()))));
    let error = read(Was::Nothing).unwrap_err();
    assert!(error.to_string().contains("Nothing"), "{error}");
    assert!(error.to_string().contains("use the build that wrote it"), "{error}");
}

#[test]
fn what_is_missing_without_a_default_is_said() {
    #[derive(Debug, Serialize, Deserialize)]
    struct A {
        a: u8,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct B {
        b: u8,
    }
    let two = StateImage::of(&(1_u8, 2_u8));
    assert!(two.read::<(u8, u8, u8)>().is_err());
    let error = StateImage::of(&A { a: 1 }).read::<B>().unwrap_err();
    assert!(error.cause.contains("missing field `b`"), "{error}");
}

/// Whole states are read by name as they are read directly.
#[test]
fn reading_by_name_reads_all_of_it() {
    let file = include_bytes!("../../tests/golden/v1.weir");
    for record in crate::Reader::open(file).unwrap().1 {
        if let Record::Opened { state, .. } = record.unwrap() {
            let old: State<Memory> = state.read().unwrap();
            assert!(!old.services.is_empty());
            let own = StateImage::of(&old);
            let shape = own.layout().shape().unwrap();
            let by_name: State<Memory> = read::from_bytes(&shape, own.bytes()).unwrap();
            assert_eq!(by_name, old);
        }
    }
}

#[test]
fn a_layout_comes_back_and_nonsense_is_refused() {
    for layout in [Layout::of::<State<Memory>>(), Layout::of::<Decision>()] {
        let shape = layout.shape().unwrap();
        let mut again = Vec::new();
        shape.write(&mut again);
        assert_eq!(again, layout.as_bytes());
    }
    let deep = Layout::from_bytes(&[17; 10_000]);
    let own = Layout::of::<Vec<u8>>();
    assert!(deep.read::<Vec<u8>>(&own, &[]).unwrap_err().cause.contains("damaged"));
    assert_eq!(format!("{deep:?}"), "damaged");
}

proptest::proptest! {
    #[test]
    fn no_layout_panics(layout: Vec<u8>, bytes: Vec<u8>) {
        let own = Layout::of::<Decision>();
        drop(Layout::from_bytes(&layout).read::<Decision>(&own, &bytes));
        drop(own.read::<Before>(&Layout::of::<Before>(), &bytes));
    }
}
