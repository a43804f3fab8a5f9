//! The crate as its users meet it: files in, goals or problems out.
#![allow(clippy::unwrap_used, reason = "in tests a panic is the report")]
#![allow(clippy::format_collect, reason = "in tests the plainest way to build a text wins")]

mod it {
    mod crd;
    mod examples;
    mod in_force;
    mod limits;
    mod mistakes;
    mod reader;
    mod robustness;
    mod schema;

    use weir_policies::check::{Checked, Document, check};
    use weir_policies::problem::{Colour, Problem, render};

    /// A policy that is right, to be spoilt one way at a time.
    pub(crate) const GOOD: &str = include_str!("../examples/protect-slo.yaml");

    /// Checks one file.
    pub(crate) fn check_one(text: &str) -> Result<Checked, Vec<Problem>> {
        check(&[Document::new("shop.yaml", text)])
    }

    /// Everything that checking says of one file, as people read it.
    pub(crate) fn said(text: &str) -> String {
        match check_one(text) {
            Ok(checked) => format!("{}\n", render(&checked.warnings, Colour::Never)),
            Err(problems) => format!("{}\n", render(&problems, Colour::Never)),
        }
    }

    /// A policy whose spec is the given lines.
    pub(crate) fn policy(name: &str, spec: &str) -> String {
        let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
        format!(
            "apiVersion: weir.dev/v1alpha1\nkind: AdaptiveTrafficPolicy\nmetadata:\n  name: {name}\nspec:\n{spec}"
        )
    }
}
