//! A disk that fills up while Weir runs.

use std::path::{Path, PathBuf};

use weir_testbed::child::{Child, Program};
use weir_testbed::required;
use weir_tests::proxy::{Proxy, ports};
use weir_tests::until;
use weir_tests::weir::{Weir, binary};
use weir_tests::world::write;

/// Large enough for a saved state and a little journal.
const SIZE: &str = "512k";

/// Starts Weir with a small file system of its own as its data folder: a mount that only it sees,
/// and that goes with it. Nothing where this user may not mount.
async fn on_a_small_disk(folder: &Path) -> Option<Weir> {
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    let mount = format!("mount -t tmpfs -o size={SIZE} tmpfs {}", data.display());
    let private = ["--mount", "--map-root-user", "sh", "-c"];
    let tried = std::process::Command::new("unshare").args(private).arg(&mount).output();
    let able = match tried {
        Ok(tried) if tried.status.success() => Ok(()),
        Ok(tried) => Err(String::from_utf8_lossy(&tried.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    };
    required::or_skip("tmpfs", able)?;
    let script = format!("{mount} && exec \"$0\" \"$@\"");
    let mut arguments: Vec<String> = private.map(Into::into).into();
    arguments.extend([script, binary().display().to_string()]);
    let weir = Weir::start_by(folder, |program: Program| {
        arguments.extend(program.arguments.iter().map(|a| a.to_string_lossy().into_owned()));
        Program {
            path: "/usr/bin/unshare".into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            ..program
        }
    });
    Some(weir.await)
}

/// The data folder as the process sees it.
fn inside(child: &Child, folder: &Path) -> PathBuf {
    let data = folder.join("data");
    PathBuf::from(format!("/proc/{}/root", child.id())).join(data.strip_prefix("/").unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_pauses_decisions_and_says_so_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "shop.yaml", "endpoints: [127.0.0.1:1, 127.0.0.1:2]");
    let service = "namespace: demo, name: shop, endpoints: {file: shop.yaml}";
    write(
        folder.path(),
        "weir.yaml",
        &format!("data_dir: data\ntick: 100ms\nservices: [{{{service}}}]\n"),
    );
    let Some(mut weir) = on_a_small_disk(folder.path()).await else { return };
    weir.more_steps(3).await;
    let filler = inside(&weir.child, folder.path()).join("filler");
    // Writes until there is no room: the error is what is wanted.
    std::fs::write(&filler, vec![0; 1 << 20]).unwrap_err();

    until("it says so", async || weir.said("decisions pause until the journal can be written"))
        .await;
    assert!(weir.said("free space there, or name a larger disk with data_dir"));
    until("it holds", async || {
        let service = weir.shop().await["service"].clone();
        service["stance"] == "holding"
            && service["stanceText"].as_str().is_some_and(|text| text.contains("journal"))
    })
    .await;
    weir.more_steps(5).await;
    let mut proxy = Proxy::subscribe(weir.xds, "proxy-1").await.unwrap();
    assert_eq!(ports(&proxy.next().await.unwrap()), [1, 2], "proxies are served all the same");
    let said = weir
        .events()
        .into_iter()
        .filter(|event| event["message"] == "decisions pause until the journal can be written");
    assert_eq!(said.count(), 1, "it is said once, not at every step");

    std::fs::remove_file(&filler).unwrap();
    until("it goes on", async || weir.said("the journal can be written again")).await;
    until("it holds no longer for that", async || {
        let service = weir.shop().await["service"].clone();
        !service["stanceText"].as_str().unwrap_or("journal").contains("journal")
    })
    .await;
    assert_eq!(weir.child.stop().await.unwrap().code(), Some(0), "{}", weir.child.log_tail());
}
