//! Policies from several places, each of which stands or falls by itself.
//!
//! A folder is one person's word: a mistake anywhere in it refuses all of it. The objects of an API
//! server are many people's: a mistake in one must not keep the others' from taking effect, so each
//! is a part of its own. Of a part that is refused the last good word stays. What is good of all
//! parts is one set, as of one folder.

use std::collections::{BTreeMap, BTreeSet};

use weir_engine::names::PolicyName;

use crate::check::{Document, Services, check_among};
use crate::in_force::{InForce, Outcome};
use crate::problem::Problem;

/// Where documents come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The folder.
    Folder,
    /// An object of the API server, by its namespace and name.
    Object(PolicyName),
}

/// All parts, and what is in force.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    parts: BTreeMap<Part, Word>,
    services: Option<Services>,
    /// Whether every object is known.
    listed: bool,
    in_force: InForce,
}

/// What a part says.
#[derive(Clone, Debug)]
struct Word {
    said: Result<Vec<Document>, Vec<Problem>>,
    good: Option<Vec<Document>>,
    refused: Vec<Problem>,
}

impl Word {
    /// Checks what was said, by itself.
    fn check(&mut self, services: Option<&Services>) {
        let checked = self.said.as_ref().map_err(Clone::clone);
        match checked.and_then(|documents| check_among(documents, services).map(|_| documents)) {
            Ok(documents) => {
                self.good = Some(documents.clone());
                self.refused = Vec::new();
            }
            Err(problems) => self.refused = problems,
        }
    }
}

impl Parts {
    /// What is in force.
    pub fn in_force(&self) -> &InForce {
        &self.in_force
    }

    /// The services that there are, where they are known. Everything is checked anew.
    pub fn know(&mut self, services: Option<Services>) {
        self.services = services;
        for word in self.parts.values_mut() {
            word.check(self.services.as_ref());
        }
    }

    /// These are all documents of a part, or why they cannot be read.
    pub fn offer(&mut self, part: Part, said: Result<Vec<Document>, Vec<Problem>>) {
        let good = self.parts.remove(&part).and_then(|word| word.good);
        let mut word = Word { said, good, refused: Vec::new() };
        word.check(self.services.as_ref());
        self.parts.insert(part, word);
    }

    /// A part is gone.
    pub fn remove(&mut self, part: &Part) {
        self.parts.remove(part);
    }

    /// These are all objects that there are; others are gone.
    pub fn keep_objects(&mut self, there: &BTreeSet<PolicyName>) {
        self.parts.retain(|part, _| match part {
            Part::Folder => true,
            Part::Object(name) => there.contains(name),
        });
    }

    /// Whether every part has been read. Until then what an earlier life knew stands beside what
    /// is read.
    pub fn all_read(&mut self, are: bool) {
        self.listed = are;
    }

    /// Puts in force what is good of all parts.
    pub fn settle(&mut self) -> Outcome {
        let mut refused: Vec<Problem> =
            self.parts.values().flat_map(|word| word.refused.clone()).collect();
        let documents = |parts: &BTreeMap<Part, Word>, without: &BTreeSet<String>| {
            let good = parts.values().filter_map(|word| word.good.as_ref()).flatten();
            good.filter(|document| !without.contains(&document.path)).cloned().collect::<Vec<_>>()
        };
        let none = BTreeSet::new();
        let services = self.services.as_ref();
        let mut checked = check_among(&documents(&self.parts, &none), services);
        if let Err(problems) = &checked {
            // Each is right by itself: two of one name, or too many. What is told so is left out.
            let errors = problems.iter().filter(|problem| problem.is_error());
            let errors: Vec<Problem> = errors.cloned().collect();
            let without = errors.iter().map(|problem| problem.path.clone()).collect();
            checked = check_among(&documents(&self.parts, &without), services);
            refused.extend(errors);
        }
        let silent = self.parts.iter().filter(|(_, word)| word.good.is_none());
        let silent: Vec<&Part> = silent.map(|(part, _)| part).collect();
        let earlier = Earlier {
            all: !self.listed || silent.contains(&&Part::Folder),
            named: silent.into_iter().filter_map(name).collect(),
        };
        let read = self.listed;
        match checked {
            Ok(checked) => self.in_force.take(checked, refused, (read, earlier)),
            Err(problems) => self.in_force.refuse(problems),
        }
    }
}

fn name(part: &Part) -> Option<PolicyName> {
    match part {
        Part::Folder => None,
        Part::Object(name) => Some(name.clone()),
    }
}

/// The policies of which nobody has said anything that could be used since Weir began: what an
/// earlier life knew of them stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// All of which nothing else is known.
    pub all: bool,
    /// These.
    pub named: BTreeSet<PolicyName>,
}

impl Earlier {
    /// Whether what was known of a policy stands.
    pub fn stands(&self, policy: &PolicyName) -> bool {
        self.all || self.named.contains(policy)
    }

    /// Whether that is so of any.
    pub fn any(&self) -> bool {
        self.all || !self.named.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, made: &str, mode: &str) -> String {
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: AdaptiveTrafficPolicy\nmetadata: {{name: {name}, \
             namespace: shop, creationTimestamp: \"{made}\"}}\nspec:\n  mode: {mode}\n  targetRefs: \
             [{{kind: Service, name: web}}]\n"
        )
    }

    const OLD: &str = "2026-01-01T00:00:00Z";
    const NEW: &str = "2026-02-01T00:00:00Z";

    fn object(name: &str) -> Part {
        Part::Object(PolicyName::from(format!("shop/{name}")))
    }

    fn says(parts: &mut Parts, part: &Part, text: &str) -> Outcome {
        let path = match part {
            Part::Folder => "folder.yaml".to_owned(),
            Part::Object(name) => format!("AdaptiveTrafficPolicy {name}"),
        };
        parts.offer(part.clone(), Ok(vec![Document::new(path, text)]));
        parts.settle()
    }

    fn parts() -> Parts {
        let mut parts = Parts::default();
        parts.all_read(true);
        parts
    }

    /// Which policy governs the service, and what is said of it.
    fn governs(parts: &Parts) -> String {
        let goals = parts.in_force().goals();
        goals
            .services
            .first()
            .map_or("nobody".to_owned(), |goal| format!("{} {:?}", goal.policy, goal.mode))
    }

    #[test]
    fn the_oldest_governs_whatever_came_first() {
        let mut parts = parts();
        says(&mut parts, &object("young"), &text("young", NEW, "Enforce"));
        assert_eq!(governs(&parts), "shop/young Enforce");
        says(&mut parts, &object("old"), &text("old", OLD, "Observe"));
        assert_eq!(governs(&parts), "shop/old Observe");
        let loser = &parts.in_force().checked().policies[1];
        assert_eq!(loser.conflicts[0].winner.as_str(), "shop/old");
        says(&mut parts, &object("same"), &text("a-same", OLD, "Enforce"));
        assert_eq!(governs(&parts), "shop/a-same Enforce", "of one age, the first by name");
        parts.keep_objects(&BTreeSet::from([PolicyName::from("shop/young")]));
        parts.settle();
        assert_eq!(governs(&parts), "shop/young Enforce");
    }

    #[test]
    fn a_wrong_object_keeps_its_last_good_word_and_harms_nobody() {
        let mut parts = parts();
        says(&mut parts, &object("web"), &text("web", OLD, "Enforce"));
        says(&mut parts, &object("web"), &text("web", OLD, "Enforced"));
        assert_eq!(governs(&parts), "shop/web Enforce");
        let other = text("other", OLD, "Observe").replace("name: web}", "name: api}");
        assert_eq!(says(&mut parts, &object("other"), &other), Outcome::Taken);
        assert_eq!(parts.in_force().goals().services.len(), 2);
        let problem = &parts.in_force().refused()[0];
        assert_eq!(problem.path, "AdaptiveTrafficPolicy shop/web");
        assert!(!parts.in_force().earlier().any());
    }

    #[test]
    fn of_what_was_never_good_the_earlier_life_knows_more() {
        let mut parts = parts();
        says(&mut parts, &object("web"), "apiVersion: weir.dev/v0\nkind: AdaptiveTrafficPolicy\n");
        let earlier = parts.in_force().earlier();
        assert!(earlier.stands(&PolicyName::from("shop/web")));
        assert!(!earlier.stands(&PolicyName::from("shop/other")));
        says(&mut parts, &Part::Folder, "nonsense");
        assert!(parts.in_force().earlier().all);
    }

    #[test]
    fn until_all_is_read_what_was_stands() {
        let mut parts = Parts::default();
        says(&mut parts, &Part::Folder, &text("web", OLD, "Enforce"));
        assert!(parts.in_force().earlier().all && !parts.in_force().is_read());
        parts.all_read(true);
        parts.settle();
        assert!(!parts.in_force().earlier().any() && parts.in_force().is_read());
    }

    /// The same name in the folder and in the cluster.
    #[test]
    fn of_two_of_one_name_the_folders_is_in_force() {
        let mut parts = parts();
        says(&mut parts, &Part::Folder, &text("web", NEW, "Enforce"));
        says(&mut parts, &object("web"), &text("web", OLD, "Observe"));
        assert_eq!(governs(&parts), "shop/web Enforce");
        let problem = &parts.in_force().refused()[0];
        assert_eq!(problem.path, "AdaptiveTrafficPolicy shop/web");
        assert!(problem.what.contains("folder.yaml"), "{}", problem.what);
    }
}
