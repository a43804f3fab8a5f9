//! `weir arena` where it has nothing to play.

use weir_tests::weir::run;
use weir_tests::world::write;

use super::{BAD_INPUT, USAGE, refused};

const SCENARIO: &str = "load: [{rps: 10}]\nbackends: [{count: 2}]\n";

#[test]
fn mistakes_are_told_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", "load: [{rps: -3}]\nbackends: [{count: 10, speed: fast}]\n");
    write(folder.path(), "b.yaml", SCENARIO);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (wrong, right) = (path("a.yaml"), path("b.yaml"));
    refused(&run(["arena", &wrong]), BAD_INPUT, &["a.yaml:2"]);
    refused(&run(["arena", &path("c.yaml")]), BAD_INPUT, &["c.yaml", "cannot be read"]);
    refused(&run(["arena", &right, "--policy", &right]), BAD_INPUT, &["b.yaml:1"]);
    let l3 = run(["arena", &right, "--rivals", "weir,l3"]);
    refused(&l3, BAD_INPUT, &["cannot play l3", "weir simulate"]);
    refused(&run(["arena", &right, "--rivals", "chance"]), USAGE, &["nobody is called so"]);
    for scale in ["0.5", "NaN", "slow"] {
        refused(&run(["arena", &right, "--scale", scale]), USAGE, &["a number from 1 to 100"]);
    }
    refused(&run(["arena", &right, "--proxies", "0"]), USAGE, &["0"]);
}
