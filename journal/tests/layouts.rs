//! How structures are laid out in journals, so that no change of it goes unseen.
//!
//! Where one of these differs, a structure has changed. New fields must be `Option`s or have
//! `#[serde(default)]`, and variants must keep their names, or journals of earlier builds can no
//! longer be replayed; `tests/golden.rs` fails then. Where that is meant, it belongs into the
//! changelog. `INSTA_UPDATE=always cargo test -p weir-journal --test layouts` accepts a change.

use insta::assert_snapshot;
use weir_engine::decision::ServiceDecision;
use weir_engine::goal::Goals;
use weir_engine::state::State;
use weir_engine::topology::Topology;
use weir_journal::Layout;
use weir_models::reference::Memory;

#[test]
fn the_state_is_laid_out_as_it_was() {
    assert_snapshot!(format!("{:?}", Layout::of::<State<Memory>>()));
}

#[test]
fn decisions_are_laid_out_as_they_were() {
    assert_snapshot!(format!("{:?}", Layout::of::<ServiceDecision>()));
}

#[test]
fn goals_and_topology_are_laid_out_as_they_were() {
    let (goals, topology) = (Layout::of::<Goals>(), Layout::of::<Topology>());
    assert_snapshot!(format!("{goals:?}\n\n{topology:?}"));
}
