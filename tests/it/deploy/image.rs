//! The image's recipe. No container runtime is needed to hold what stands in it.

use super::*;

const RECIPE: &str = "deploy/image/Containerfile";

/// Instructions, with lines that go on joined.
fn instructions() -> Vec<(String, String)> {
    let text = read(RECIPE).replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let (word, rest) = line.split_once(' ').unwrap();
            assert!(!word.starts_with('#'), "what is to say stands in README.md: {line}");
            (word.to_owned(), rest.trim().to_owned())
        })
        .collect()
}

fn all<'a>(from: &'a [(String, String)], word: &str) -> Vec<&'a str> {
    from.iter().filter(|(found, _)| found == word).map(|(_, rest)| rest.as_str()).collect()
}

#[test]
fn the_last_stage_is_a_binary_and_nothing_else() {
    let instructions = instructions();
    let last = instructions.iter().rposition(|(word, _)| word == "FROM").unwrap();
    let stage = &instructions[last..];
    assert_eq!(all(stage, "FROM"), ["scratch"]);
    assert_eq!(all(stage, "COPY"), ["--from=build /weir /weir"]);
    assert_eq!(all(stage, "ENTRYPOINT"), ["[\"/weir\"]"], "there is no shell to start it");
    for word in ["RUN", "ADD", "ENV", "VOLUME"] {
        assert!(all(stage, word).is_empty(), "{word}");
    }
    let user = all(stage, "USER")[0];
    let (user, group) = user.split_once(':').unwrap();
    assert!(user.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0);
    let pod = read("deploy/chart/weir/templates/_pod.tpl");
    assert!(pod.contains(&format!("runAsUser: {user}\n")), "the pod's user is the image's");
}

#[test]
fn it_says_what_it_is_made_from() {
    let instructions = instructions();
    let stages = all(&instructions, "FROM");
    assert_eq!(stages.len(), 2);
    for stage in &stages[..1] {
        let image = stage.split(' ').next().unwrap();
        let (_, tag) = image.rsplit_once(':').expect("a tag");
        assert!(tag != "latest" && tag.starts_with(|c: char| c.is_ascii_digit()), "{image}");
        assert!(!image.contains("--platform"), "each architecture has its own compiler");
    }
    let workspace = read("Cargo.toml");
    let version = workspace.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    let tag = format!(":{}.0-alpine ", version.trim_matches('"'));
    assert!(stages[0].contains(&tag), "the workspace asks for Rust {version}: {}", stages[0]);
    let run = all(&instructions, "RUN").concat();
    assert!(
        run.contains("cargo build --locked --release") && run.contains("${TARGETARCH}"),
        "{run}"
    );
    assert!(all(&instructions, "ARG").contains(&"TARGETARCH"));
    let version = format!("VERSION={}", env!("CARGO_PKG_VERSION"));
    assert!(all(&instructions, "ARG").contains(&version.as_str()), "{version}");
}

/// Every room of the workspace is in the build's context, and nothing that only grows.
#[test]
fn the_context_is_whole() {
    let ignored = read(&format!("{RECIPE}.dockerignore"));
    let mut lines = ignored.lines();
    assert_eq!(lines.next(), Some("*"), "all is left out but what follows");
    let kept: BTreeSet<&str> = lines.map(|line| line.strip_prefix('!').unwrap()).collect();
    let workspace = read("Cargo.toml");
    let (_, members) = workspace.split_once("members = [").unwrap();
    for member in members.split(']').next().unwrap().split(',') {
        let member = member.trim().trim_matches('"');
        assert!(member.is_empty() || kept.contains(member), "{member} is left out");
    }
    for kept in kept {
        assert!(root().join(kept).exists(), "{kept} is not there");
        assert!(!["target", ".build", ".git"].contains(&kept), "{kept}");
    }
}

/// The library that the image's binary is linked with. It compiles every crate anew, so only where
/// `WEIR_REQUIRE` asks for `musl`, and only for this machine's architecture.
#[test]
fn it_is_taken_by_musl() {
    let asked = std::env::var("WEIR_REQUIRE").unwrap_or_default();
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let found = if asked.split(',').any(|name| name == "musl") {
        let listed = Command::new("rustup").args(["target", "list", "--installed"]).output();
        let listed = listed.map(|listed| String::from_utf8_lossy(&listed.stdout).into_owned());
        match listed {
            Ok(listed) if listed.contains(&target) => Ok(()),
            _ => Err(format!("rustup target add {target}")),
        }
    } else {
        Err("WEIR_REQUIRE does not ask for it".to_owned())
    };
    if required::or_skip("musl", found).is_none() {
        return;
    }
    let compiler = format!("CC_{}", target.replace('-', "_"));
    let mut check = Command::new(env!("CARGO"));
    check.args(["check", "--locked", "--quiet", "--package", "weir", "--target", &target]);
    let checked = check.env(compiler, "gcc").current_dir(root()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
