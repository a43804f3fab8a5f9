//! A wrong set never takes anything away.

use weir_policies::check::Document;
use weir_policies::in_force::{InForce, Outcome};
use weir_policies::problem::{Code, Problem};

use super::{GOOD, policy};

fn one(text: &str) -> [Document; 1] {
    [Document::new("a.yaml", text)]
}

#[test]
fn the_last_good_set_stays() {
    let mut in_force = InForce::default();
    assert!(in_force.goals().services.is_empty());
    assert_eq!(in_force.offer(&one(GOOD)), Outcome::Taken);
    let goals = in_force.goals().clone();
    assert_eq!(in_force.offer(&one("nonsense: true")), Outcome::Refused);
    assert_eq!(*in_force.goals(), goals);
    assert!(!in_force.refused().is_empty());
    assert_eq!(in_force.offer(&one(GOOD)), Outcome::Unchanged);
    assert!(in_force.refused().is_empty());
}

#[test]
fn one_wrong_file_refuses_the_set() {
    let mut in_force = InForce::default();
    let good = policy("p", "targetRefs: [{kind: Service, name: a}]");
    let set = [Document::new("a.yaml", good), Document::new("b.yaml", "nonsense: true")];
    assert_eq!(in_force.offer(&set), Outcome::Refused);
    assert!(in_force.goals().services.is_empty());
    assert!(in_force.refused().iter().all(|problem| problem.path == "b.yaml"));
}

#[test]
fn what_cannot_be_read_is_refused_as_well() {
    let mut in_force = InForce::default();
    in_force.offer(&one(GOOD));
    let what = "permission denied";
    let problem = Problem::of_file("a.yaml", Code::Unreadable, what, "let Weir's user read it");
    assert_eq!(in_force.refuse(vec![problem]), Outcome::Refused);
    assert_eq!(in_force.goals().services.len(), 1);
    let said = in_force.refused().first().unwrap().to_string();
    assert!(said.contains(what) && said.contains("a.yaml"), "{said}");
}

#[test]
fn removed_policies_are_gone() {
    let mut in_force = InForce::default();
    in_force.offer(&one(GOOD));
    assert_eq!(in_force.offer(&[]), Outcome::Taken);
    assert!(in_force.goals().services.is_empty());
}
