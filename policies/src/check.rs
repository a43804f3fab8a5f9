//! From documents to checked goals, or to everything that is wrong with them.
//!
//! A set of files is checked as a whole: one mistake anywhere refuses the set, because half of
//! what somebody meant may be worse than what was in force before. Only a conflict between two
//! correct policies is no mistake: the older one governs and the younger one is told so.

mod compile;
mod conflict;
mod fields;
mod known;
mod query;

pub use known::{Reach, Services};

use weir_engine::goal::{Goals, Mode};
use weir_engine::names::{PolicyName, ServiceId};

use crate::document::{AdaptiveTrafficPolicy, KIND};
use crate::problem::{Code, Problem, Severity};
use crate::reader::{self, Limits, PROBLEMS_MAX, tree, tree::NodeId, tree::Tree};
use crate::source::{Finding, Source, Span, quoted};

/// The most files of one set. One policy per file and service, ten times over what one process is
/// built for.
pub const FILES_MAX: usize = 10_000;

/// The most policies of one set, however they are spread over files.
pub const POLICIES_MAX: usize = 10_000;

/// One file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name, as it shall be shown.
    pub path: String,
    /// What stands in it; nobody has to check first whether it is text.
    pub bytes: Vec<u8>,
}

impl Document {
    /// The file `path` with the given content.
    pub fn new(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), bytes: bytes.into() }
    }
}

/// A set of documents without a mistake.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// What is wanted, per service.
    pub goals: Goals,
    /// The policies that it comes from, by name.
    pub policies: Vec<Policy>,
    /// What their authors should know, in the order of the files.
    pub warnings: Vec<Problem>,
}

/// One policy of a set, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `namespace/name`.
    pub name: PolicyName,
    /// The file that it stands in.
    pub path: String,
    /// Where in the file its name stands.
    pub line: usize,
    /// How far Weir may go for it.
    pub mode: Mode,
    /// Whether it holds everything as it stands.
    pub suspended: bool,
    /// The services that it governs.
    pub governs: Vec<ServiceId>,
    /// These, and the versions that its rollout names; as far as it says so, by which port.
    pub targets: Vec<Target>,
    /// The services that it names and another policy governs.
    pub conflicts: Vec<Conflict>,
}

/// A service that a policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The service.
    pub service: ServiceId,
    /// By which of its ports; where it has but one, nothing has to be said.
    pub port: Option<Port>,
}

/// One of a service's ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// By its name.
    Name(String),
    /// By its number.
    Number(u16),
}

/// A service that two policies name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The service.
    pub service: ServiceId,
    /// The older policy, which governs it.
    pub winner: PolicyName,
}

/// Checks a whole set. All problems are found at once, in the order of the files; an error
/// anywhere refuses the set.
pub fn check(documents: &[Document]) -> Result<Checked, Vec<Problem>> {
    check_among(documents, None)
}

/// As [`check`]; where the services that there are are known, those that a rollout names have to
/// be among them.
pub fn check_among(
    documents: &[Document],
    services: Option<&Services>,
) -> Result<Checked, Vec<Problem>> {
    if documents.len() > FILES_MAX {
        let what = format!("{} files, at most {FILES_MAX} are read", documents.len());
        let mend = "put several policies into one file, with `---` between them";
        let path = documents.first().map_or("", |document| document.path.as_str());
        return Err(vec![Problem::of_file(path, Code::TooMuch, &what, mend)]);
    }
    let mut set = Set::default();
    for document in documents {
        set.read(document);
    }
    set.refuse_names_that_stand_twice();
    if let Some(services) = services {
        set.refuse_unknown_services(services);
    }
    let rulings = conflict::resolve(&mut set);
    set.finish(&rulings)
}

/// A policy that could be read, or what could be read of it.
struct Entry {
    file: usize,
    policy: AdaptiveTrafficPolicy,
}

/// All that was read so far.
#[derive(Default)]
struct Set<'a> {
    files: Vec<File<'a>>,
    entries: Vec<Entry>,
}

/// One file's text and what was found in it.
struct File<'a> {
    source: Source<'a>,
    found: Vec<Finding>,
    warned: Vec<Finding>,
    /// What was found before there was a text.
    unreadable: Option<Problem>,
}

impl File<'_> {
    fn add(&mut self, finding: Finding) {
        // Kept apart, so that no number of warnings can hide a mistake.
        let list = match finding.code.severity() {
            Severity::Error => &mut self.found,
            Severity::Warning => &mut self.warned,
        };
        // What stands nowhere is a stand-in for something already reported.
        if finding.span.is_somewhere() && list.len() < PROBLEMS_MAX {
            list.push(finding);
        }
    }

    fn line(&self, span: Span) -> usize {
        let before = self.source.text.get(..span.start).unwrap_or_default();
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }
}

impl<'a> Set<'a> {
    fn read(&mut self, document: &'a Document) {
        let path = document.path.as_str();
        let (text, unreadable) = match reader::text(path, &document.bytes, &Limits::DOCUMENT) {
            Ok(text) => (text, None),
            Err(problem) => ("", Some(*problem)),
        };
        let mut tree = tree::parse(text, &Limits::DOCUMENT);
        let found = std::mem::take(&mut tree.found);
        let file = self.files.len();
        let source = Source { path, text };
        self.files.push(File { source, found, warned: Vec::new(), unreadable });
        for root in tree.roots.clone() {
            self.read_root(file, &mut tree, root);
        }
    }

    fn read_root(&mut self, file: usize, tree: &mut Tree, root: NodeId) {
        let is_full = self.entries.len() >= POLICIES_MAX;
        let Some(at) = self.files.get_mut(file) else { return };
        if let Some(foreign) = foreign_kind(tree, root) {
            return at.add(foreign);
        }
        if is_full {
            let what = format!("more than {POLICIES_MAX} policies");
            let mend = "let one policy target several services";
            return at.add(plain(tree.mark(root), Code::TooMuch, what, mend));
        }
        let Some(policy) = reader::decode(tree, root, &mut at.found) else { return };
        if tree.node(root).is_cut {
            // Its file is refused; what two fields of it say together cannot be told.
            return;
        }
        fields::check(&policy, &mut |finding| at.add(finding));
        self.entries.push(Entry { file, policy });
    }

    fn refuse_names_that_stand_twice(&mut self) {
        let mut seen = std::collections::HashMap::new();
        for entry in &self.entries {
            let metadata = &entry.policy.metadata;
            let Some(file) = self.files.get_mut(entry.file) else { continue };
            let here = format!("{}:{}", file.source.path, file.line(metadata.name.span));
            if !metadata.name.span.is_somewhere() {
                continue;
            }
            if let Some(first) = seen.get(&metadata.to_string()) {
                let what = format!("a second policy named `{metadata}`; the first is at {first}");
                let mend = "give it another name, or remove one of the two";
                let mut finding = plain(metadata.name.span, Code::DuplicateName, what, mend);
                "metadata.name".clone_into(&mut finding.field);
                file.add(finding);
            } else {
                seen.insert(metadata.to_string(), here);
            }
        }
    }

    fn refuse_unknown_services(&mut self, services: &Services) {
        for entry in &self.entries {
            let Some(file) = self.files.get_mut(entry.file) else { continue };
            known::check(&entry.policy, services, &mut |finding| file.add(finding));
        }
    }

    fn finish(self, rulings: &[conflict::Ruling]) -> Result<Checked, Vec<Problem>> {
        let mut checked = Checked::default();
        for (entry, ruling) in self.entries.iter().zip(rulings) {
            let Some(file) = self.files.get(entry.file) else { continue };
            checked.policies.push(compile::policy(entry, ruling, file));
            checked.goals.services.extend(compile::goals(&entry.policy, &ruling.governs));
            checked.goals.rollouts.extend(compile::rollout(&entry.policy, &ruling.governs));
        }
        checked.goals.services.sort_by(|one, other| one.service.cmp(&other.service));
        checked.goals.rollouts.sort_by(|one, other| one.service.cmp(&other.service));
        checked.policies.sort_by(|one, other| one.name.cmp(&other.name));
        let problems: Vec<Problem> = self.files.into_iter().flat_map(all_of).collect();
        if problems.iter().any(Problem::is_error) {
            return Err(problems);
        }
        checked.warnings = problems;
        Ok(checked)
    }
}

fn all_of(file: File<'_>) -> Vec<Problem> {
    let mut problems: Vec<Problem> = file.unreadable.into_iter().collect();
    problems.extend(reader::problems(&file.source, file.found));
    problems.extend(reader::problems(&file.source, file.warned));
    problems.sort_by_key(|problem| (problem.code == Code::NotShown, problem.line, problem.column));
    problems
}

/// A document that is none of ours: to say so once is better than to refuse its every field.
fn foreign_kind(tree: &Tree, root: NodeId) -> Option<Finding> {
    let kind = tree.field(root, "kind")?;
    let name = tree.text(kind);
    if name == KIND || name.is_empty() || reader::is_near(name, KIND) {
        return None;
    }
    let what = format!("a document of kind `{}`, which is not read here", quoted(name));
    let mend = format!("keep only documents of kind {KIND} among the policies");
    let mut finding = plain(tree.mark(kind), Code::UnknownKind, what, &mend);
    "kind".clone_into(&mut finding.field);
    Some(finding)
}

fn plain(span: Span, code: Code, what: String, mend: &str) -> Finding {
    Finding { span, field: String::new(), code, what, mend: mend.to_owned() }
}
