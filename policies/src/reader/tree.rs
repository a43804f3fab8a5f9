//! A file as a tree whose every node knows its place.
//!
//! Built from the parser's events under the caller's limits: the parser is asked for the next
//! event only while all limits hold, so the largest file costs no more than the limits allow.

use std::collections::HashSet;

use granit_parser::{self as parser, ErrorKind, Event, Options, Parser, ScalarStyle, ScanError};

use super::{Limits, PROBLEMS_MAX, scalar};
use crate::problem::Code;
use crate::source::{Finding, Span, quoted};

/// A node of one tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(usize);

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) content: Content,
    span: Span,
    parent: Option<NodeId>,
    /// Its place in a list, as the author counts.
    index: usize,
    /// Fields or entries that repair took out: their absence is no mistake of the author's.
    pub(crate) removed: HashSet<String>,
    /// Whether the reading ended inside: what is absent may stand behind the end.
    pub(crate) is_cut: bool,
}

#[derive(Debug)]
pub(crate) enum Content {
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<NodeId>),
    Map(Vec<(NodeId, NodeId)>),
    /// Stands in for a value that was missing or refused; decodes as whatever is asked for.
    Hole,
}

/// All documents of one file.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// The documents, in order; those without content are left out.
    pub(crate) roots: Vec<NodeId>,
    /// What was wrong already with the text.
    pub(crate) found: Vec<Finding>,
}

impl Tree {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }

    /// How many nodes a document has.
    pub(crate) fn size(&self, root: NodeId) -> usize {
        let next = self.roots.iter().find(|other| other.0 > root.0);
        next.map_or(self.nodes.len(), |next| next.0) - root.0
    }

    pub(crate) fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).parent
    }

    /// An empty map at the file's start.
    pub(crate) fn push_empty(&mut self) -> NodeId {
        self.push(Content::Map(Vec::new()), Span { start: 0, end: 0 }, None)
    }

    /// Puts a stand-in for a missing field into a map.
    pub(crate) fn push_hole(&mut self, map: NodeId, name: &str) {
        let text = Content::Scalar { text: name.to_owned(), plain: false };
        let key = self.push(text, Span::NOWHERE, Some(map));
        let hole = self.push(Content::Hole, Span::NOWHERE, Some(map));
        if let Content::Map(entries) = &mut self.node_mut(map).content {
            entries.push((key, hole));
        }
    }

    fn push(&mut self, content: Content, span: Span, parent: Option<NodeId>) -> NodeId {
        let removed = HashSet::new();
        self.nodes.push(Node { content, span, parent, index: 0, removed, is_cut: false });
        NodeId(self.nodes.len() - 1)
    }

    /// Takes a node, or the entry that it is key or value of, out of its parent.
    pub(crate) fn remove(&mut self, id: NodeId) {
        let Some(parent) = self.parent(id) else { return };
        if let Some((key, _)) = self.entry(id) {
            return self.retain(parent, &|_, other| other != key);
        }
        let node = self.node_mut(parent);
        node.removed.insert(String::new());
        if let Content::List(items) = &mut node.content {
            items.retain(|item| *item != id);
        }
    }

    /// Takes all entries out of a map but those whose key is to be kept.
    pub(crate) fn retain(&mut self, map: NodeId, keep: &dyn Fn(&Self, NodeId) -> bool) {
        let content = std::mem::replace(&mut self.node_mut(map).content, Content::Hole);
        let Content::Map(entries) = content else {
            self.node_mut(map).content = content;
            return;
        };
        let (kept, gone): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|(key, _)| keep(self, *key));
        let names: Vec<String> =
            gone.into_iter().map(|(key, _)| self.text(key).to_owned()).collect();
        let node = self.node_mut(map);
        node.content = Content::Map(kept);
        node.removed.extend(names);
    }

    /// The map entry that a node is key or value of.
    fn entry(&self, id: NodeId) -> Option<(NodeId, NodeId)> {
        match &self.node(self.parent(id)?).content {
            Content::Map(entries) => {
                entries.iter().copied().find(|(key, value)| *key == id || *value == id)
            }
            Content::Scalar { .. } | Content::List(_) | Content::Hole => None,
        }
    }

    /// A scalar's text; empty for anything else.
    pub(crate) fn text(&self, id: NodeId) -> &str {
        match &self.node(id).content {
            Content::Scalar { text, .. } => text,
            Content::List(_) | Content::Map(_) | Content::Hole => "",
        }
    }

    /// A map's entry of a name.
    pub(crate) fn field(&self, map: NodeId, name: &str) -> Option<NodeId> {
        match &self.node(map).content {
            Content::Map(entries) => {
                entries.iter().find(|(key, _)| self.text(*key) == name).map(|(_, value)| *value)
            }
            Content::Scalar { .. } | Content::List(_) | Content::Hole => None,
        }
    }

    /// What to mark for a node: its text, or, of something longer, the key that holds it.
    pub(crate) fn mark(&self, id: NodeId) -> Span {
        let span = self.node(id).span;
        let is_short =
            matches!(self.node(id).content, Content::Scalar { .. }) && span.end > span.start;
        match self.entry(id) {
            Some((key, value)) if value == id && !is_short && span.is_somewhere() => {
                self.node(key).span
            }
            _ => span,
        }
    }

    /// A node's path, as `spec.objectives[0].name`; of a key, the path of its map.
    pub(crate) fn path(&self, id: NodeId) -> String {
        let mut steps = Vec::new();
        let mut at = id;
        while let Some(parent) = self.parent(at) {
            match (&self.node(parent).content, self.entry(at)) {
                (_, Some((key, value))) if value == at => steps.push(quoted(self.text(key))),
                (Content::List(_), _) => steps.push(format!("[{}]", self.node(at).index)),
                _ => {}
            }
            at = parent;
        }
        steps.reverse();
        steps.join(".").replace(".[", "[")
    }
}

/// The tree of a text that is no longer than the limits allow. It ends at the first error of
/// syntax or limit; what stood before is kept, so that its mistakes are shown too.
pub(crate) fn parse(text: &str, limits: &Limits) -> Tree {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.emit_unresolved_aliases = true;
    let mut building = Building {
        tree: Tree::default(),
        open: Vec::new(),
        limits: *limits,
        last: Span { start: 0, end: 0 },
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                if !building.take(event, &span) {
                    break;
                }
            }
            Err(error) => {
                building.fail(text, &error);
                break;
            }
        }
    }
    for open in building.open {
        building.tree.node_mut(open.node).is_cut = true;
    }
    building.tree
}

/// A list or map whose end has not come yet.
struct Open {
    node: NodeId,
    key: Option<Key>,
    keys: HashSet<String>,
}

/// A key whose value has not come yet.
struct Key {
    node: NodeId,
    /// Whether its map has one of that name already.
    is_second: bool,
}

struct Building {
    tree: Tree,
    open: Vec<Open>,
    limits: Limits,
    last: Span,
}

impl Building {
    /// Takes one event; false once a limit is passed.
    fn take(&mut self, event: Event<'_>, span: &parser::Span) -> bool {
        let span = span
            .byte_range()
            .map_or(self.last, |range| Span { start: range.start, end: range.end });
        self.last = span;
        match event {
            Event::Scalar(text, style, _, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let plain = style == ScalarStyle::Plain;
                self.place(Content::Scalar { text: text.into_owned(), plain }, span)
            }
            Event::SequenceStart(_, _, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.place(Content::List(Vec::new()), span)
            }
            Event::MappingStart(_, _, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.place(Content::Map(Vec::new()), span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
                true
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.find(span, Code::NotSupported, "aliases are not read", "write the value out");
                self.place(Content::Hole, span)
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | _ => true,
        }
    }

    fn place(&mut self, content: Content, span: Span) -> bool {
        if !self.is_within_limits(&content, span) {
            return false;
        }
        let opens = matches!(content, Content::List(_) | Content::Map(_));
        let node = self.tree.push(content, span, self.open.last().map(|open| open.node));
        self.attach(node, span);
        if opens {
            self.open.push(Open { node, key: None, keys: HashSet::new() });
        }
        true
    }

    fn is_within_limits(&mut self, content: &Content, span: Span) -> bool {
        let Limits { nodes_max, depth_max, .. } = self.limits;
        let opens = matches!(content, Content::List(_) | Content::Map(_));
        let (what, mend) = if self.tree.nodes.len() >= nodes_max {
            (format!("more than {nodes_max} keys and values"), "split it into several files")
        } else if opens && self.open.len() >= depth_max {
            (format!("more than {depth_max} lists and maps inside one another"), "flatten it")
        } else {
            return true;
        };
        self.find(span, Code::TooMuch, &what, mend);
        false
    }

    fn attach(&mut self, node: NodeId, span: Span) {
        let Some(open) = self.open.last_mut() else {
            let is_blank = matches!(&self.tree.node(node).content,
                Content::Scalar { text, plain: true } if scalar::resolve(text) == scalar::Scalar::Null);
            if !is_blank {
                self.tree.roots.push(node);
            }
            return;
        };
        let parent = open.node;
        let key = open.key.take();
        match (&mut self.tree.node_mut(parent).content, key) {
            (Content::List(items), _) => {
                let index = items.len();
                items.push(node);
                self.tree.node_mut(node).index = index;
            }
            (Content::Map(entries), Some(key)) if !key.is_second => entries.push((key.node, node)),
            (Content::Map(_), None) => self.take_key(node, span),
            (Content::Map(_) | Content::Scalar { .. } | Content::Hole, _) => {}
        }
    }

    fn take_key(&mut self, key: NodeId, span: Span) {
        let text = self.tree.text(key).to_owned();
        let is_text = matches!(self.tree.node(key).content, Content::Scalar { .. });
        let Some(open) = self.open.last_mut() else { return };
        if open.keys.is_empty() {
            // A map of lines has no brace to mark: its first key stands for it.
            self.tree.node_mut(open.node).span = span;
        }
        let is_new = open.keys.insert(text.clone());
        open.key = Some(Key { node: key, is_second: !is_new });
        if !is_text {
            self.find(span, Code::NotSupported, "a key that is no text", "write the key as text");
        } else if !is_new {
            let what = format!("`{}` stands twice in one map", quoted(&text));
            self.find(span, Code::DuplicateKey, &what, "keep one of the two");
        }
    }

    fn refuse_tag(&mut self, is_tagged: bool, span: Span) {
        if is_tagged {
            let mend = "remove the tag; put text that looks like a number in quotes";
            self.find(span, Code::NotSupported, "tags (`!…`) are not read", mend);
        }
    }

    fn fail(&mut self, text: &str, error: &ScanError) {
        let start = error.marker().byte_offset().unwrap_or(self.last.end).min(text.len());
        let rest = text.get(start..).unwrap_or_default();
        let (code, what, mend) = say(error.kind());
        let start = match rest.find('\t') {
            // The parser points at the start of what the tab ends.
            Some(tab) if mend == NO_TABS => start + tab,
            // At the end of the text there is nothing to show: mark the last line that has some.
            _ if rest.is_empty() => text.trim_end().len(),
            _ => start,
        };
        self.find(Span { start, end: start }, code, &what, mend);
    }

    fn find(&mut self, span: Span, code: Code, what: &str, mend: &str) {
        let in_bounds = self.tree.found.len() < PROBLEMS_MAX;
        // The one that ends the reading is always said.
        if in_bounds || matches!(code, Code::TooMuch | Code::Syntax) {
            let field = self.open.last().map_or_else(String::new, |open| self.tree.path(open.node));
            let (what, mend) = (what.to_owned(), mend.to_owned());
            self.tree.found.push(Finding { span, field, code, what, mend });
        }
    }
}

const NO_TABS: &str = "indent with spaces";

/// The parser's errors in the words of somebody who edits a file.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is said well enough by the parser")]
fn say(kind: &ErrorKind) -> (Code, String, &'static str) {
    let (what, mend) = match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabAtBlockScalarStart => ("a tab where YAML wants spaces".to_owned(), NO_TABS),
        ErrorKind::RecursionLimitExceeded => {
            let what = "too many lists and maps inside one another".to_owned();
            return (Code::TooMuch, what, "flatten it");
        }
        ErrorKind::UnclosedQuotedScalar => {
            ("a quote that is never closed".to_owned(), "close it on the same line")
        }
        ErrorKind::UnclosedFlowCollection { open } => {
            (format!("`{open}` is never closed"), "close it")
        }
        ErrorKind::ExpectedFlowMappingSeparator => {
            ("`,` or `}` is missing before this".to_owned(), "close the `{` that stands open")
        }
        ErrorKind::ExpectedFlowSequenceSeparator => {
            ("`,` or `]` is missing before this".to_owned(), "close the `[` that stands open")
        }
        ErrorKind::MappingValueNotAllowed => (
            "a `:` that cannot stand here".to_owned(),
            "put text that has a colon in quotes, and indent fields of one map alike",
        ),
        other => (other.to_string(), "check the indentation and quotes on this line and before"),
    };
    (Code::Syntax, what, mend)
}
