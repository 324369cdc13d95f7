//! `Debug` of a context: the chain of its layers, as Go's `String` prints it.

use super::Context;
use super::node::NodeRef;
use super::values::{self, Label};
use crate::error::ContextErrorKind;
use std::fmt::{self, Write};

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Background")?;
        for (_, layer) in layers(self) {
            write!(f, ".{layer}")?;
        }
        Ok(())
    }
}

/// The layers of both chains, nodes and values, in the order in which they were put on.
fn layers(ctx: &Context) -> Vec<(u32, String)> {
    let nodes = std::iter::successors(ctx.node.as_ref(), |node| above(node));
    let mut layers: Vec<_> = nodes
        .map(|node| (node.base().depth, node_layer(ctx, node)))
        .collect();
    let values = values::layers(&ctx.values);
    layers.extend(values.filter_map(|layer| Some((layer.depth, value_layer(layer.label)?))));
    layers.sort_by_key(|(depth, _)| *depth);
    layers
}

/// A linked context shows nothing of what it is linked to.
fn above(node: &NodeRef) -> Option<&NodeRef> {
    let parent = node.base().parent.as_ref();
    parent.filter(|_| node.kind.layer() != "linked")
}

fn node_layer(ctx: &Context, node: &NodeRef) -> String {
    let layer = node.kind.layer();
    let mut text = String::from(layer);
    // Writing to a string can't fail.
    let _ = match (node.end_by_clock(), node.deadline()) {
        (Some(end), _) => write!(text, "({})", words(end.kind())),
        (None, Some(deadline)) if layer != "with_cancel" => {
            let left = deadline.saturating_duration_since(ctx.clock().now());
            write!(text, "({left:?} left)")
        }
        (None, _) => Ok(()),
    };
    text
}

/// Go's.
fn words(kind: ContextErrorKind) -> &'static str {
    match kind {
        ContextErrorKind::DeadlineExceeded => "context deadline exceeded",
        ContextErrorKind::Canceled => "context canceled",
    }
}

fn value_layer(label: Label) -> Option<String> {
    match label {
        Label::Value(name) => Some(format!("with_value({name})")),
        Label::Clock => Some("with_clock".to_owned()),
        Label::WithoutCancel => Some("without_cancel".to_owned()),
        Label::Observer => Some("with_observer".to_owned()),
        Label::Hidden => None,
    }
}
