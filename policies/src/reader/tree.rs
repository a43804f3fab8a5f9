//! A file as a tree whose every node knows its place, and out of which parts can be taken.

mod build;

use std::collections::HashSet;

pub(crate) use build::parse;

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
