//! `Debug` of a context: the chain of its layers, as Go's `String` prints it.

use super::Context;
use super::life::{Layer, Life};
use super::values::{self, Label};
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

/// The layers of both chains, lifetimes and values, in the order in which they were put on.
fn layers(ctx: &Context) -> Vec<(u32, String)> {
    let lives = std::iter::successors(ctx.life.as_ref(), |life| life.parent());
    let mut layers: Vec<_> = lives
        .map(|life| (life.depth, life_layer(ctx, life)))
        .collect();
    let values = values::layers(&ctx.values);
    layers.extend(values.filter_map(|layer| Some((layer.depth, value_layer(layer.label)?))));
    layers.sort_by_key(|(depth, _)| *depth);
    layers
}

fn life_layer(ctx: &Context, life: &std::sync::Arc<Life>) -> String {
    let mut text = String::from(match life.layer {
        Layer::Cancel => "with_cancel",
        Layer::Deadline => "with_deadline",
        Layer::Linked => "linked",
        Layer::Group => "group",
    });
    // Writing to a string can't fail.
    let _ = match (life.end_state(), life.timers.earliest()) {
        (Some(end), _) => write!(text, "({})", end.error),
        (None, Some(deadline)) if life.layer != Layer::Cancel => {
            write!(
                text,
                "({:?} left)",
                deadline.saturating_duration_since(ctx.clock().now())
            )
        }
        (None, _) => Ok(()),
    };
    text
}

fn value_layer(label: Label) -> Option<String> {
    match label {
        Label::Value(name) => Some(format!("with_value({name})")),
        Label::Clock => Some("with_clock".to_owned()),
        Label::WithoutCancel => Some("without_cancel".to_owned()),
        Label::Linked => None,
    }
}
