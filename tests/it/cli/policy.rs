//! `weir policy check`, `weir policy schema` and `weir policy crd`.

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::weir::run;
use weir_tests::world::{policy, write};

use super::{BAD_INPUT, FINDINGS, OK, refused};

fn folder(files: &[(&str, &str)]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    let shown = folder.path().display().to_string();
    (folder, shown)
}

#[test]
fn good_policies_are_counted() {
    let good = policy("Enforce");
    let other = good.replace("name: shop", "name: cart");
    let (_folder, path) = folder(&[("a/shop.yaml", &good), ("cart.yml", &other), ("note", "no")]);
    let ended = run(["policy", "check", &path]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(OK), ""));
    assert_eq!(ended.stdout, "2 files, 2 policies, 2 governed services: no mistakes\n");
    let ended = run(["policy", "check", &format!("{path}/cart.yml")]);
    assert_eq!(ended.stdout, "1 file, 1 policy, 1 governed service: no mistakes\n");
}

#[test]
fn mistakes_of_all_files_are_told_at_once() {
    let wrong = policy("Enforced");
    let unknown =
        policy("Enforce").replace("  mode", "  modes").replace("name: shop", "name: cart");
    let (_folder, path) = folder(&[("a.yaml", &wrong), ("b.yaml", &unknown)]);
    let ended = run(["policy", "check", &path]);
    let line = wrong.lines().position(|line| line.contains("Enforced")).unwrap() + 1;
    let at = format!("a.yaml:{line}:9");
    let words = [&at, "`Enforced`", "did you mean `Enforce`?", "b.yaml", "did you mean `mode`?"];
    refused(&ended, FINDINGS, &words);
}

#[test]
fn services_of_a_rollout_are_looked_for_in_the_configuration() {
    let rollout =
        "rollout: {stableRef: {name: shop-v1}, canaryRef: {name: shop-v2}, stepWeights: [5]}";
    let policy = format!("{}  {rollout}\n", policy("Enforce"));
    let services = |new: &str| {
        format!(
            "services:
  - {{namespace: demo, name: shop, endpoints: {{versions: true}}}}
  - {{namespace: demo, name: shop-v1, endpoints: {{file: v1.yaml}}}}
  - {{namespace: demo, name: {new}, endpoints: {{file: v2.yaml}}}}
"
        )
    };
    let files = [("policies/a.yaml", policy.as_str()), ("weir.yaml", &services("shop-2"))];
    let (folder, path) = folder(&files);
    let (policies, config) = (format!("{path}/policies"), format!("{path}/weir.yaml"));
    let told = "1 file, 1 policy, 1 governed service, 1 rollout: no mistakes\n";
    assert_eq!(run(["policy", "check", &policies]).stdout, told);
    let ended = run(["policy", "check", &policies, "--config", &config]);
    refused(&ended, FINDINGS, &["`demo/shop-v2` is not among the services", "a.yaml:19:59"]);
    write(folder.path(), "weir.yaml", &services("shop-v2"));
    assert_eq!(run(["policy", "check", &policies, "--config", &config]).stdout, told);
    write(folder.path(), "weir.yaml", "services: 1");
    let ended = run(["policy", "check", &policies, "--config", &config]);
    refused(&ended, BAD_INPUT, &["weir.yaml:1:"]);
}

#[test]
fn programs_read_mistakes_as_json() {
    let (_folder, path) = folder(&[("a.yaml", &policy("Enforced"))]);
    let ended = run(["policy", "check", "-o", "json", &path]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(FINDINGS), ""));
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(found["ok"], false);
    let problem = &found["problems"][0];
    assert_eq!((&problem["code"], &problem["column"]), (&"unknown-value".into(), &9.into()));

    let (_folder, path) = folder(&[("a.yaml", &policy("Enforce"))]);
    let ended = run(["policy", "check", "-o", "json", &path]);
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &found["ok"]), (Some(OK), &true.into()));
}

#[test]
fn what_cannot_be_read_is_bad_input() {
    let ended = run(["policy", "check", "/nowhere/shop.yaml"]);
    refused(&ended, BAD_INPUT, &["/nowhere/shop.yaml", "cannot be read"]);
}

#[test]
fn an_empty_folder_is_told() {
    let (_folder, path) = folder(&[]);
    let ended = run(["policy", "check", &path]);
    refused(&ended, BAD_INPUT, &[&path, "no policies", ".yaml"]);
}

#[test]
fn the_schema_is_a_draft_7_one_that_knows_the_kind() {
    let ended = run(["policy", "schema"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(OK), ""));
    let schema: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(schema["$schema"].as_str().unwrap().contains("draft-07"));
    assert!(ended.stdout.contains("AdaptiveTrafficPolicy"));
}

/// `WEIR_WRITE=schema cargo test -p weir-tests --test it -- cli::policy` writes it anew.
#[test]
fn the_committed_definition_for_kubernetes_is_up_to_date() {
    let ended = run(["policy", "crd"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(OK), ""));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/crds/adaptivetrafficpolicies.yaml");
    if std::env::var("WEIR_WRITE").is_ok_and(|asked| asked == "schema") {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, &ended.stdout).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == ended.stdout, "it is not what weir policy crd prints: write it anew");
    let definition: Value = serde_saphyr::from_str(&committed).unwrap();
    assert_eq!(definition["metadata"]["name"], "adaptivetrafficpolicies.weir.dev");
    assert_eq!(
        definition["spec"]["versions"][0]["subresources"],
        serde_json::json!({"status": {}})
    );
}
